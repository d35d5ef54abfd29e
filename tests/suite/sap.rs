//! The profile `sap-iot` against a real Mosquitto, whose answers the test gives itself: both ways to post, router devices,
//! and a platform that answers late or never.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::{TestBridge, pump};
use crate::harness::eventually::eventually;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;

const WHOLE: &str = r#"{"capabilityAlternateId": "climate", "sensorAlternateId": "s1", "measures": [{"temperature": 21.50}]}"#;

/// A router device and one behind it. Mosquitto stands without TLS here: it is not what is shown.
fn config(broker: &Mosquitto) -> String {
    config_at(broker.addr())
}

fn config_at(broker: SocketAddr) -> String {
    format!(
        "[connectors.sap]\nprofile = \"sap-iot\"\nurl = \"mqtt://{broker}\"\n\
         override.connect.tls_identity = \"optional\"\n\
         [devices.router]\nconnector = \"sap\"\n\
         [devices.behind]\nconnector = \"sap\"\nvia = \"router\"\n"
    )
}

/// Posts and waits so many seconds at the most.
async fn post(bridge: &TestBridge, path: &str, body: &str, wait: u32, key: Option<&str>) -> Reply {
    let path = format!("/v1/devices/{path}");
    let request = bridge
        .http
        .request(Method::POST, &path)
        .header("content-type", "application/json")
        .header("prefer", format!("wait={wait}"))
        .body(body.to_owned());
    Reply::to(match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    })
    .await
}

/// What the platform says to the measure in `message`.
async fn answer(broker: &Mosquitto, message: &Message, code: u16, messages: &[&str]) {
    let measure: Value = serde_json::from_str(message.text()).unwrap();
    let ack = json!([{"id": measure["measureMessageId"], "code": code, "messages": messages}]);
    let topic = message.topic.replace("measures/", "ack/");
    let ack = Message::new(&topic, ack.to_string());
    broker.access().publish(&ack).await.accepted();
}

/// Waits for both answers: the platform's may be known before the broker's has been written down.
async fn until_receipt_says(bridge: &TestBridge, path: &str, verdict: &str) -> Value {
    eventually(
        "the broker's and the platform's answer on the receipt",
        DEADLINE,
        async || {
            let receipt = bridge.http.get(path).await.json();
            receipt["platform"]["status"] == verdict && receipt["status"] != "queued"
        },
    )
    .await;
    bridge.http.get(path).await.json()
}

#[tokio::test]
async fn both_ways_to_post_become_the_same_measure() {
    let broker = Mosquitto::start().await;
    let gateway = Subscriber::start(&broker.access(), &["measures/#"]).await;
    let bridge = TestBridge::start(&config(&broker)).await;
    let short = "router/uplinks?capability=climate&sensor=s1";
    for (path, body) in [
        ("router/uplinks", WHOLE),
        (short, r#"{"temperature": 21.50}"#),
        (short, r#"[{"temperature": 21.50}]"#),
    ] {
        let reply = post(&bridge, path, body, 30, None).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["status"], "delivered");
        assert_eq!(reply.json()["platform"]["status"], "unknown");
    }
    let mut ids = Vec::new();
    for message in gateway.wait_count(3).await {
        let text = message.text();
        // Not even a number's last zero is lost.
        assert!(text.contains(r#"{"temperature": 21.50}"#), "{text}");
        let mut measure: Value = serde_json::from_str(text).unwrap();
        let id = measure.as_object_mut().unwrap().remove("measureMessageId");
        ids.push(id.unwrap().as_str().unwrap().to_owned());
        let expected: Value = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(
            (message.topic.as_str(), measure),
            ("measures/router", expected)
        );
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");

    for (path, body, says) in [
        ("router/uplinks?colour=red", WHOLE, "colour"),
        ("router/uplinks?capability=climate", "{}", "sensor"),
        (
            "router/uplinks",
            r#"{"temperature": 1}"#,
            "capabilityAlternateId",
        ),
        (
            "router/uplinks?confirm=everybody",
            WHOLE,
            "broker or platform",
        ),
        ("router/uplinks/alerts", WHOLE, "sub-topic"),
    ] {
        let reply = post(&bridge, path, body, 30, None).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        assert!(reply.text().contains(says), "{path}: {}", reply.text());
    }
    let unknown = post(&bridge, "router/uplinks?colour=red", WHOLE, 30, None).await;
    let hint = unknown.json()["hint"].as_str().unwrap().to_owned();
    assert!(
        hint.contains("confirm") && hint.contains("sensor_type"),
        "{hint}"
    );
    assert_eq!(gateway.messages().len(), 3);
}

#[tokio::test]
async fn a_device_behind_a_router_uses_its_connection() {
    let broker = Mosquitto::start().await;
    let gateway = Subscriber::start(&broker.access(), &["measures/#"]).await;
    let bridge = TestBridge::start(&config(&broker)).await;
    let listener = bridge
        .http
        .events("/v1/devices/behind/downlinks", None)
        .await;

    let posting = post(&bridge, "behind/uplinks?confirm=platform", WHOLE, 60, None);
    let answering = async {
        let seen = gateway.wait_count(1).await;
        assert_eq!(seen[0].topic, "measures/behind");
        answer(&broker, &seen[0], 202, &[]).await;
    };
    let (reply, ()) = tokio::join!(posting, answering);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let receipt = reply.json();
    assert_eq!(receipt["device"], "behind");
    assert_eq!(
        receipt["platform"],
        json!({"status": "accepted", "code": 202})
    );

    let command = json!({"capabilityAlternateId": "valve", "command": {"open": true}});
    for payload in [command.to_string(), "not JSON".to_owned()] {
        let message = Message::new("commands/behind", payload);
        broker.access().publish(&message).await.accepted();
    }
    let events = listener.events().wait_until("both commands", |events| {
        events
            .iter()
            .filter(|event| event.event == "downlink")
            .count()
            == 2
    });
    let events = events.await;
    let payloads: Vec<_> = events
        .iter()
        .filter(|event| event.event == "downlink")
        .map(|event| event.json())
        .inspect(|downlink| assert_eq!(downlink["device"], "behind"))
        .map(|downlink| downlink["payload"].clone())
        .collect();
    assert_eq!(payloads, [command, json!("not JSON")]);
    // One connection, and the ack was no downlink.
    let clients = broker.log().all();
    let opened = clients
        .iter()
        .filter(|line| line.contains(" as router ") || line.contains(" as behind "));
    assert_eq!(opened.count(), 1, "{clients:?}");
}

#[tokio::test]
async fn a_platform_that_refuses_says_why() {
    let broker = Mosquitto::start().await;
    let gateway = Subscriber::start(&broker.access(), &["measures/#"]).await;
    let bridge = TestBridge::start(&config(&broker)).await;
    let posting = post(&bridge, "router/uplinks?confirm=platform", WHOLE, 60, None);
    let answering = async {
        let seen = gateway.wait_count(1).await;
        // What belongs to nobody changes nothing.
        for stray in [
            "[",
            "[{\"id\": \"other\", \"code\": 200}]",
            "{\"code\": 200}",
        ] {
            let stray = Message::new("ack/router", stray);
            broker.access().publish(&stray).await.accepted();
        }
        answer(&broker, &seen[0], 400, &["no such capability"]).await;
    };
    let (reply, ()) = tokio::join!(posting, answering);
    assert_eq!(reply.status, 422, "{}", reply.text());
    let problem = reply.json();
    let expected = json!({"status": "refused", "code": 400, "messages": ["no such capability"]});
    assert_eq!(problem["platform"], expected);
    assert_eq!(problem["type"], "/docs#problem-platform-refused");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("no such capability")
    );
    // The receipt shows both: the broker has confirmed it, and the platform has refused it.
    let receipt = bridge.http.get(reply.header("location")).await.json();
    assert_eq!(receipt["status"], "delivered");
    assert_eq!(receipt["platform"], expected);
}

#[tokio::test]
async fn a_platform_that_never_answers_is_no_failure_and_nothing_is_sent_twice() {
    let broker = Mosquitto::start().await;
    let gateway = Subscriber::start(&broker.access(), &["measures/#"]).await;
    let bridge = TestBridge::start(&config(&broker)).await;
    let path = "router/uplinks?confirm=platform";
    let reply = post(&bridge, path, WHOLE, 1, None).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let receipt = reply.json();
    assert_eq!(receipt["status"], "delivered");
    assert_eq!(receipt["attempts"], 1);
    assert_eq!(receipt["platform"], json!({"status": "unknown"}));
    let location = reply.header("location").to_owned();
    assert_eq!(bridge.http.get(&location).await.json(), receipt);

    // What comes later goes on the receipt.
    let seen = gateway.wait_count(1).await;
    answer(&broker, &seen[0], 200, &[]).await;
    let receipt = until_receipt_says(&bridge, &location, "accepted").await;
    assert_eq!(receipt["platform"]["code"], 200);

    // A second uplink comes behind whatever might have been sent again.
    post(&bridge, "router/uplinks", WHOLE, 30, None).await;
    let seen = gateway.wait_count(2).await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_ne!(seen[0].payload, seen[1].payload);
}

#[tokio::test]
async fn a_stored_uplink_is_answered_on_its_receipt() {
    let broker = Mosquitto::start().await;
    let gateway = Subscriber::start(&broker.access(), &["measures/#"]).await;
    let network = Proxy::start(broker.addr());
    let bridge = TestBridge::start(&config_at(network.addr())).await;
    network.refuse().await;
    let path = "router/uplinks?confirm=platform";
    let reply = post(&bridge, path, WHOLE, 1, None).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.json()["status"], "queued");
    let location = reply.header("location").to_owned();
    network.admit();
    answer(&broker, &gateway.wait_count(1).await[0], 202, &[]).await;
    until_receipt_says(&bridge, &location, "accepted").await;
    // The platform may have answered before the broker's confirmation is written.
    eventually("the receipt to say delivered", DEADLINE, async || {
        bridge.http.get(&location).await.json()["status"] == "delivered"
    })
    .await;

    let keyed = post(&bridge, path, WHOLE, 60, Some("k"));
    let answering = async {
        answer(&broker, &gateway.wait_count(2).await[1], 202, &[]).await;
    };
    let (reply, ()) = tokio::join!(keyed, answering);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["platform"]["code"], 202);

    // The same request again is answered from what has been recorded, and publishes nothing.
    let again = post(&bridge, path, WHOLE, 60, Some("k")).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(again.json()["platform"]["code"], 202);
    assert_eq!(gateway.messages().len(), 2);
}

#[tokio::test]
async fn a_connector_without_answers_says_so() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&pump(broker.addr())).await;
    let reply = post(&bridge, "pump-1/uplinks?confirm=platform", "{}", 30, None).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(
        reply.text().contains("no answers of the platform"),
        "{}",
        reply.text()
    );
    let reply = post(&bridge, "pump-1/uplinks?confirm=broker", "{}", 30, None).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.json().get("platform").is_none());
}
