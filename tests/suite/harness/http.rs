//! A small HTTP client that tells everything about an answer.

use std::net::SocketAddr;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Version};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::DEADLINE;
use super::sse::EventStream;

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    base: String,
    token: Option<String>,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The version of HTTP.
    pub version: Version,
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Http {
    /// A client of the server at `addr`.
    pub fn new(addr: SocketAddr) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        Self {
            client,
            base: format!("http://{addr}"),
            token: None,
        }
    }

    /// The same client with a bearer token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// A client of the server at `addr` that speaks TLS to it.
    pub fn secure(addr: SocketAddr, client: ClientBuilder) -> Self {
        Self {
            client: client.build().unwrap(),
            base: format!("https://{addr}"),
            token: None,
        }
    }

    /// Its scheme, host and port: what stands before a path.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Begins a request; `path` starts with a slash and is already percent-encoded.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base);
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// GETs `path`.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::GET, path)).await
    }

    /// POSTs `body` to `path`.
    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Reply {
        let request = self.request(Method::POST, path);
        let request = request.header(CONTENT_TYPE, content_type).body(body.into());
        Reply::to(request).await
    }

    /// Opens the server-sent events at `path`; panics unless the server does so too.
    pub async fn events(&self, path: &str, last_event_id: Option<&str>) -> EventStream {
        let mut request = self.request(Method::GET, path);
        request = request.header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        EventStream::open(request).await
    }
}

impl Reply {
    /// Sends `request` and waits for its whole answer.
    pub async fn to(request: RequestBuilder) -> Self {
        let answer = async {
            let response = request.send().await.unwrap();
            Self {
                version: response.version(),
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.bytes().await.unwrap(),
            }
        };
        timeout(DEADLINE, answer).await.expect("an answer in time")
    }

    /// One header's value, `""` when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.unwrap_or(Ok("")).unwrap()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// Sends `request` as it is, for what a proper client would not send, and returns everything that comes back until the
/// server closes: say `Connection: close`.
pub async fn raw(addr: SocketAddr, request: &[u8]) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // A server may answer and close before it has read everything.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    timeout(DEADLINE, exchange)
        .await
        .expect("an answer in time")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with `answer` and returns the request.
    async fn serve(listener: TcpListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    }

    #[tokio::test]
    async fn an_answer_is_told_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = Http::new(listener.local_addr().unwrap());
        let answer = "HTTP/1.1 202 Accepted\r\nlocation: /v1/uplinks/7\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
        let (reply, request) = tokio::join!(
            http.post("/v1/x%2Fy?qos=0", "application/json", "{}"),
            serve(listener, answer)
        );
        assert!(request.starts_with("POST /v1/x%2Fy?qos=0 HTTP/1.1\r\n"));
        assert!(request.contains("content-type: application/json\r\n"));
        assert_eq!(reply.status, 202);
        assert_eq!(reply.header("location"), "/v1/uplinks/7");
        assert_eq!(reply.header("retry-after"), "");
        assert_eq!(reply.json()["a"], 1);
    }

    #[tokio::test]
    async fn a_raw_request_goes_out_as_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (answer, request) = tokio::join!(
            raw(addr, b"GET /a/../b HTTP/1.1\r\n\r\n"),
            serve(listener, "HTTP/1.1 404 Not Found\r\n\r\n")
        );
        assert_eq!(request, "GET /a/../b HTTP/1.1\r\n\r\n");
        assert_eq!(answer, "HTTP/1.1 404 Not Found\r\n\r\n");
    }

    #[tokio::test]
    async fn get_and_events_ask_for_what_they_should() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = Http::new(listener.local_addr().unwrap());
        let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let (reply, request) = tokio::join!(http.get("/none"), serve(listener, answer));
        assert_eq!((reply.status, reply.text()), (404, ""));
        assert!(request.starts_with("GET /none HTTP/1.1\r\n"));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = Http::new(listener.local_addr().unwrap());
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nid: 8\ndata: x\n\n";
        let (events, request) = tokio::join!(http.events("/e", Some("7")), serve(listener, answer));
        assert!(request.contains("accept: text/event-stream\r\n"));
        assert!(request.contains("last-event-id: 7\r\n"));
        let received = events.wait_end().await;
        assert_eq!(received[0].id.as_deref(), Some("8"));
    }
}
