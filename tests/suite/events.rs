//! What dashboards and listeners are told of sessions and receipts, with a real broker that comes and goes.

use serde_json::Value;

use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::sse::{Event, EventStream};

async fn start() -> (Mosquitto, TestBridge) {
    let broker = Mosquitto::start().await;
    let config = format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n",
        broker.addr()
    );
    let bridge = TestBridge::start(&config).await;
    bridge.until("pump-1", "connected").await;
    (broker, bridge)
}

/// Waits for an event of this name whose data have all these texts, behind the first `after` events.
async fn wait_for(stream: &EventStream, name: &str, wanted: &[(&str, &str)]) -> Value {
    let found = |event: &&Event| {
        let data = || event.json();
        event.event == name && wanted.iter().all(|(key, text)| data()[*key] == *text)
    };
    let what = format!("an event {name} with {wanted:?}");
    let enough = |events: &[Event]| events.iter().any(|event| found(&event));
    let events = stream.events().wait_until(&what, enough).await;
    events.iter().find(found).unwrap().json()
}

async fn post(bridge: &TestBridge, prefer: &str) -> Reply {
    let request = bridge
        .http
        .request(reqwest::Method::POST, "/v1/devices/pump-1/uplinks");
    Reply::to(request.header("prefer", prefer).body("21")).await
}

#[tokio::test]
async fn a_dashboard_sees_an_outage_and_what_became_of_its_uplinks() {
    let (mut broker, bridge) = start().await;
    let dashboard = bridge.http.events("/v1/events?figures=1", None).await;
    for device in ["pump-1", "pump-2"] {
        let told = [("device", device), ("state", "connected")];
        assert_eq!(
            wait_for(&dashboard, "session", &told).await["connector"],
            "local"
        );
    }
    let delivered = post(&bridge, "").await.json();
    let id = delivered["id"].as_str().unwrap();
    let told = wait_for(&dashboard, "receipt", &[("id", id)]).await;
    assert_eq!(told, delivered, "it is told what the request was answered");

    broker.stop().await;
    let lost = wait_for(
        &dashboard,
        "session",
        &[("device", "pump-2"), ("state", "backing_off")],
    )
    .await;
    assert!(
        !lost["last_error"]["hint"].as_str().unwrap().is_empty(),
        "{lost}"
    );
    let queued = post(&bridge, "respond-async").await;
    assert_eq!(queued.status, 202);
    let id = queued.json()["id"].as_str().unwrap().to_owned();
    wait_for(&dashboard, "receipt", &[("id", &id), ("status", "queued")]).await;
    // Of the device it is told with its session or with the figures, whichever comes first.
    let backlog = |events: &[Event]| {
        let data = || events.iter().map(Event::json);
        let of_device = |data: Value| match data["device"] == "pump-1" {
            true => data["backlog"] == 1,
            false => data["changed"]["pump-1"]["backlog"] == 1,
        };
        let sum = |data: Value| data["devices"] == 2 && data["backlog"] == 1;
        data().any(of_device) && data().any(sum)
    };
    dashboard.events().wait_until("the backlog", backlog).await;

    broker.restart().await;
    wait_for(
        &dashboard,
        "receipt",
        &[("id", &id), ("status", "delivered")],
    )
    .await;
    let order: Vec<_> = dashboard.events().all().iter().map(Event::json).collect();
    let place = |status: &str| {
        order
            .iter()
            .position(|data| data["id"] == id && data["status"] == status)
    };
    assert!(place("queued") < place("delivered"), "{order:?}");
    // Nothing has an id, so a browser that connects again asks for nothing that there is not.
    assert!(
        dashboard
            .events()
            .all()
            .iter()
            .all(|event| event.id.is_none())
    );
}

#[tokio::test]
async fn a_listener_is_told_of_its_session_and_goes_on_behind_the_right_downlink() {
    let (mut broker, bridge) = start().await;
    let path = "/v1/devices/pump-1/downlinks";
    let listener = bridge.http.events(path, None).await;
    send(&broker, "1").await;
    let first = listener.wait_count(1).await.remove(0);
    assert_eq!(
        first.event, "downlink",
        "a session that is connected is nothing to tell"
    );
    broker.stop().await;
    let told = wait_for(&listener, "session", &[("state", "backing_off")]).await;
    assert_eq!(told["device"], "pump-1");
    assert!(told.get("backlog").is_none());
    broker.restart().await;
    let connected = |events: &[Event]| {
        let last = events.iter().rfind(|event| event.event == "session");
        last.is_some_and(|event| event.json()["state"] == "connected")
    };
    let events = listener
        .events()
        .wait_until("the new connection", connected)
        .await;
    assert!(
        events[1..]
            .iter()
            .all(|event| event.event == "session" && event.id.is_none())
    );

    // An event without an id does not change what a browser sends when it connects again: that is still the downlink's.
    let last = events.iter().rev().find_map(|event| event.id.as_deref());
    assert_eq!(last, first.id.as_deref());
    // One more listener is answered when the subscriptions are in place again.
    drop(bridge.http.events(path, None).await);
    send(&broker, "2").await;
    let again = bridge.http.events(path, last).await;
    let replayed = again.wait_count(1).await.remove(0);
    assert_eq!(
        (replayed.event.as_str(), &replayed.json()["payload"]),
        ("downlink", &2.into())
    );
}

#[tokio::test]
async fn a_listener_whose_session_cannot_connect_is_told_why_at_once() {
    let (mut broker, bridge) = start().await;
    broker.stop().await;
    bridge.until("pump-1", "backing_off").await;
    let listener = bridge
        .http
        .events("/v1/downlinks?device=pump-1&device=pump-2", None)
        .await;
    for device in ["pump-1", "pump-2"] {
        let told = wait_for(&listener, "session", &[("device", device)]).await;
        assert_ne!(told["state"], "connected");
        assert!(told["last_error"]["what"].is_string(), "{told}");
    }
}

async fn send(broker: &Mosquitto, payload: &str) {
    let message = Message::new("devices/pump-1/down/t", payload);
    broker.access().publish(&message).await.accepted();
}
