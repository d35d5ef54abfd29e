//! Connections: what breaks, and how they end.

use axum::Router;
use axum::routing::get as on_get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bridge::Bridge;
use super::client::{get, send};
use crate::http::serve;
use crate::session::Outcome;

#[tokio::test]
async fn a_request_that_panics_is_answered() {
    async fn broken() -> &'static str {
        panic!("as the test wants it")
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", on_get(broken));
    tokio::spawn(serve(listener, router, CancellationToken::new()));
    let problem = get(address, "/").await.problem(500, "internal");
    assert!(!problem.to_string().contains("as the test wants it"));
    get(address, "/").await.problem(500, "internal");
}

#[tokio::test]
async fn a_request_at_hand_is_finished_and_no_other_is_begun() {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session("plain");
    let address = bridge.address;
    let posting = tokio::spawn(async move {
        let headers = "Prefer: wait=30\r\n";
        send(address, "POST /v1/devices/plain/uplinks", headers, b"1").await
    });
    let device = crate::device::DeviceId::parse("plain").unwrap();
    while bridge.registry.get(&device).unwrap().session.queued() == 0 {
        tokio::task::yield_now().await;
    }
    bridge.shutdown.cancel();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!bridge.serving.is_finished());
    session.settle(Some(Outcome::Sent)).await;
    assert_eq!(posting.await.unwrap().status, 200);
    bridge.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let bridge = Bridge::start().await;
    let _idle = tokio::net::TcpStream::connect(bridge.address)
        .await
        .unwrap();
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/devices", bridge.address);
    let answer = client.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    bridge.shutdown.cancel();
    bridge.serving.await.unwrap().unwrap();
}
