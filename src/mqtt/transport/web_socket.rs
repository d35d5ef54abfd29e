//! MQTT over WebSocket (MQTT 5 §6, RFC 6455): a stream of bytes in binary frames, without regard to where packets begin.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{Authority, hung_up};

/// The sub-protocol that both sides must name (MQTT 5 §6.0).
const SUB_PROTOCOL: &str = "mqtt";

/// The longest frame that is sent, in bytes: many servers limit frames, and packets may span them.
const MAX_SENT_FRAME: usize = 64 * 1024;

/// The longest frame or message that is taken, in bytes: room for the largest packet and others beside it.
const MAX_RECEIVED_MESSAGE: usize = 8 * 1024 * 1024;

/// What is read from the network at once, in bytes. It is allocated for every connection.
const READ_BUFFER: usize = 4 * 1024;

/// A byte stream in a WebSocket. Pings are answered while it is read.
#[derive(Debug)]
pub struct WebSocket<S> {
    inner: WebSocketStream<S>,
    /// What has come and was not read yet.
    rest: Bytes,
}

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum WebSocketError {
    /// An HTTP server that answers with another status than 101.
    #[error("the server answered {0}")]
    Status(String),
    /// A WebSocket for something else.
    #[error("the server does not name the sub-protocol \"mqtt\"")]
    SubProtocol,
    /// Not the answer of a WebSocket server.
    #[error("the server's answer is not one to a WebSocket handshake: {0}")]
    NotWebSocket(String),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection instead of answering")]
    Closed,
    /// No answer came in time.
    #[error("the server did not answer within 10 s")]
    NoAnswer,
}

impl WebSocketError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Status(_) | Self::SubProtocol => {
                "check the path in the connector's url: it must be the one for MQTT, /mqtt with most brokers"
            }
            Self::NotWebSocket(_) | Self::Closed | Self::NoAnswer => {
                "check that the port is one for WebSocket, plain (ws) or TLS (wss) as the url says"
            }
            Self::Io(_) => "check that the broker is up",
        }
    }
}

/// Asks for a WebSocket. `authority` is what the server is called by. Beside the outcome stands the `Date` of the
/// answer, if it has one.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    authority: &Authority,
    path: &str,
) -> (Result<WebSocket<S>, WebSocketError>, Option<SystemTime>) {
    let other = |error: Error| WebSocketError::NotWebSocket(error.to_string());
    // Whether it is ws or wss is not visible in the request.
    let request = format!("ws://{authority}{path}").into_client_request();
    let mut request = match request {
        Ok(request) => request,
        Err(error) => return (Err(other(error)), None),
    };
    let protocol = HeaderValue::from_static(SUB_PROTOCOL);
    let name = header::SEC_WEBSOCKET_PROTOCOL;
    request.headers_mut().insert(name, protocol);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        // Batches are made above: what is written goes out.
        .write_buffer_size(0)
        .max_message_size(Some(MAX_RECEIVED_MESSAGE))
        .max_frame_size(Some(MAX_RECEIVED_MESSAGE));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let date = match &opened {
        Ok((_, answer)) => date(answer.headers()),
        Err(Error::Http(answer)) => date(answer.headers()),
        Err(_) => None,
    };
    let outcome = match opened {
        Ok((inner, _)) => Ok(WebSocket {
            inner,
            rest: Bytes::new(),
        }),
        Err(Error::Http(answer)) => Err(WebSocketError::Status(answer.status().to_string())),
        Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => {
            Err(WebSocketError::SubProtocol)
        }
        Err(Error::Protocol(ProtocolError::HandshakeIncomplete)) => Err(WebSocketError::Closed),
        Err(Error::Io(error)) if hung_up(&error) => Err(WebSocketError::Closed),
        Err(Error::Io(error)) => Err(WebSocketError::Io(error)),
        Err(error) => Err(other(error)),
    };
    (outcome, date)
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.rest = bytes,
                // MQTT 5 §6.0: MQTT comes in binary frames alone.
                Some(Ok(Message::Text(_))) => {
                    let problem = "the broker sent a WebSocket text frame, and MQTT is binary";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                // As with TCP, that the other side sends no more, in order or not, is the end of the stream.
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
            }
        }
        let count = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = Pin::new(&mut self.get_mut().inner);
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(inner.as_mut().poll_ready(cx)).map_err(into_io)?;
        let frame = &buf[..buf.len().min(MAX_SENT_FRAME)];
        let message = Message::Binary(Bytes::copy_from_slice(frame));
        Poll::Ready(match inner.start_send(message) {
            Ok(()) => Ok(frame.len()),
            Err(error) => Err(into_io(error)),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = Pin::new(&mut self.get_mut().inner);
        inner.poll_flush(cx).map_err(into_io)
    }

    /// Sends a close frame and closes what is below. The broker's own close frame is not waited for: MQTT has said
    /// farewell already, in DISCONNECT.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut self.get_mut().inner;
        ready!(Pin::new(&mut *inner).poll_close(cx)).map_err(into_io)?;
        Pin::new(inner.get_mut()).poll_shutdown(cx)
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::AlreadyClosed | Error::ConnectionClosed => io::ErrorKind::BrokenPipe.into(),
        Error::Protocol(ProtocolError::SendAfterClosing) => io::ErrorKind::BrokenPipe.into(),
        Error::Protocol(_) | Error::Capacity(_) => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the broker breaks the WebSocket protocol: {error}"),
        ),
        error => io::Error::other(error.to_string()),
    }
}
