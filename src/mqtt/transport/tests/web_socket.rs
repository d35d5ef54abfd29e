//! MQTT's bytes in WebSocket frames.

use futures_util::{SinkExt, StreamExt};
use rustls::version::TLS13;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{
    Callback, ErrorResponse, Request, Response,
};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::*;

fn over_web_socket(endpoint: Endpoint) -> Endpoint {
    Endpoint {
        web_socket: Some("/some/path".into()),
        ..endpoint
    }
}

/// Takes every handshake, and notes what was asked for.
struct Broker<'a>(&'a mut Vec<String>);

impl Callback for Broker<'_> {
    fn on_request(self, asked: &Request, mut answer: Response) -> Result<Response, ErrorResponse> {
        let protocol = asked.headers()["sec-websocket-protocol"].clone();
        let host = asked.headers()["host"].to_str().unwrap();
        self.0.push(asked.uri().path().to_owned());
        self.0.push(host.to_owned());
        self.0.push(protocol.to_str().unwrap().to_owned());
        answer
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        Ok(answer)
    }
}

/// A broker's side, and what it was asked for: path, host and sub-protocol.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> (WebSocketStream<S>, Vec<String>) {
    let mut asked = Vec::new();
    let accepted = accept_hdr_async(stream, Broker(&mut asked)).await.unwrap();
    (accepted, asked)
}

async fn opened<F: Future<Output: Send + 'static> + Send + 'static>(
    broker: impl FnOnce(WebSocketStream<TcpStream>) -> F + Send + 'static,
) -> (Stream, JoinHandle<F::Output>) {
    let (port, served) = serve(|tcp| async move { broker(accept(tcp).await.0).await }).await;
    (
        open(&over_web_socket(endpoint(port))).await.unwrap(),
        served,
    )
}

#[tokio::test]
async fn packets_may_span_frames_in_both_directions() {
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let length = sent.len();
    let (port, served) = serve(move |tcp| async move {
        let (mut socket, asked) = accept(tcp).await;
        let (mut came, mut longest) = (Vec::new(), 0);
        while came.len() < length {
            let Message::Binary(frame) = socket.next().await.unwrap().unwrap() else {
                panic!("not binary");
            };
            longest = longest.max(frame.len());
            came.extend_from_slice(&frame);
        }
        socket
            .send(Message::Binary(Default::default()))
            .await
            .unwrap();
        for part in came.chunks(999) {
            socket
                .send(Message::Binary(part.to_vec().into()))
                .await
                .unwrap();
        }
        (asked, longest)
    })
    .await;
    let mut stream = open(&over_web_socket(endpoint(port))).await.unwrap();
    echoes(&mut stream, &sent).await;
    let (asked, longest) = served.await.unwrap();
    assert_eq!(asked, ["/some/path", &format!("127.0.0.1:{port}"), "mqtt"]);
    assert!(longest <= 64 * 1024);
}

#[tokio::test]
async fn reading_goes_on_while_writing_is_blocked() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let (stream, _) = opened(|mut socket| async move {
        // The broker only reads when all that it has to say has been read.
        for _ in 0..256 {
            let frame = vec![1; LENGTH / 256];
            socket.send(Message::Binary(frame.into())).await.unwrap();
        }
        let mut came = 0;
        while came < LENGTH {
            came += socket.next().await.unwrap().unwrap().len();
        }
        socket.close(None).await.unwrap();
    })
    .await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    let write = async {
        writing.write_all(&vec![2; LENGTH]).await.unwrap();
        writing.flush().await.unwrap();
    };
    let mut came = Vec::new();
    let (_, read) = tokio::join!(write, reading.read_to_end(&mut came));
    assert_eq!(read.unwrap(), LENGTH);
}

#[tokio::test]
async fn a_ping_is_answered() {
    let (mut stream, served) = opened(|mut socket| async move {
        socket
            .send(Message::Ping("are you there".into()))
            .await
            .unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        socket.close(None).await.unwrap();
        answer
    })
    .await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(served.await.unwrap(), Message::Pong("are you there".into()));
}

#[tokio::test]
async fn a_text_frame_is_an_error() {
    let (mut stream, _) =
        opened(|mut socket| async move { socket.send(Message::Text("hello".into())).await }).await;
    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("text frame"), "{error}");
}

#[tokio::test]
async fn a_closed_or_lost_connection_is_the_end_of_the_stream() {
    let (mut stream, _) = opened(|mut socket| async move { socket.close(None).await }).await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);

    let (mut stream, _) = opened(|socket| async move { drop(socket) }).await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_says_farewell_after_what_was_written() {
    let (mut stream, served) = opened(|mut socket| async move {
        let mut came = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            came.push(message);
        }
        came
    })
    .await;
    stream.write_all(b"bye").await.unwrap();
    stream.shutdown().await.unwrap();
    let expected = [Message::Binary("bye".into()), Message::Close(None)];
    assert_eq!(served.await.unwrap(), expected);
}

#[tokio::test]
async fn over_tls_the_server_is_called_by_its_name() {
    let authority = Authority::new("Brokers");
    let acceptor = acceptor(authority.server(&TLS13, None));
    let (port, served) = serve(|tcp| async move {
        let (mut socket, asked) = accept(acceptor.accept(tcp).await.unwrap()).await;
        let frame = socket.next().await.unwrap().unwrap();
        socket.send(frame).await.unwrap();
        asked
    })
    .await;
    let endpoint = encrypted(port, authority.tls(None, &[]));
    let mut stream = open(&over_web_socket(endpoint)).await.unwrap();
    echoes(&mut stream, b"over TLS").await;
    let host = format!("broker.example:{port}");
    assert_eq!(served.await.unwrap(), ["/some/path", &host, "mqtt"]);
}

#[tokio::test]
async fn what_is_no_web_socket_for_mqtt_is_told_apart() {
    for (answer, expected) in [
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "answered 404 Not Found",
        ),
        ("\x20\x02\x00\x00", "not one to a WebSocket handshake"),
        (
            "HTTP/1.1 101 Go on\r\nUpgrade: tea\r\n\r\n",
            "not one to a WebSocket handshake",
        ),
        ("", "closed the connection instead"),
    ] {
        let (port, _) = serve(move |mut tcp| async move {
            assert!(tcp.read(&mut [0; 1024]).await.unwrap() > 0);
            tcp.write_all(answer.as_bytes()).await
        })
        .await;
        let error = open(&over_web_socket(endpoint(port))).await.unwrap_err();
        assert!(matches!(error, OpenError::WebSocket { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{answer:?}: {error}");
    }

    let (port, _) = serve(|tcp| async move { tokio_tungstenite::accept_async(tcp).await }).await;
    let error = open(&over_web_socket(endpoint(port))).await.unwrap_err();
    assert!(error.to_string().contains("sub-protocol"), "{error}");
}
