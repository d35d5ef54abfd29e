//! Uplinks that the broker cannot confirm: stored, answered with 202, delivered later, and their receipts.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::Value;

use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::{Cut, Proxy};
use crate::harness::subscriber::Subscriber;

const DEVICE: &str = "/v1/devices/pump-1";

fn plain(addr: SocketAddr, more: &str) -> String {
    format!(
        "{more}\n[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{addr}\"\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n"
    )
}

async fn post(http: &Http, prefer: &str, payload: &str) -> Reply {
    let request = http.request(Method::POST, &format!("{DEVICE}/uplinks"));
    Reply::to(request.header("prefer", prefer).body(payload.to_owned())).await
}

/// Checks a 202 and gives the place of its receipt.
#[track_caller]
fn queued(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{}", reply.text());
    let receipt = reply.json();
    assert_eq!(receipt["status"], "queued");
    assert_eq!(receipt.get("completed_at"), None);
    let location = format!("/v1/uplinks/{}", receipt["id"].as_str().unwrap());
    assert_eq!(reply.header("location"), location);
    location
}

async fn receipt(bridge: &TestBridge, location: &str) -> Value {
    let reply = bridge.http.get(location).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.json()
}

async fn until_delivered(bridge: &TestBridge, location: &str) -> Value {
    eventually("the uplink to be delivered", DEADLINE, async || {
        receipt(bridge, location).await["status"] == "delivered"
    })
    .await;
    receipt(bridge, location).await
}

fn texts(messages: &[crate::harness::access::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text()).collect()
}

#[tokio::test]
async fn what_a_dead_broker_cannot_confirm_is_queued_and_delivered_when_it_is_back() {
    let mut broker = Mosquitto::builder().persistent().start().await;
    let observer = broker.access().client_id("observer");
    let observer = Subscriber::persistent(&observer, &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(broker.addr(), "")).await;
    let first = post(&bridge.http, "wait=9", "0").await;
    assert_eq!(first.status, 200, "{}", first.text());
    // A receipt of what never was on disk.
    let location = format!("/v1/uplinks/{}", first.json()["id"].as_str().unwrap());
    assert_eq!(receipt(&bridge, &location).await, first.json());
    assert_eq!(bridge.session("pump-1").await["backlog"]["count"], 0);

    broker.save().await;
    broker.kill9();
    let waited = post(&bridge.http, "wait=1", "1").await;
    assert_eq!(waited.header("preference-applied"), "wait=1");
    let at_once = post(&bridge.http, "respond-async", "2").await;
    assert_eq!(at_once.header("preference-applied"), "respond-async");
    let places = [queued(&waited), queued(&at_once)];
    for place in &places {
        assert_eq!(receipt(&bridge, place).await["status"], "queued");
    }
    let backlog = bridge.session("pump-1").await["backlog"].clone();
    assert_eq!(backlog["count"], 2, "{backlog}");
    assert!(backlog["bytes"].as_u64().unwrap() > 0 && backlog["oldest"].is_string());
    assert_eq!(bridge.session("pump-2").await["backlog"]["count"], 0);

    broker.restart().await;
    for place in &places {
        let receipt = until_delivered(&bridge, place).await;
        assert!(receipt["attempts"].as_u64().unwrap() >= 1, "{receipt}");
        assert!(receipt["completed_at"].is_string() && receipt["reason_code"].is_u64());
    }
    assert_eq!(bridge.session("pump-1").await["backlog"]["count"], 0);
    let seen = observer.wait_count(3).await;
    assert_eq!(texts(&seen), ["0", "1", "2"]);
}

#[tokio::test]
async fn accepted_order_is_broker_order_over_a_restart_of_the_bridge() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    let config = plain(proxy.addr(), "");
    proxy.refuse().await;
    let bridge = TestBridge::start(&config).await;
    let mut places = Vec::new();
    // One that waits in memory as well, behind it some that are only on disk.
    places.push(queued(&post(&bridge.http, "wait=1", "0").await));
    for number in 1..5 {
        places.push(queued(
            &post(&bridge.http, "respond-async", &number.to_string()).await,
        ));
    }
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config).await;
    for number in 5..10 {
        places.push(queued(
            &post(&bridge.http, "respond-async", &number.to_string()).await,
        ));
    }
    assert_eq!(bridge.session("pump-1").await["backlog"]["count"], 10);
    proxy.admit();
    for place in &places {
        until_delivered(&bridge, place).await;
    }
    let last = post(&bridge.http, "wait=30", "10").await;
    assert_eq!(last.status, 200, "{}", last.text());
    let seen = observer.wait_count(11).await;
    let expected: Vec<_> = (0..11).map(|number| number.to_string()).collect();
    assert_eq!(texts(&seen), expected);
    // Receipts outlive a restart as well.
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config).await;
    assert_eq!(receipt(&bridge, &places[0]).await["status"], "delivered");
}

#[tokio::test]
async fn a_refusal_is_told_by_the_receipt_and_blocks_nothing() {
    let acl = "user causeway\ntopic readwrite devices/pump-1/up\n";
    let broker = Mosquitto::builder()
        .user("causeway", "let me in")
        .acl(acl)
        .start()
        .await;
    let login = "secret = \"let me in\"\nvariables = { username = \"causeway\" }";
    let proxy = Proxy::start(broker.addr());
    let config =
        plain(proxy.addr(), "").replace("[devices.pump-1]", &format!("{login}\n[devices.pump-1]"));
    proxy.refuse().await;
    let bridge = TestBridge::start(&config).await;
    let request = |path: &str| {
        let request = bridge
            .http
            .request(Method::POST, &format!("{DEVICE}/uplinks{path}"));
        request.header("prefer", "respond-async").body("1")
    };
    let refused = queued(&Reply::to(request("/secret/place")).await);
    let expired = queued(&Reply::to(request("?expiry=1")).await);
    let delivered = queued(&Reply::to(request("")).await);
    // Until its time is certainly over.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    proxy.admit();
    until_delivered(&bridge, &delivered).await;
    let refused = receipt(&bridge, &refused).await;
    assert_eq!(
        (&refused["status"], &refused["reason_code"]),
        (&"refused".into(), &0x87.into()),
        "{refused}"
    );
    assert_eq!(receipt(&bridge, &expired).await["status"], "expired");
}

#[tokio::test]
async fn a_receipt_that_is_not_there_says_how_long_they_are_kept() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&plain(broker.addr(), "[store]\nreceipt_age = \"2h\"")).await;
    let reply = bridge
        .http
        .get("/v1/uplinks/0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d")
        .await;
    assert_eq!(reply.status, 404);
    let problem = reply.json();
    assert_eq!(problem["type"], "/docs#problem-unknown-uplink");
    assert!(
        problem["hint"].as_str().unwrap().contains("for 2h after"),
        "{problem}"
    );
    for path in ["1", "0199a8c0", "x?y=1"] {
        let reply = bridge.http.get(&format!("/v1/uplinks/{path}")).await;
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
}

#[tokio::test]
async fn at_a_limit_nothing_is_half_taken() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    let config = plain(proxy.addr(), "[store]\ndevice_uplinks = 3");
    assert_eq!(
        post(&TestBridge::start(&config).await.http, "wait=9", "before")
            .await
            .status,
        200
    );
    proxy.refuse().await;
    proxy.cut(Cut::Reset);
    let bridge = TestBridge::start(&config).await;
    let mut places = Vec::new();
    for payload in ["0", "1", "2"] {
        places.push(queued(&post(&bridge.http, "respond-async", payload).await));
    }
    for prefer in ["respond-async", "wait=1"] {
        let full = post(&bridge.http, prefer, "too much").await;
        assert_eq!(full.status, 503, "{}", full.text());
        assert_eq!(full.header("content-type"), "application/problem+json");
        assert!(
            full.header("retry-after")
                .parse::<u32>()
                .is_ok_and(|seconds| seconds > 0)
        );
        let problem = full.json();
        assert_eq!(problem["type"], "/docs#problem-full");
        assert_eq!(
            (&problem["queued"], &problem["retryable"]),
            (&false.into(), &true.into())
        );
    }
    let session = bridge.session("pump-1").await;
    assert_eq!(session["backlog"]["count"], 3, "{session}");
    // The limit is that device's alone.
    let request = bridge
        .http
        .request(Method::POST, "/v1/devices/pump-2/uplinks");
    let other = Reply::to(request.header("prefer", "respond-async").body("other")).await;
    assert_eq!(other.status, 202, "{}", other.text());
    let ready = bridge.management.get("/readyz").await.json();
    assert_eq!(
        ready["store"]["writable"], true,
        "a full queue is no trouble of the store"
    );

    proxy.admit();
    for place in &places {
        until_delivered(&bridge, place).await;
    }
    assert_eq!(post(&bridge.http, "wait=30", "after").await.status, 200);
    let seen = observer.wait_count(6).await;
    let mut of_device = seen
        .iter()
        .filter(|message| message.topic == "devices/pump-1/up");
    let seen: Vec<_> = of_device.by_ref().map(|message| message.text()).collect();
    assert_eq!(seen, ["before", "0", "1", "2", "after"]);
}

#[tokio::test]
async fn without_a_confirmation_or_a_place_in_the_store_nothing_is_sent_later() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    proxy.refuse().await;
    let bridge = TestBridge::start(&plain(proxy.addr(), "[store]\ntotal_uplinks = 1")).await;
    let request = bridge
        .http
        .request(Method::POST, "/v1/devices/pump-2/uplinks");
    let place = queued(&Reply::to(request.header("prefer", "respond-async").body("other")).await);
    // It waits in the session's queue, and then there is no room for it in the store.
    let full = post(&bridge.http, "wait=1", "lost").await;
    assert_eq!(full.status, 503, "{}", full.text());
    assert!(!full.header("retry-after").is_empty());
    proxy.admit();
    until_delivered(&bridge, &place).await;
    assert_eq!(post(&bridge.http, "wait=30", "after").await.status, 200);
    assert_eq!(texts(&observer.wait_count(2).await), ["other", "after"]);
}

#[tokio::test]
async fn what_is_stored_behind_many_that_wait_in_memory_is_delivered_without_another_push() {
    let mut broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&plain(broker.addr(), "")).await;
    assert_eq!(post(&bridge.http, "wait=9", "0").await.status, 200);
    broker.kill9();
    bridge.until("pump-1", "backing_off").await;
    // These keep their places in the session's queue: more of them than the drain reads from the store at once.
    let waiting = (0..150).map(|number| {
        let http = bridge.http.clone();
        tokio::spawn(async move { post(&http, "wait=1", &number.to_string()).await })
    });
    for waiting in waiting.collect::<Vec<_>>() {
        queued(&waiting.await.unwrap());
    }
    let last = queued(&post(&bridge.http, "respond-async", "last").await);
    broker.restart().await;
    until_delivered(&bridge, &last).await;
    // And the lane is direct again: nothing has to go by way of the disk.
    eventually("the backlog to be gone", DEADLINE, async || {
        bridge.session("pump-1").await["backlog"]["count"] == 0
    })
    .await;
    assert_eq!(post(&bridge.http, "wait=9", "after").await.status, 200);
}
