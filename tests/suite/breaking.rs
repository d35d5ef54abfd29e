//! The road out while it breaks: what is answered must stay true.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;

use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::{Cut, Proxy, Stall};
use crate::harness::subscriber::Subscriber;

fn plain(addr: std::net::SocketAddr, more: &str) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{addr}\"\n{more}\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n"
    )
}

async fn post(http: &Http, wait: u32, payload: &str) -> Reply {
    let request = http.request(Method::POST, "/v1/devices/pump-1/uplinks");
    Reply::to(
        request
            .header("prefer", format!("wait={wait}"))
            .body(payload.to_owned()),
    )
    .await
}

#[tokio::test]
async fn what_was_not_taken_during_an_outage_never_arrives() {
    let mut broker = Mosquitto::start().await;
    let bridge = TestBridge::without_store(&plain(broker.addr(), "")).await;
    assert_eq!(post(&bridge.http, 5, "before").await.status, 200);
    broker.kill9();
    let reply = post(&bridge.http, 1, "lost").await;
    assert!([503, 504].contains(&reply.status), "{}", reply.text());
    assert_eq!(reply.json()["queued"], false);
    bridge.until("pump-1", "backing_off").await;
    let reply = post(&bridge.http, 1, "lost").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    broker.restart().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    // Waits for the reconnect by itself.
    assert_eq!(post(&bridge.http, 60, "after").await.status, 200);
    let seen: Vec<_> = observer
        .wait_count(1)
        .await
        .iter()
        .map(|m| m.text().to_owned())
        .collect();
    assert_eq!(seen, ["after"]);
}

#[tokio::test]
async fn an_uplink_that_waits_is_delivered_by_the_next_connection() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    let bridge = TestBridge::start(&plain(proxy.addr(), "")).await;
    assert_eq!(post(&bridge.http, 5, "1").await.status, 200);
    // Held back: sent, not confirmed. Then the connection dies, and the message is sent again on the next.
    proxy.stall(Stall::Swallow);
    let http = bridge.http.clone();
    let waiting = tokio::spawn(async move { post(&http, 60, "2").await });
    eventually("the uplink to be sent", DEADLINE, async || {
        bridge.session("pump-1").await["in_flight"] == 1
    })
    .await;
    proxy.cut(Cut::Reset);
    proxy.resume();
    assert_eq!(waiting.await.unwrap().status, 200);
    let seen: Vec<_> = observer
        .wait_count(2)
        .await
        .iter()
        .map(|m| m.text().to_owned())
        .collect();
    assert_eq!(seen, ["1", "2"]);
}

#[tokio::test]
async fn a_silent_link_is_noticed_and_left() {
    let broker = Mosquitto::start().await;
    let proxy = Proxy::start(broker.addr());
    let bridge = TestBridge::without_store(&plain(proxy.addr(), "")).await;
    assert_eq!(post(&bridge.http, 5, "1").await.status, 200);
    proxy.stall(Stall::Swallow);
    let reply = post(&bridge.http, 1, "2").await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(
        reply.text().contains("may have arrived"),
        "{}",
        reply.text()
    );
    // No FIN ever comes; the session asks the broker and gives up. The link behind it is whole again by then.
    bridge.until("pump-1", "backing_off").await;
    assert!(
        bridge.session("pump-1").await["last_error"]["what"]
            .as_str()
            .unwrap()
            .contains("silent")
    );
    proxy.resume();
    assert_eq!(post(&bridge.http, 60, "3").await.status, 200);
}

#[tokio::test]
async fn the_broker_killed_and_restarted_under_load_took_every_confirmed_uplink() {
    let mut broker = Mosquitto::builder().config("log_type all").start().await;
    let bridge = TestBridge::start(&plain(broker.addr(), "")).await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (http, done) = (bridge.http.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut confirmed = Vec::new();
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    // The topic names the message, and the broker's log names the topic.
                    let id = format!("c{client}-{number}");
                    let path = format!("/v1/devices/pump-1/uplinks/{id}");
                    let request = http
                        .request(Method::POST, &path)
                        .header("prefer", "wait=2")
                        .body("x");
                    if Reply::to(request).await.status == 200 {
                        confirmed.push(id);
                    }
                }
                confirmed
            })
        })
        .collect();
    let mut log = Vec::new();
    for _ in 0..4 {
        let taken = broker.log().all().len();
        broker
            .log()
            .wait_until("traffic", |lines| lines.len() > taken + 500)
            .await;
        broker.kill9();
        log.extend(broker.log().wait_end().await);
        broker.restart().await;
    }
    bridge.until("pump-1", "connected").await;
    done.store(true, Ordering::Relaxed);
    let mut confirmed = Vec::new();
    for client in clients {
        confirmed.extend(client.await.unwrap());
    }
    log.extend(broker.log().all());
    let taken: HashSet<_> = log
        .iter()
        .filter(|line| line.contains("Received PUBLISH"))
        .filter_map(|line| line.split("devices/pump-1/up/").nth(1)?.split('\'').next())
        .collect();
    assert!(
        confirmed.len() > 100,
        "only {} were confirmed",
        confirmed.len()
    );
    let missing: Vec<_> = confirmed
        .iter()
        .filter(|id| !taken.contains(id.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "{} of {} confirmed never reached the broker: {missing:?}",
        missing.len(),
        confirmed.len()
    );
}

#[tokio::test]
async fn another_client_with_the_same_id_is_recognised() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&plain(broker.addr(), "connect = \"eager\"")).await;
    bridge.until("pump-1", "connected").await;
    let other = TestBridge::start(&plain(broker.addr(), "connect = \"eager\"")).await;
    bridge.until("pump-1", "taken_over").await;
    other.until("pump-1", "connected").await;
    let session = bridge.session("pump-1").await;
    assert!(
        session["last_error"]["hint"]
            .as_str()
            .unwrap()
            .contains("same MQTT client id"),
        "{session}"
    );
}

#[tokio::test]
async fn the_shutdown_answers_what_is_under_way_and_ends_streams() {
    let broker = Mosquitto::start().await;
    let proxy = Proxy::start(broker.addr());
    let bridge = TestBridge::start(&plain(proxy.addr(), "")).await;
    let listener = bridge
        .http
        .events("/v1/devices/pump-1/downlinks", None)
        .await;
    assert_eq!(post(&bridge.http, 5, "1").await.status, 200);
    proxy.delay(Duration::from_millis(300));
    let http = bridge.http.clone();
    let sent = proxy.traffic().to_broker;
    let waiting = tokio::spawn(async move { post(&http, 5, "2").await });
    eventually("the uplink to be under way", DEADLINE, async || {
        proxy.traffic().to_broker > sent
    })
    .await;
    bridge.stop().await;
    assert_eq!(waiting.await.unwrap().status, 200);
    listener.wait_end().await;
}
