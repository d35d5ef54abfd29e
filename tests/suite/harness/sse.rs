//! A listener to server-sent events, after the HTML standard's § 9.2.

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::DEADLINE;
use super::lines::Lines;

/// An open stream. Dropping it closes the connection.
#[derive(Debug)]
pub struct EventStream {
    events: Lines<Event>,
    comments: Lines<String>,
    reader: JoinHandle<()>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its own id; `None` when it brought none.
    pub id: Option<String>,
    /// Its type, `message` when it brought none.
    pub event: String,
    /// Its data, several lines joined by line feeds.
    pub data: String,
    /// The reconnection time that came with it, in milliseconds.
    pub retry: Option<u64>,
}

impl EventStream {
    /// Opens the stream that `request` asks for; panics unless it is answered with 200 and the right content type.
    pub async fn open(request: RequestBuilder) -> Self {
        let stream = Self::try_open(request).await;
        stream.expect("a server that is there and not about to end")
    }

    /// The same, or nothing when there is no server, or one that is about to end.
    pub async fn try_open(request: RequestBuilder) -> Option<Self> {
        let answer = timeout(DEADLINE, request.send()).await;
        let response = answer.expect("an answer in time").ok()?;
        if response.status() == 503 {
            return None;
        }
        let status = response.status();
        let content_type = response.headers().get("content-type").cloned();
        let content_type = content_type.unwrap_or_else(|| panic!("{status} and no content type"));
        let is_stream = content_type.as_bytes().starts_with(b"text/event-stream");
        assert!(status == 200 && is_stream, "{status}, {content_type:?}");

        let (events, comments) = (Lines::new(), Lines::new());
        let mut parser = Parser::new(events.clone(), comments.clone());
        let mut body = response.bytes_stream();
        let reader = tokio::spawn(async move {
            while let Some(Ok(bytes)) = body.next().await {
                parser.feed(&bytes);
            }
            parser.end();
        });
        Some(Self {
            events,
            comments,
            reader,
        })
    }

    /// What has arrived, in order.
    pub fn events(&self) -> &Lines<Event> {
        &self.events
    }

    /// The comments that have arrived: heartbeats.
    pub fn comments(&self) -> &Lines<String> {
        &self.comments
    }

    /// Waits until `count` events have arrived, and returns all that have.
    pub async fn wait_count(&self, count: usize) -> Vec<Event> {
        let what = format!("{count} events");
        let enough = |events: &[Event]| events.len() >= count;
        self.events.wait_until(&what, enough).await
    }

    /// Whether the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Waits until the server ends the stream (or the connection breaks), and returns everything it sent.
    pub async fn wait_end(&self) -> Vec<Event> {
        self.events.wait_end().await
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Event {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.data))
    }
}

/// Turns bytes, cut anywhere, into events.
struct Parser {
    rest: Vec<u8>,
    event: Event,
    data: Vec<String>,
    events: Lines<Event>,
    comments: Lines<String>,
}

impl Parser {
    fn new(events: Lines<Event>, comments: Lines<String>) -> Self {
        Self {
            rest: Vec::new(),
            event: Event::default(),
            data: Vec::new(),
            events,
            comments,
        }
    }

    fn feed(&mut self, bytes: &Bytes) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8(line).expect("server-sent events are UTF-8");
            self.line(line.trim_end_matches(['\r', '\n']));
        }
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => self.dispatch(),
            "" => self.comments.push(value.to_owned()),
            "id" => self.event.id = Some(value.to_owned()),
            "event" => self.event.event = value.to_owned(),
            "data" => self.data.push(value.to_owned()),
            "retry" => self.event.retry = Some(value.parse().unwrap()),
            _ => panic!("not a field of server-sent events: {line:?}"),
        }
    }

    /// A block without data sets the reconnection time at most and is no event.
    fn dispatch(&mut self) {
        let mut event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        if data.is_empty() {
            self.event.retry = event.retry;
            return;
        }
        if event.event.is_empty() {
            event.event = "message".to_owned();
        }
        event.data = data.join("\n");
        self.events.push(event);
    }

    fn end(&self) {
        self.events.end();
        self.comments.end();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::http::Http;

    #[tokio::test]
    async fn a_stream_cut_anywhere_is_read_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = Http::new(listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _request = stream.read(&mut [0; 4096]).await.unwrap();
            for part in [
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: beat\n\nretry: 2000\n\n",
                "id: 1\nevent: downlink\nda",
                "ta: {\"a\":\ndata: 1}\n",
                "\ndata: x\n\n",
            ] {
                stream.write_all(part.as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            stream
        });
        let stream = http.events("/", None).await;
        let events = stream.wait_count(2).await;
        assert_eq!(stream.comments().all(), ["beat"]);
        assert_eq!(events[0].id.as_deref(), Some("1"));
        assert_eq!(
            (&*events[0].event, events[0].retry),
            ("downlink", Some(2000))
        );
        assert_eq!(events[0].json()["a"], 1);
        assert_eq!((&*events[1].event, &*events[1].data), ("message", "x"));
        assert_eq!(events[1].id, None);

        drop(server.await.unwrap());
        stream.wait_end().await;
        assert_eq!(stream.events().all(), events);
    }
}
