//! Devices that share a connection: they come and go on it while it stays.

use super::*;
use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::eventually::eventually;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::subscriber::Subscriber;

#[tokio::test]
async fn a_shared_connection_gains_and_loses_devices_and_stays() {
    let broker = Mosquitto::builder().config("log_type all").start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    delivered(&bridge.http, "fixed", "1").await;
    created(&bridge.http, "pump", "local").await;
    let listener = bridge.http.events("/v1/devices/pump/downlinks", None).await;
    let both = "/v1/downlinks?device=pump&device=fixed";
    let both = bridge.http.events(both, None).await;
    // The answer says "listening", so the broker has granted the new subscription.
    let send = async |device: &str, payload: &str| {
        let message = Message::new(&format!("devices/{device}/down/set"), payload);
        broker.access().publish(&message).await.accepted();
    };
    send("pump", "on").await;
    let seen = listener.wait_count(1).await;
    assert_eq!(seen[0].json()["payload"], "on");
    delivered(&bridge.http, "pump", "2").await;

    assert_eq!(delete(&bridge.http, "pump", "").await.status, 204);
    let seen = listener.wait_end().await;
    let last = seen.last().unwrap();
    assert_eq!(
        (last.event.as_str(), last.json()),
        ("deleted", json!({"device": "pump"}))
    );
    broker.log().wait_for("Received UNSUBSCRIBE").await;
    // The others on the stream go on.
    send("pump", "nobody").await;
    send("fixed", "still").await;
    let seen = both.events().wait_until("the other device", |events| {
        events
            .iter()
            .any(|event| event.event == "downlink" && event.json()["device"] == "fixed")
    });
    let kinds: Vec<_> = seen.await.into_iter().map(|event| event.event).collect();
    assert_eq!(kinds, ["downlink", "deleted", "downlink"]);
    delivered(&bridge.http, "fixed", "3").await;
    assert_eq!(connects(&bridge, "fixed").await, 1);
    let log = broker.log().all();
    let connected = log.iter().filter(|line| line.contains("as causeway-local"));
    assert_eq!(connected.count(), 1);
}

#[tokio::test]
async fn what_a_deleted_device_had_received_is_gone_and_one_of_the_same_id_begins_anew() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    created(&bridge.http, "pump", "local").await;
    let listener = bridge.http.events("/v1/devices/pump/downlinks", None).await;
    let message = Message::new("devices/pump/down/set", "secret plans");
    broker.access().publish(&message).await.accepted();
    listener.wait_count(1).await;
    assert_eq!(delete(&bridge.http, "pump", "").await.status, 204);
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config(broker.addr())).await;
    created(&bridge.http, "pump", "local").await;
    let poll = bridge.http.request(
        Method::GET,
        "/v1/devices/pump/downlinks?after=earliest&wait=0",
    );
    let page = Reply::to(poll.header("accept", "application/json")).await;
    assert_eq!(page.json()["events"], json!([]));
}

#[tokio::test]
async fn a_long_poll_of_a_deleted_device_says_so() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    created(&bridge.http, "pump", "local").await;
    // So that nothing is left to wait for before the poll begins.
    delivered(&bridge.http, "pump", "1").await;
    let poll = (bridge.http).request(Method::GET, "/v1/devices/pump/downlinks?wait=60");
    let polling = Reply::to(poll.header("accept", "application/json"));
    let deleting = async {
        // Not before somebody listens.
        eventually("a listener", DEADLINE, async || {
            let figures = bridge.management.get("/metrics").await;
            figures
                .text()
                .lines()
                .any(|line| line.starts_with("causeway_listeners{") && line.ends_with(" 1"))
        })
        .await;
        delete(&bridge.http, "pump", "").await
    };
    let (page, deleted) = tokio::join!(polling, deleting);
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let events = page.json()["events"].clone();
    assert_eq!(
        events,
        json!([{"event": "deleted", "data": {"device": "pump"}}])
    );
}

#[tokio::test]
async fn devices_behind_a_router_come_and_go_on_its_connection() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["measures/#"]).await;
    let text = format!(
        "[connectors.sap]\nprofile = \"sap-iot\"\nurl = \"mqtt://{}\"\n\
         override.connect.tls_identity = \"optional\"\n[devices.router]\nconnector = \"sap\"\n",
        broker.addr()
    );
    let bridge = TestBridge::start(&text).await;
    let body =
        r#"{"capabilityAlternateId": "c", "sensorAlternateId": "s", "measures": [{"t": 1}]}"#;
    delivered(&bridge.http, "router", body).await;
    let behind = json!({"connector": "sap", "via": "router"});
    assert_eq!(put(&bridge.http, "behind", &behind).await.status, 201);
    delivered(&bridge.http, "behind", body).await;
    let seen = observer.wait_count(2).await;
    assert_eq!(seen[1].topic, "measures/behind");
    assert_eq!(connects(&bridge, "router").await, 1);
    // A router of one's own cannot go, or become none, while others are behind it.
    assert_eq!(
        put(&bridge.http, "second", &json!({"connector": "sap"}))
            .await
            .status,
        201
    );
    let behind = json!({"connector": "sap", "via": "second"});
    assert_eq!(put(&bridge.http, "behind", &behind).await.status, 200);
    delivered(&bridge.http, "behind", body).await;
    let detail = problem(
        &delete(&bridge.http, "second", "").await,
        409,
        "carries-others",
    );
    assert!(
        detail.ends_with("carries other devices: behind"),
        "{detail}"
    );
    let other = json!({"connector": "sap", "via": "router"});
    problem(
        &put(&bridge.http, "second", &other).await,
        409,
        "carries-others",
    );
    assert_eq!(delete(&bridge.http, "behind", "").await.status, 204);
    assert_eq!(delete(&bridge.http, "second", "").await.status, 204);
    assert_eq!(connects(&bridge, "router").await, 1);
}
