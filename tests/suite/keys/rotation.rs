//! Another key while uplinks go on: taken over, or given up, and nobody notices.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::{activate, devices, list, make, send, set_up, states};
use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::demo::Demo;
use crate::harness::eventually::eventually;
use crate::harness::proxy::Proxy;
use crate::renewal::{Posted, assert_in_order, places, post};

/// Two devices with a key each, and uplinks going on, over a link on which several are always under way.
struct Load {
    demo: Demo,
    bridge: TestBridge,
    keys: [Value; 2],
    posting: Vec<tokio::task::JoinHandle<Vec<Posted>>>,
    _link: Proxy,
    _dir: TempDir,
}

const PUMPS: [&str; 2] = ["pump-rsa", "pump-ec"];

impl Load {
    const COUNT: u64 = 250;

    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let demo = Demo::start(dir.path()).await;
        let link = Proxy::start(demo.addr("mqtt"));
        link.delay(Duration::from_millis(30));
        let bridge = TestBridge::start(&devices(&link.addr().to_string(), &PUMPS)).await;
        let keys = [
            set_up(&demo, &bridge.http, PUMPS[0], "RS256").await,
            set_up(&demo, &bridge.http, PUMPS[1], "ES256").await,
        ];
        let posting =
            PUMPS.map(|device| tokio::spawn(post(bridge.http.clone(), device, Self::COUNT)));
        Self {
            demo,
            bridge,
            keys,
            posting: posting.into(),
            _link: link,
            _dir: dir,
        }
    }

    /// Waits until so many of each device have come.
    async fn until(&self, count: u64) {
        eventually("uplinks to come", DEADLINE, async || {
            let [one, other] = PUMPS.map(|device| self.demo.taken(device, 0));
            (one.await.len().min(other.await.len())) as u64 >= count
        })
        .await;
    }

    fn is_over(&self) -> bool {
        self.posting
            .iter()
            .any(tokio::task::JoinHandle::is_finished)
    }

    /// Every uplink was answered with 200, and came once and in its order.
    async fn assert_unharmed(&mut self) {
        for (device, posting) in PUMPS.iter().zip(self.posting.drain(..)) {
            let posted = posting.await.unwrap();
            for post in &posted {
                assert_eq!(
                    post.status, 200,
                    "{device} {}: {}",
                    post.number, post.answer
                );
            }
            let places = places(&self.demo.taken(device, 0).await, Self::COUNT);
            assert_in_order(device, &posted, &places);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_under_load_without_anybody_noticing() {
    let mut load = Load::start().await;
    let mut keys = load.keys.clone();
    for round in 1..=3 {
        load.until(round * 50).await;
        for (device, old) in PUMPS.iter().zip(&mut keys) {
            let algorithm = if round % 2 == 0 { "RS256" } else { "ES256" };
            let new = set_up(&load.demo, &load.bridge.http, device, algorithm).await;
            let kid = old["kid"].as_str().unwrap().to_owned();
            for (http, path) in [
                (&load.demo.console, format!("/devices/{device}/keys/{kid}")),
                (
                    &load.bridge.http,
                    format!("/v1/devices/{device}/keys/{kid}"),
                ),
            ] {
                let reply = send(http, Method::DELETE, &path, &[]).await;
                assert_eq!(reply.status, 204, "{}", reply.text());
            }
            *old = new;
        }
    }
    assert!(
        !load.is_over(),
        "the load must last longer than the rotations"
    );
    load.assert_unharmed().await;
    for (device, key) in PUMPS.iter().zip(&keys) {
        let list = list(&load.bridge.http, device).await;
        assert_eq!((list.len(), &list[0]["kid"]), (1, &key["kid"]));
        let session = load.bridge.session(device).await;
        assert_eq!(session["counters"]["renewals"], 3, "{session}");
        assert_eq!(session["counters"]["repeated"], 0, "{session}");
    }
    assert_eq!(load.demo.refused().await, [Value::Null; 0]);
    load.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_platform_does_not_know_is_given_up_under_load_without_harm() {
    let mut load = Load::start().await;
    load.until(50).await;
    for (device, old) in PUMPS.iter().zip(&load.keys) {
        let unknown = make(&load.bridge.http, device, "ES256").await;
        let reply = activate(&load.bridge.http, device, &unknown).await;
        assert_eq!(reply.status, 502, "{}", reply.text());
        let problem = reply.json();
        assert_eq!(problem["type"], "/docs#problem-key-refused");
        let detail = problem["detail"].as_str().unwrap();
        let again = format!("the key {} signs again", old["kid"].as_str().unwrap());
        assert!(
            detail.contains("0x86") && detail.contains(&again),
            "{detail}"
        );

        let list = list(&load.bridge.http, device).await;
        assert_eq!(states(&list), ["active", "new"]);
        let why = list[1]["refusal"]["why"].as_str().unwrap();
        assert!(why.contains("bad user name or password"), "{why}");
        load.bridge.until(device, "connected").await;
        let error = &load.bridge.session(device).await["last_error"];
        let what = error["what"].as_str().unwrap();
        assert!(
            what.contains(unknown["kid"].as_str().unwrap()) && what.contains("is used again"),
            "{what}"
        );
        assert!(
            error["hint"].as_str().unwrap().contains("public half"),
            "{error}"
        );
    }
    assert!(!load.is_over(), "the load must last longer than this");
    load.assert_unharmed().await;
    load.bridge.stop().await;
}
