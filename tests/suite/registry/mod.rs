//! Devices that come and go while the bridge runs.

mod crowd;
mod deleting;
#[cfg(feature = "nats")]
mod elsewhere;
mod listing;
mod moving;
mod registering;
mod sharing;

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::bridge::TestBridge;
use crate::harness::http::{Http, Reply};

/// `own`: a connection for each device. `local`: one for all of them; `fixed` is its device, written in the file.
fn config(broker: SocketAddr) -> String {
    format!(
        r#"
[connectors.own]
profile = "plain"
url = "mqtt://{broker}"
override.session = "device"
override.connect.client_id = "own-{{device}}"
[connectors.local]
profile = "plain"
url = "mqtt://{broker}"
[devices.fixed]
connector = "local"
"#
    )
}

async fn put(http: &Http, device: &str, body: &Value) -> Reply {
    let request = http.request(Method::PUT, &format!("/v1/devices/{device}"));
    let request = request.header("content-type", "application/json");
    Reply::to(request.body(body.to_string())).await
}

/// Registers a device, which must be new.
async fn created(http: &Http, device: &str, connector: &str) {
    let reply = put(http, device, &json!({"connector": connector})).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
}

async fn delete(http: &Http, device: &str, query: &str) -> Reply {
    Reply::to(http.request(Method::DELETE, &format!("/v1/devices/{device}{query}"))).await
}

async fn post(http: &Http, device: &str, prefer: &str, payload: &str) -> Reply {
    let request = http.request(Method::POST, &format!("/v1/devices/{device}/uplinks"));
    Reply::to(request.header("prefer", prefer).body(payload.to_owned())).await
}

async fn delivered(http: &Http, device: &str, payload: &str) {
    let reply = post(http, device, "wait=30", payload).await;
    assert_eq!(reply.status, 200, "{device}: {}", reply.text());
}

#[track_caller]
fn problem(reply: &Reply, status: u16, kind: &str) -> String {
    assert_eq!(reply.status, status, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["type"], format!("/docs#problem-{kind}"));
    body["detail"].as_str().unwrap().to_owned()
}

async fn connects(bridge: &TestBridge, device: &str) -> u64 {
    bridge.session(device).await["counters"]["connects"]
        .as_u64()
        .unwrap()
}
