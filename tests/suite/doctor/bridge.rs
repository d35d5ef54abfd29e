//! Where a bridge runs: it is asked, its session is not disturbed, and the two never meet at the broker.

use std::fs;

use causeway::doctor::Diagnosis;
use causeway::mqtt::reason::Reason;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{akenza, plain};
use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::eventually::eventually;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::pretended::Pretended;
use crate::harness::subscriber::Subscriber;

const DIAGNOSIS: &str = "/v1/devices/pump-1/diagnosis";

async fn diagnose(bridge: &TestBridge, body: &str) -> Value {
    let reply = bridge
        .http
        .post(DIAGNOSIS, "application/json", body.to_owned())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let _: Diagnosis = serde_json::from_slice(&reply.body).expect("the documented form");
    reply.json()
}

fn step<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let steps = diagnosis["steps"].as_array().unwrap();
    let found = steps.iter().find(|step| step["step"] == name);
    found.unwrap_or_else(|| panic!("no step {name}: {diagnosis:#}"))
}

#[track_caller]
fn is(diagnosis: &Value, name: &str, verdict: &str, cause: &str, words: &str) {
    let step = step(diagnosis, name);
    assert_eq!(step["verdict"], verdict, "{diagnosis:#}");
    assert_eq!(
        step["cause"].as_str().unwrap_or_default(),
        cause,
        "{diagnosis:#}"
    );
    let said = step.to_string();
    assert!(said.contains(words), "{words:?} is not in: {said}");
}

#[tokio::test]
async fn a_connected_session_keeps_its_connection() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    // Nobody has needed it yet: the examination does.
    assert_eq!(bridge.session("pump-1").await["state"], "idle");
    let diagnosis = diagnose(&bridge, "").await;
    assert_eq!(diagnosis["verdict"], "ok", "{diagnosis:#}");
    assert_eq!(
        (&diagnosis["by"], &diagnosis["device"]),
        (&json!("bridge"), &json!("pump-1"))
    );
    is(
        &diagnosis,
        "connect",
        "ok",
        "",
        "the bridge has been connected as causeway-local with MQTT 5",
    );
    is(&diagnosis, "subscribe", "ok", "", "grants the subscription");
    is(&diagnosis, "publish", "skipped", "not-asked", "--publish");
    for body in [
        "{}",
        r#"{"publish":{}}"#,
        r#"{"publish":{"payload":[7],"subtopic":"a"}}"#,
    ] {
        let diagnosis = diagnose(&bridge, body).await;
        assert_eq!(diagnosis["verdict"], "ok", "{diagnosis:#}");
    }
    let seen = observer.wait_count(2).await;
    assert_eq!(
        (seen[0].text(), seen[1].text()),
        (r#"{"causeway":"doctor"}"#, "[7]")
    );
    let session = bridge.session("pump-1").await;
    assert_eq!(session["counters"]["connects"], 1, "{session:#}");
}

#[tokio::test]
async fn a_published_message_has_a_receipt_and_a_refusal_its_reason() {
    let broker = Mosquitto::builder()
        .acl("topic read #\ntopic write devices/pump-1/up\n")
        .start()
        .await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    let diagnosis = diagnose(&bridge, r#"{"publish":{"payload":1}}"#).await;
    is(
        &diagnosis,
        "publish",
        "ok",
        "",
        "the broker took the message",
    );
    let receipt = step(&diagnosis, "publish")["facts"]["receipt"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        bridge.http.get(&receipt).await.json()["status"],
        "delivered"
    );
    let diagnosis = diagnose(&bridge, r#"{"publish":{"subtopic":"x"}}"#).await;
    is(
        &diagnosis,
        "publish",
        "failed",
        "publish-refused",
        "not authorized (0x87)",
    );
}

#[tokio::test]
async fn a_refused_session_is_made_to_try_and_says_what_the_broker_said() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    broker.faults.refuse_connects(Some(Reason::BANNED));
    let bridge = TestBridge::start_in(folder, &akenza(&broker, "pump-1", "")).await;
    let diagnosis = diagnose(&bridge, "").await;
    is(&diagnosis, "connect", "failed", "banned", "banned (0x8A)");
    is(
        &diagnosis,
        "subscribe",
        "skipped",
        "unreachable",
        "not reached",
    );
    is(&diagnosis, "token", "ok", "", "kid");
    // Its next attempt by itself is seconds away, and a minute in the end.
    broker.faults.refuse_connects(None);
    eventually("a diagnosis that finds nothing", DEADLINE, async || {
        diagnose(&bridge, "").await["verdict"] == "ok"
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_is_refused_is_known() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let other = "override.downlink = [{ filter = \"/down/device/id/other-{device}/#\", prefix = \"/down/device/id/other-{device}/\" }]";
    let bridge = TestBridge::start_in(folder, &akenza(&broker, "pump-1", other)).await;
    let diagnosis = diagnose(&bridge, "").await;
    is(&diagnosis, "connect", "ok", "", "has been connected");
    is(
        &diagnosis,
        "subscribe",
        "failed",
        "subscription-refused",
        "not authorized (0x87)",
    );
}

#[tokio::test]
async fn a_session_that_was_taken_over_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let bridge = TestBridge::start_in(folder, &akenza(&broker, "pump-1", "")).await;
    diagnose(&bridge, "").await;
    let ending = causeway::demo::broker::Ending::Say(Reason::SESSION_TAKEN_OVER);
    assert_eq!(broker.broker().end_connections(Some("pump-1"), ending), 1);
    bridge.until("pump-1", "taken_over").await;
    let connects = broker.faults.connects_of("pump-1");
    let diagnosis = diagnose(&bridge, "").await;
    is(
        &diagnosis,
        "connect",
        "skipped",
        "taken-over",
        "leaves the connection",
    );
    is(
        &diagnosis,
        "takeover",
        "failed",
        "taken-over",
        "stop the other program",
    );
    assert_eq!(broker.faults.connects_of("pump-1"), connects);
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_at_the_step_where_it_ends() {
    let port = Port::reserve();
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", port.addr()), "")).await;
    let diagnosis = diagnose(&bridge, "").await;
    assert_eq!(diagnosis["verdict"], "failed");
    is(
        &diagnosis,
        "tcp",
        "failed",
        "port-closed",
        "refuses connections",
    );
    is(
        &diagnosis,
        "connect",
        "failed",
        "hung-up",
        "does not take connections",
    );
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    for (path, body, status) in [
        ("/v1/devices/nobody/diagnosis", "", 404),
        ("/v1/devices/pump-1/diagnosis", "publish", 400),
        ("/v1/devices/pump-1/diagnosis", "[]", 400),
        ("/v1/devices/pump-1/diagnosis", r#"{"publish":1}"#, 400),
        ("/v1/devices/pump-1/diagnosis", r#"{"Publish":{}}"#, 400),
        ("/v1/devices/pump-1/diagnosis?x=1", "", 400),
        ("/v1/devices/a%2Fb/diagnosis", "", 400),
    ] {
        let reply = bridge.http.post(path, "application/json", body).await;
        assert_eq!(reply.status, status, "{path} {body}: {}", reply.text());
    }
    assert_eq!(bridge.http.get(DIAGNOSIS).await.status, 405);
    let request = bridge.http.request(reqwest::Method::POST, DIAGNOSIS);
    let huge = Reply::to(request.body(vec![b' '; 2 * 1024 * 1024])).await;
    assert_eq!(huge.status, 413);
}

#[tokio::test]
async fn one_device_is_examined_once_at_a_time() {
    // A server that never answers keeps an examination busy.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtts://localhost:{}", silent.local_addr().unwrap().port());
    let bridge = TestBridge::start(&plain(&url, "")).await;
    let http = bridge.http.clone();
    let first = tokio::spawn(async move { http.post(DIAGNOSIS, "application/json", "").await });
    silent.accept().await.unwrap();
    let second = bridge.http.post(DIAGNOSIS, "application/json", "").await;
    assert_eq!(second.status, 429, "{}", second.text());
    assert_eq!(second.json()["type"], "/docs#problem-diagnosis-under-way");
    assert_eq!(second.header("retry-after"), "5");
    // A shutdown does not wait for it.
    bridge.stop().await;
    let first = first.await.unwrap();
    assert_eq!(first.status, 503, "{}", first.text());
}

#[tokio::test]
async fn an_answer_tells_no_secret() {
    let broker = Mosquitto::builder().user("conn-1", "hunter2").start().await;
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("secret"), "hunter2").unwrap();
    let text = format!(
        "[connectors.akenza]\nprofile = \"akenza-secret\"\nurl = \"mqtt://{}\"\nsecret_file = \"secret\"\n\
         variables = {{ connector_id = \"conn-1\" }}\n[devices.pump-1]\nconnector = \"akenza\"\n",
        broker.addr()
    );
    let bridge = TestBridge::start_in(folder, &text).await;
    let diagnosis = diagnose(&bridge, r#"{"publish":{"payload":{}}}"#).await;
    assert_eq!(diagnosis["verdict"], "ok", "{diagnosis:#}");
    assert!(!diagnosis.to_string().contains("hunter2"));
    // This platform has it in its topics.
    let facts = &step(&diagnosis, "publish")["facts"];
    assert_eq!(facts["topic"], "/up/…/id/pump-1", "{diagnosis:#}");
}
