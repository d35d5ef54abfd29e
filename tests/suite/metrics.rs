//! The figures that the management listener gives to Prometheus.

use reqwest::Method;

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::eventually::eventually;
use crate::harness::exposition::Exposition;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";

/// Two devices that share the one session of their connector.
fn devices(url: &str) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"{url}\"\nconnect = \"eager\"\n\
         secret = \"let me in\"\n\
         variables = {{ username = \"causeway\" }}\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n"
    )
}

async fn scrape(bridge: &TestBridge) -> Exposition {
    let reply = bridge.management.get("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    Exposition::parse(reply.text())
}

/// Waits until a scrape has all of these.
async fn until(bridge: &TestBridge, expected: &[(&str, f64)]) {
    let what = format!("the figures to be {expected:?}");
    eventually(&what, DEADLINE, async || {
        let seen = scrape(bridge).await;
        expected
            .iter()
            .all(|(series, value)| seen.get(series) == Some(*value))
    })
    .await;
}

#[tokio::test]
async fn figures_follow_what_happens() {
    let broker = Mosquitto::builder()
        .user("causeway", "let me in")
        .acl("user causeway\ntopic readwrite devices/pump-1/#\n")
        .start()
        .await;
    let bridge = TestBridge::start(&devices(&format!("mqtt://{}", broker.addr()))).await;
    let connected = "causeway_sessions{connector=\"local\",state=\"connected\"}";
    let delivered = "causeway_uplinks_total{connector=\"local\",outcome=\"delivered\"}";
    let refused = "causeway_uplinks_total{connector=\"local\",outcome=\"refused\"}";
    let connects = "causeway_connects_total{connector=\"local\"}";
    let downlinks = "causeway_downlinks_total{connector=\"local\"}";
    until(&bridge, &[(connected, 1.0), (connects, 1.0)]).await;

    let before = scrape(&bridge).await;
    for (series, value) in [
        ("causeway_sessions{connector=\"local\",state=\"idle\"}", 0.0),
        ("causeway_renewals_total{connector=\"local\"}", 0.0),
        (delivered, 0.0),
        (refused, 0.0),
        ("causeway_uplinks_repeated_total{connector=\"local\"}", 0.0),
        ("causeway_uplinks_in_flight{connector=\"local\"}", 0.0),
        (downlinks, 0.0),
        ("causeway_downlinks_dropped_total{connector=\"local\"}", 0.0),
        ("causeway_listeners", 0.0),
        ("causeway_store_writable", 1.0),
        ("causeway_store_queued_uplinks", 0.0),
        ("causeway_store_failed_commits_total", 0.0),
    ] {
        assert_eq!(before.get(series), Some(value), "{series} in {before:?}");
    }
    let version = format!(
        "causeway_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(before.get(&version), Some(1.0));

    for _ in 0..2 {
        let reply = bridge.http.post(UPLINKS, "text/plain", "1").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let path = UPLINKS.replace("pump-1", "pump-2");
    let reply = bridge.http.post(&path, "text/plain", "1").await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    until(&bridge, &[(delivered, 2.0), (refused, 1.0)]).await;

    let request = bridge.http.request(Method::POST, UPLINKS);
    let reply = Reply::to(request.header("prefer", "respond-async").body("2")).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let settled = [(delivered, 3.0), ("causeway_store_queued_uplinks", 0.0)];
    until(&bridge, &settled).await;

    let path = "/v1/devices/pump-1/downlinks";
    let listener = bridge.http.events(path, None).await;
    until(&bridge, &[("causeway_listeners", 1.0)]).await;
    let access = broker.access().user("causeway", "let me in");
    let message = Message::new("devices/pump-1/down/led", "on");
    access.publish(&message).await.accepted();
    listener.wait_count(1).await;
    let stored = [(downlinks, 1.0), ("causeway_store_downlinks", 1.0)];
    until(&bridge, &stored).await;

    let after = scrape(&bridge).await;
    let commits = "causeway_store_commits_total";
    assert!(after.get(commits) > before.get(commits), "{after:?}");
    let count = "causeway_store_commit_seconds_count";
    assert!(after.get(count) > before.get(count), "{after:?}");
    assert!(after.get("causeway_store_downlinks_bytes") > Some(0.0));
    assert_eq!(after.get(connected), Some(1.0));
    assert!(
        before.series().eq(after.series()),
        "no series comes or goes: {before:?} {after:?}"
    );
    for series in after.series() {
        assert!(!series.contains("pump"), "a device in a label: {series}");
    }
}

#[tokio::test]
async fn without_a_store_there_are_no_figures_of_it() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::without_store(&devices(&format!("mqtt://{}", broker.addr()))).await;
    let seen = scrape(&bridge).await;
    assert_eq!(seen.get("causeway_listeners"), Some(0.0));
    assert!(
        !seen.series().any(|series| series.contains("store")),
        "{seen:?}"
    );
}
