//! A listener and its connections, and an end that lets requests finish.

use std::convert::Infallible;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::problem::{Kind, Problem};
use super::stall::Stalling;

/// How long a connection may take for a request's head, and how long it may be idle.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// How long a client may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a connection buffers in one direction, and so the largest head of a request.
const BUFFER: usize = 64 * 1024;
/// The pause after an `accept` that failed, for example because the file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves HTTP/1.1 on a listener until `shutdown`. Then it accepts no more, lets the requests at hand finish, and
/// returns. Streams must watch the same token; whoever sets a deadline drops what this returned.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    // Dropped with this future, it ends its tasks, so that no connection outlives a deadline.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                // Polled together with its connection, a token of its own shares no lock with other connections.
                let shutdown = shutdown.child_token();
                connections.spawn(connection(stream, router.clone(), shutdown));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Errors of a client that was gone before its connection was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // An answer is written at once and must not wait for more to come.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = TowerToHyperService::new(router);
    let answer = service_fn(move |request| answer(service.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Stalling::new(stream, PATIENCE)), answer);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// One request: what panics is answered, and what happens can be logged. It is done here, and not in layers of the
/// router, because each of those allocates for every request.
async fn answer(
    service: TowerToHyperService<Router>,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    // Neither query nor headers, which may contain secrets.
    let about = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        let path = request.uri().path().to_owned();
        (request.method().clone(), path, Instant::now())
    });
    // A request shares nothing with others that a panic could leave half done: locks are held over plain data only.
    let answered = AssertUnwindSafe(service.call(request)).catch_unwind().await;
    let response = answered.unwrap_or_else(|_| {
        tracing::error!("a request panicked; this is a defect of the bridge");
        Ok(
            Problem::new(Kind::Internal, "the bridge failed to answer this request")
                .into_response(),
        )
    })?;
    if let Some((method, path, start)) = about {
        let status = response.status().as_u16();
        tracing::debug!(%method, path, status, elapsed = ?start.elapsed(), "request");
    }
    Ok(response)
}
