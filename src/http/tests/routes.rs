//! Paths and methods that are none, and those that are described.

use super::bridge::Bridge;
use super::client::{get, open, send};

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let bridge = Bridge::start().await;
    for path in [
        "/page",
        "/index.html",
        "/v1",
        "/v2/devices",
        "/v1/devices/a/b/uplinks",
        "/v1/devices/plain/nothing",
    ] {
        get(bridge.address, path).await.problem(404, "no-route");
    }
    for (line, allow) in [
        ("GET /v1/devices/plain/uplinks", "POST"),
        ("PUT /v1/devices/plain/uplinks/a", "POST"),
        ("POST /v1/devices/plain", "PUT,DELETE,GET,HEAD"),
        ("POST /v1/devices/plain/downlinks", "GET,HEAD"),
        ("GET /v1/uplinks", "POST"),
        ("DELETE /v1/uplinks/1", "GET,HEAD"),
    ] {
        let answer = send(bridge.address, line, "", b"").await;
        answer.problem(405, "method");
        assert_eq!(answer.header("allow"), Some(allow), "{line}");
    }
    let answer = send(bridge.address, "OPTIONS /v1/devices/plain", "", b"").await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (204, Some("PUT,DELETE,GET,HEAD"))
    );
    let answer = send(bridge.address, "HEAD /v1/devices", "", b"").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn what_is_described_is_there() {
    let bridge = Bridge::start().await;
    let description = get(bridge.address, "/openapi.json").await;
    assert_eq!(description.header("content-type"), Some("application/json"));
    let description = description.json();
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 19);
    let of_management = ["/livez", "/readyz", "/metrics"];
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let concrete = path
                .replace("{device}", "nobody")
                .replace("{subtopic}", "a/b")
                .replace("{kid}", &"0".repeat(64))
                .replace("{id}", "0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d");
            let line = format!("{} {concrete}", method.to_uppercase());
            let headers = "Connection: close\r\nContent-Length: 0\r\n";
            let answer = open(bridge.address, &line, headers, b"").await;
            if answer
                .headers
                .get("content-type")
                .is_some_and(|t| t == "text/event-stream")
            {
                continue;
            }
            let answer = answer.finish().await;
            let there = answer.status < 300
                || matches!(answer.json()["type"].as_str(), Some(kind) if !kind.ends_with("-route") && !kind.ends_with("-method"));
            assert_eq!(
                there,
                !of_management.contains(&path.as_str()),
                "{line}: {answer:?}"
            );
        }
    }
}
