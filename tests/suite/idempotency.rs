//! Requests with an `Idempotency-Key`, sent more than once.

use std::net::SocketAddr;

use reqwest::Method;

use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;

fn plain(addr: SocketAddr) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{addr}\"\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n"
    )
}

async fn post(http: &Http, path: &str, key: &str, prefer: &str, payload: &str) -> Reply {
    let request = http.request(Method::POST, &format!("/v1/devices/{path}"));
    let request = request
        .header("idempotency-key", key)
        .header("prefer", prefer);
    Reply::to(request.body(payload.to_owned())).await
}

#[tokio::test]
async fn a_repeated_request_is_answered_again_and_published_once_also_after_a_restart() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let config = plain(broker.addr());
    let bridge = TestBridge::start(&config).await;
    let first = post(&bridge.http, "pump-1/uplinks", "k1", "wait=30", "1").await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = post(&bridge.http, "pump-1/uplinks", "\"k1\"", "wait=30", "1").await;
    assert_eq!((again.status, again.text()), (200, first.text()));
    assert_eq!(again.header("idempotency-replayed"), "true");

    for (path, payload) in [
        ("pump-1/uplinks", "2"),
        ("pump-1/uplinks?retain=true", "1"),
        ("pump-1/uplinks/sub", "1"),
    ] {
        let other = post(&bridge.http, path, "k1", "wait=30", payload).await;
        assert_eq!(other.status, 422, "{}", other.text());
        assert_eq!(other.json()["type"], "/docs#problem-key-other-body");
    }
    // A key is one of its device.
    let other = post(&bridge.http, "pump-2/uplinks", "k1", "wait=30", "2").await;
    assert_eq!(
        (other.status, other.header("idempotency-replayed")),
        (200, "")
    );
    for key in ["", "a\tb", &"x".repeat(256)] {
        let bad = post(&bridge.http, "pump-1/uplinks", key, "wait=30", "1").await;
        assert_eq!(bad.status, 400, "{}", bad.text());
    }

    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config).await;
    let again = post(&bridge.http, "pump-1/uplinks", "k1", "wait=30", "1").await;
    assert_eq!((again.status, again.text()), (200, first.text()));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let last = post(&bridge.http, "pump-1/uplinks", "k2", "wait=30", "last").await;
    assert_eq!(last.status, 200, "{}", last.text());
    let seen = observer.wait_count(3).await;
    let seen: Vec<_> = seen.iter().map(|message| message.text()).collect();
    assert_eq!(seen, ["1", "2", "last"]);
}

#[tokio::test]
async fn a_request_that_was_queued_is_answered_so_again_while_the_broker_is_away_and_after() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    let config = plain(proxy.addr());
    proxy.refuse().await;
    let bridge = TestBridge::start(&config).await;
    let first = post(&bridge.http, "pump-1/uplinks", "k1", "wait=1", "1").await;
    assert_eq!(first.status, 202, "{}", first.text());
    let again = post(&bridge.http, "pump-1/uplinks", "k1", "respond-async", "1").await;
    assert_eq!((again.status, again.text()), (202, first.text()));
    assert_eq!(again.header("location"), first.header("location"));
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config).await;
    let again = post(&bridge.http, "pump-1/uplinks", "k1", "wait=1", "1").await;
    assert_eq!((again.status, again.text()), (202, first.text()));
    proxy.admit();
    let last = post(&bridge.http, "pump-1/uplinks", "k2", "wait=30", "last").await;
    assert_eq!(last.status, 200, "{}", last.text());
    eventually("the receipt to tell it", DEADLINE, async || {
        let receipt = bridge.http.get(first.header("location")).await.json();
        receipt["status"] == "delivered"
    })
    .await;
    let seen = observer.wait_count(2).await;
    let seen: Vec<_> = seen.iter().map(|message| message.text()).collect();
    assert_eq!(seen, ["1", "last"]);
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_is_published_and_none_gets_another_answer() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let (mut ids, mut accepted) = (std::collections::HashSet::new(), 0);
    let requests = (0..40).map(|_| {
        let http = bridge.http.clone();
        tokio::spawn(async move { post(&http, "pump-1/uplinks", "k", "wait=30", "1").await })
    });
    for request in requests.collect::<Vec<_>>() {
        let reply = request.await.unwrap();
        match reply.status {
            200 | 202 => {
                ids.insert(reply.json()["id"].as_str().unwrap().to_owned());
                accepted += 1;
            }
            409 => {
                assert_eq!(reply.json()["type"], "/docs#problem-key-in-flight");
                assert_eq!(reply.header("retry-after"), "1");
            }
            _ => panic!("{}", reply.text()),
        }
    }
    assert!(accepted >= 1);
    assert_eq!(ids.len(), 1, "{ids:?}");
    let last = post(&bridge.http, "pump-1/uplinks", "other", "wait=30", "last").await;
    assert_eq!(last.status, 200, "{}", last.text());
    let seen = observer.wait_count(2).await;
    let seen: Vec<_> = seen.iter().map(|message| message.text()).collect();
    assert_eq!(seen, ["1", "last"]);
}

#[tokio::test]
async fn a_request_that_was_not_taken_frees_its_key() {
    let broker = Mosquitto::start().await;
    let proxy = Proxy::start(broker.addr());
    proxy.refuse().await;
    let config = format!("[store]\ndevice_uplinks = 1\n{}", plain(proxy.addr()));
    let bridge = TestBridge::start(&config).await;
    let first = post(&bridge.http, "pump-1/uplinks", "k1", "respond-async", "1").await;
    assert_eq!(first.status, 202, "{}", first.text());
    for _ in 0..2 {
        let full = post(&bridge.http, "pump-1/uplinks", "k2", "respond-async", "2").await;
        assert_eq!(full.status, 503, "{}", full.text());
    }
    proxy.admit();
    let retried = async || {
        post(&bridge.http, "pump-1/uplinks", "k2", "wait=30", "2")
            .await
            .status
    };
    eventually("room", DEADLINE, async || retried().await == 200).await;
}
