//! One connection, from its first byte to its end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::first::{self, Spoken};
use super::heads::Heads;
use super::pulse::{Ask, Pulse};
use super::requests::Requests;
use super::stall::Stalling;
use super::streams::Streams;
use super::tls::{HTTP2, Tls};
use super::wire::Wire;
use super::words;
use super::{ListenerSettings, Served};
use crate::http::peer::PeerCertificate;

/// How long a client may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(30);
/// What an HTTP/1 connection buffers in one direction. A head must fit.
const BUFFER: usize = 64 * 1024;
/// What hyper takes without an allocation for every request. Less is left to whoever looks at the request.
const USUAL_HEADERS: usize = 100;
/// Requests at one time on an HTTP/2 connection.
const STREAMS: u32 = 128;
/// What a client may send of one body, and of all bodies of a connection, before it is read.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);
/// Said in plain text to who speaks HTTP to an HTTPS listener.
const SPEAK_HTTPS: &str = "This port speaks HTTPS. Write https:// instead of http://.\n";
/// How long it is listened to a client that is turned away, so that it sees why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection until its end. The listener ends it early by what it asks of `pulse`, or by dropping this.
pub(super) async fn serve(
    stream: TcpStream,
    settings: Arc<ListenerSettings>,
    served: Served,
    pulse: Arc<Pulse>,
    client: SocketAddr,
) {
    // An answer is written at once and must not wait for more to come.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let Ok(spoken) = first::look(&stream).await else {
        return;
    };
    let requests = Requests {
        served,
        pulse: Arc::clone(&pulse),
        peer: None,
        settings: Arc::clone(&settings),
    };
    // Boxed, so that a connection in plain text does not pay for what it does not need.
    match (&settings.tls, spoken) {
        (_, Spoken::Nothing) => {}
        (Some(tls), Spoken::Tls) => Box::pin(secure(stream, tls, requests, client)).await,
        (Some(_), Spoken::Http1 | Spoken::Http2) => Box::pin(turn_away(stream, client)).await,
        (Some(_), Spoken::Other) => tracing::debug!(%client, "a client does not speak TLS"),
        (None, Spoken::Tls) => {
            tracing::debug!(%client, "a client speaks TLS to a listener without a certificate");
        }
        (None, Spoken::Http2) => {
            let wire = Wire::Plain(Stalling::new(stream, PATIENCE, pulse));
            Box::pin(http2(wire, requests, client)).await;
        }
        (None, Spoken::Http1 | Spoken::Other) => {
            let wire = Wire::Plain(Stalling::new(stream, PATIENCE, pulse));
            http1(wire, requests, client).await;
        }
    }
}

async fn secure(stream: TcpStream, tls: &Tls, mut requests: Requests, client: SocketAddr) {
    let stream = Stalling::new(stream, PATIENCE, Arc::clone(&requests.pulse));
    let acceptor = TlsAcceptor::from(Arc::clone(&tls.config));
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            let error = words::in_words(&error);
            tracing::debug!(%client, %error, "a TLS handshake failed");
            return;
        }
    };
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(HTTP2);
    if let Some([certificate, ..]) = session.peer_certificates() {
        // A session that is taken up again shows the certificate that was verified when it began.
        match PeerCertificate::read(certificate) {
            Some((peer, not_after)) if not_after >= SystemTime::now() => {
                requests.pulse.certified(not_after);
                requests.peer = Some(Arc::new(peer));
            }
            Some((peer, _)) => {
                tracing::debug!(%client, subject = %peer.subject, "a client's certificate has expired");
                return;
            }
            None => {
                tracing::debug!(%client, "a client's certificate cannot be read");
                return;
            }
        }
    }
    let wire = Wire::Tls(Box::new(stream));
    match is_http2 {
        true => http2(wire, requests, client).await,
        false => http1(wire, requests, client).await,
    }
}

async fn http1(wire: Wire, requests: Requests, client: SocketAddr) {
    let limits = requests.settings.limits;
    let pulse = Arc::clone(&requests.pulse);
    let io = TokioIo::new(Heads::new(wire, Arc::clone(&pulse)));
    let mut builder = http1::Builder::new();
    // The listener watches the time, and can tell a slow client from an idle one.
    builder
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        .max_header_size(limits.max_head);
    if limits.max_headers > USUAL_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    let mut connection = pin!(builder.serve_connection(io, requests.into_service()));
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            ask = pulse.asked() => if ask == Ask::Finish {
                connection.as_mut().graceful_shutdown();
            },
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a connection broke");
    }
}

async fn http2(wire: Wire, requests: Requests, client: SocketAddr) {
    let limits = requests.settings.limits;
    let pulse = Arc::clone(&requests.pulse);
    let streams = Streams::new(PATIENCE);
    let _guard = streams.guard();
    let mut builder = http2::Builder::new(streams);
    // What hyper limits by itself is left: resets of streams, pending or provoked, as in a rapid-reset flood.
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIME);
    let connection = builder.serve_connection(TokioIo::new(wire), requests.into_service());
    let mut connection = pin!(connection);
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            _ = pulse.asked() => connection.as_mut().graceful_shutdown(),
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "a connection broke");
    }
}

/// Tells a client of HTTP to come back with TLS.
async fn turn_away(mut stream: TcpStream, client: SocketAddr) {
    tracing::debug!(%client, "a client speaks HTTP without TLS to the HTTPS listener");
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{SPEAK_HTTPS}",
        SPEAK_HTTPS.len()
    );
    let farewell = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with something unread, a connection is reset, and its client may not see the answer.
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}
