//! The first key of a device: made, registered with the platform, and used as soon as that knows it.

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use super::{activate, broker, devices, list, make, register, uplink};
use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::demo::Demo;
use crate::harness::eventually::eventually;
use crate::harness::http::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn from_no_key_to_the_first_uplink() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let bridge = TestBridge::start(&devices(&broker(&demo), &["pump-1"])).await;
    let http = &bridge.http;
    bridge.until("pump-1", "no_key").await;
    let session = bridge.session("pump-1").await;
    let hint = session["last_error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("POST /v1/devices/{device}/keys") && hint.contains("causeway keys"),
        "{hint}"
    );
    let refused = uplink(http, "pump-1", "0").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["type"], "/docs#problem-no-key");
    assert!(
        problem["hint"].as_str().unwrap().contains("/keys"),
        "{problem}"
    );
    // Without a key nothing else is wrong: somebody may come and make one.
    assert_eq!(bridge.management.get("/readyz").await.status, 200);

    let path = "/v1/devices/pump-1/uplinks";
    let request = http.request(Method::POST, path);
    let request = request.header("prefer", "respond-async");
    let queued = Reply::to(request.header("content-type", "application/json").body("1")).await;
    assert_eq!(queued.status, 202, "{}", queued.text());

    let key = make(http, "pump-1", "ES256").await;
    assert_eq!(
        (&key["state"], &key["algorithm"]),
        (&json!("new"), &json!("ES256"))
    );
    assert_eq!(bridge.session("pump-1").await["state"], "no_key");
    register(&demo, "pump-1", &key).await;
    let reply = activate(http, "pump-1", &key).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let active = reply.json();
    assert_eq!(
        (&active["state"], &active["on_trial"]),
        (&json!("active"), &json!(false))
    );
    assert!(active["last_used_at"].is_string(), "{active}");

    let confirmed = uplink(http, "pump-1", "2").await;
    assert!(
        [200, 202].contains(&confirmed.status),
        "{}",
        confirmed.text()
    );
    eventually("both uplinks to arrive", DEADLINE, async || {
        demo.taken("pump-1", 0).await.len() == 2
    })
    .await;
    let taken = demo.taken("pump-1", 0).await;
    let payloads: Vec<_> = taken.iter().map(|uplink| &uplink.payload).collect();
    assert_eq!(payloads, [&json!(1), &json!(2)]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_platform_learns_of_later_is_used_then() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let bridge = TestBridge::start(&devices(&broker(&demo), &["pump-1"])).await;
    let key = make(&bridge.http, "pump-1", "ES256").await;
    let reply = activate(&bridge.http, "pump-1", &key).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert!(
        reply.json()["refusal"]["why"].is_string(),
        "{}",
        reply.text()
    );
    bridge.until("pump-1", "refused").await;
    register(&demo, "pump-1", &key).await;
    eventually("the key to be taken", DEADLINE, async || {
        uplink(&bridge.http, "pump-1", "1").await.status == 200
    })
    .await;
    let key = &list(&bridge.http, "pump-1").await[0];
    assert_eq!(
        (&key["on_trial"], key.get("refusal")),
        (&json!(false), None)
    );
    bridge.stop().await;
}
