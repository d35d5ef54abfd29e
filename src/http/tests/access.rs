//! Guarded handlers.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::routing::get as on_get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::client::get;
use crate::access::{Access, Caller, Scope};
use crate::http::guard::Guard;
use crate::http::serve;

async fn told(_: Caller, uri: Uri) -> String {
    uri.to_string()
}

async fn start(router: Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, router, CancellationToken::new()));
    address
}

#[tokio::test]
async fn a_handler_that_was_forgotten_lets_nobody_in() {
    let address = start(Router::new().route("/", on_get(told))).await;
    get(address, "/").await.problem(500, "internal");
}

#[tokio::test]
async fn a_token_in_the_query_is_gone_before_the_handler_sees_it() {
    let guard = Guard::new(Arc::new(Access::open()), None);
    let router = Router::new()
        .route(
            "/stream",
            on_get(guard.asks_listeners(Scope::Downlink, told)),
        )
        .route("/other", on_get(guard.asks(Scope::Downlink, told)));
    let address = start(router).await;
    let answer = get(address, "/stream?a=1&access_token=x&b=%202").await;
    assert_eq!(String::from_utf8_lossy(&answer.body), "/stream?a=1&b=%202");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // Elsewhere it is a parameter as any other, which handlers refuse.
    let answer = get(address, "/other?access_token=x").await;
    assert_eq!(
        String::from_utf8_lossy(&answer.body),
        "/other?access_token=x"
    );
}
