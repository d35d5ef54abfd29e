//! Hostile and mistaken requests: each gets its code, says what to do, and harms nobody.

use std::net::SocketAddr;

use crate::harness::bridge::{TestBridge, pump};
use crate::harness::http::{Reply, raw};
use crate::harness::mosquitto::Mosquitto;

async fn bridge() -> (Mosquitto, TestBridge) {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&pump(broker.addr())).await;
    (broker, bridge)
}

fn problem(reply: &Reply, status: u16) {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert_eq!(
        reply.header("content-type"),
        "application/problem+json",
        "{text}"
    );
    let problem = reply.json();
    assert_eq!(problem["status"], status, "{text}");
    assert!(
        problem["title"].is_string() && problem["detail"].is_string(),
        "{text}"
    );
}

/// Sends a request line as it is: clients tidy up paths.
async fn posted(addr: SocketAddr, path: &str) -> (u16, String) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 1\r\nconnection: close\r\n\r\n1"
    );
    let answer = raw(addr, request.as_bytes()).await;
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    (status, answer)
}

#[tokio::test]
async fn names_that_cannot_stand_in_a_topic_are_refused() {
    let (_broker, bridge) = bridge().await;
    let long = "x".repeat(300);
    let devices = [
        "+", "%2B", "%23", "a%2Fb", "..", "%2e%2e", "%00", "%0a", "$SYS", "%24SYS", "%ff", &long,
    ];
    let subtopics = [
        "+", "a/%23", "a%2Fb", "a//b", "a/../b", "%2e%2e", "%00", "%7f", "a/", "$x", "%ff", "%2",
        &long,
    ];
    let paths = devices.iter().map(|id| format!("/v1/devices/{id}/uplinks"));
    let paths = paths.chain(
        subtopics
            .iter()
            .map(|sub| format!("/v1/devices/pump-1/uplinks/{sub}")),
    );
    for path in paths {
        let (status, answer) = posted(bridge.addr(), &path).await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(
            answer.contains("application/problem+json"),
            "{path}: {answer}"
        );
    }
    let (status, answer) = posted(bridge.addr(), "/v1/devices/pump-1/uplinks/still/works").await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn every_mistake_has_its_code() {
    let (_broker, bridge) = bridge().await;
    let http = &bridge.http;
    let uplinks = "/v1/devices/pump-1/uplinks";
    problem(
        &http
            .post("/v1/devices/nobody/uplinks", "text/plain", "1")
            .await,
        404,
    );
    problem(&http.post("/v1/nothing", "text/plain", "1").await, 404);
    problem(
        &http.post(uplinks, "application/json", "{broken").await,
        400,
    );
    problem(&http.post(uplinks, "application/json", "").await, 400);
    problem(&http.post(uplinks, "nonsense", "1").await, 400);
    problem(
        &http.post(uplinks, "text/plain", vec![b'x'; 10 << 20]).await,
        413,
    );
    for query in [
        "qos=3",
        "qos=x",
        "qos=2",
        "retain=maybe",
        "expiry=0",
        "expiry=-1",
        "colour=red",
    ] {
        problem(
            &http
                .post(&format!("{uplinks}?{query}"), "text/plain", "1")
                .await,
            400,
        );
    }
    let gzip = http
        .request(reqwest::Method::POST, uplinks)
        .header("content-encoding", "gzip");
    problem(&Reply::to(gzip.body("1")).await, 415);
    let wrong_method = http.get(uplinks).await;
    problem(&wrong_method, 405);
    assert!(wrong_method.header("allow").contains("POST"));
    problem(&http.get("/v1/devices/nobody/downlinks").await, 404);
    problem(&http.get("/v1/devices/nobody/session").await, 404);
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut() {
    let (_broker, bridge) = bridge().await;
    let chunk = format!("{:x}\r\n{}\r\n", 65_536, "x".repeat(65_536));
    let head = "POST /v1/devices/pump-1/uplinks HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let answer = raw(
        bridge.addr(),
        format!("{head}{}", chunk.repeat(64)).as_bytes(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer:.200}");
}

#[tokio::test]
async fn only_pages_of_configured_origins_may_use_the_interface() {
    let preflight = async |bridge: &TestBridge| {
        let request = bridge
            .http
            .request(reqwest::Method::OPTIONS, "/v1/devices/pump-1/uplinks");
        let request = request
            .header("origin", "https://plant.example")
            .header("access-control-request-method", "POST");
        Reply::to(request).await
    };
    let devices = &pump("127.0.0.1:1".parse().unwrap());
    let closed = TestBridge::start(devices).await;
    assert_eq!(
        preflight(&closed)
            .await
            .header("access-control-allow-origin"),
        ""
    );
    let open = TestBridge::with_http("cors_origins = [\"https://plant.example\"]", devices).await;
    assert_eq!(
        preflight(&open).await.header("access-control-allow-origin"),
        "https://plant.example"
    );
    let request = open
        .http
        .request(reqwest::Method::GET, "/v1/devices")
        .header("origin", "https://elsewhere.example");
    assert_eq!(
        Reply::to(request)
            .await
            .header("access-control-allow-origin"),
        ""
    );
}
