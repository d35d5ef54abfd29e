//! Requests of a client, for those who do not care how they are put together.

use reqwest::Method;
use serde_json::Value;

use crate::harness::http::{Http, Reply};

pub(super) async fn get(door: &Http, path: &str) -> Value {
    let reply = door.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.json()
}

/// Registers a device, or changes it.
pub(super) async fn put(door: &Http, device: &str, body: &Value) -> Reply {
    let request = door.request(Method::PUT, &format!("/v1/devices/{device}"));
    let request = request.header("content-type", "application/json");
    Reply::to(request.body(body.to_string())).await
}

pub(super) async fn delete(door: &Http, path: &str) -> Reply {
    Reply::to(door.request(Method::DELETE, path)).await
}

/// Posts an uplink, with more headers.
pub(super) async fn post(
    door: &Http,
    device: &str,
    headers: &[(&str, &str)],
    payload: &str,
) -> Reply {
    let mut request = door.request(Method::POST, &format!("/v1/devices/{device}/uplinks"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::to(request.body(payload.to_owned())).await
}

/// Posts an uplink that the broker confirms.
pub(super) async fn delivered(door: &Http, device: &str, payload: &str) -> Value {
    let headers = [("prefer", "wait=30"), ("content-type", "application/json")];
    let reply = post(door, device, &headers, payload).await;
    assert_eq!(reply.status, 200, "{device}: {}", reply.text());
    reply.json()
}

#[track_caller]
pub(super) fn assert_problem(reply: &Reply, status: u16, kind: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let problem = format!("/docs#problem-{kind}");
    assert_eq!(reply.json()["type"], problem, "{}", reply.text());
}
