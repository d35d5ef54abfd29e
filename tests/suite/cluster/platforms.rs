//! What platforms have of their own, on three replicas: keys that are made here, routers with certificates, answers to
//! uplinks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::requests::{assert_problem, delete, delivered, get};
use super::settings::{RECOVERY, lease};
use super::stage::Stage;
use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::certificates::Authority;
use crate::harness::demo::Demo;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::clients::Clients;
use crate::harness::mosquitto::{CertificateUse, Mosquitto};
use crate::harness::nats::NatsServer;
use crate::harness::subscriber::Subscriber;

/// So many sessions that every replica has some of them, nearly always.
const SESSIONS: usize = 5;

/// Devices without a key, on a platform that checks tokens.
async fn without_keys(demo: Demo) -> Stage<Demo> {
    let url = demo.addr("mqtt");
    let mut connectors =
        format!("[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{url}\"\n");
    for number in 0..SESSIONS {
        writeln!(
            connectors,
            "[devices.pump-{number}]\nconnector = \"akenza\""
        )
        .unwrap();
    }
    let nats = vec![NatsServer::start().await];
    Stage::of(demo, nats, lease(), &connectors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_activated_and_deleted_at_any_door_and_signs_wherever_the_session_is() {
    let folder = TempDir::new().unwrap();
    let mut stage = without_keys(Demo::start(folder.path()).await).await;
    let doors = stage.doors();
    let door = |number: usize| &doors[number % doors.len()];
    for number in 0..SESSIONS {
        let path = format!("/v1/devices/pump-{number}/keys");
        let key = make(door(number), &path).await;
        let of_key = format!("{path}/{}", key["kid"].as_str().unwrap());
        for door in &doors {
            assert_eq!(get(door, &of_key).await, key);
        }
        register(&stage.broker, number, &key).await;
        let active = activate(door(number + 1), &of_key).await;
        assert_eq!(active.status, 200, "{}", active.text());
        for door in &doors {
            delivered(door, &format!("pump-{number}"), "1").await;
            assert_eq!(states(door, &path).await, ["active"]);
            assert_problem(&delete(door, &of_key).await, 409, "key-in-use");
        }
        let spare = make(door(number + 2), &path).await;
        for door in &doors {
            assert_eq!(states(door, &path).await, ["active", "new"]);
        }
        let of_spare = format!("{path}/{}", spare["kid"].as_str().unwrap());
        assert_eq!(delete(door(number), &of_spare).await.status, 204);
        for door in &doors {
            assert_eq!(states(door, &path).await, ["active"]);
            assert_problem(&delete(door, &of_spare).await, 404, "unknown-key");
        }
    }
    // The keys are where the sessions go.
    stage.replicas[0].terminate().await;
    for number in 0..SESSIONS {
        delivered(&doors[1 + number % 2], &format!("pump-{number}"), "2").await;
        let taken = stage.broker.taken(&format!("pump-{number}"), 0).await;
        let taken: Vec<_> = taken.iter().map(|uplink| &uplink.payload).collect();
        assert_eq!(taken, [&json!(1), &json!(1), &json!(1), &json!(2)]);
    }
    assert_eq!(stage.broker.refused().await, [Value::Null; 0]);
}

async fn make(door: &Http, path: &str) -> Value {
    let body = r#"{"algorithm": "ES256"}"#;
    let reply = door.post(path, "application/json", body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()
}

/// Pastes the public half into the platform.
async fn register(demo: &Demo, number: usize, key: &Value) {
    let path = format!("/devices/pump-{number}/keys");
    let pem = key["public_key"].as_str().unwrap().to_owned();
    let reply = (demo.console).post(&path, "application/x-pem-file", pem);
    assert_eq!(reply.await.status, 201);
}

async fn activate(door: &Http, of_key: &str) -> Reply {
    let request = door.request(Method::POST, &format!("{of_key}/activate"));
    Reply::to(request.header("prefer", "wait=30")).await
}

async fn states(door: &Http, path: &str) -> Vec<String> {
    let list = get(door, path).await;
    let keys = list["keys"].as_array().unwrap().iter();
    keys.map(|key| key["state"].as_str().unwrap().to_owned())
        .collect()
}

/// Router devices that show certificates, each with one behind it.
async fn routers(authority: &Authority) -> Stage {
    let broker = Mosquitto::builder()
        .tls(authority)
        .client_certificates(CertificateUse::UserName)
        .config("log_type all")
        .start()
        .await;
    let mut connectors = format!(
        "[connectors.sap]\nprofile = \"sap-iot\"\nurl = \"mqtts://localhost:{}\"\nca_file = {:?}\n\
         connect = \"eager\"\n",
        broker.tls_addr().port(),
        authority.ca_file()
    );
    for number in 0..SESSIONS {
        let identity = authority.client(&format!("router-{number}"));
        let file = identity.certificate_file.with_extension("both.pem");
        let both = [&identity.certificate_file, &identity.key_file].map(fs::read);
        let both = both.map(Result::unwrap).concat();
        fs::write(&file, both).unwrap();
        writeln!(
            connectors,
            "[devices.router-{number}]\nconnector = \"sap\"\nidentity_file = {file:?}\n\
             [devices.behind-{number}]\nconnector = \"sap\"\nvia = \"router-{number}\""
        )
        .unwrap();
    }
    let nats = vec![NatsServer::start().await];
    Stage::of(broker, nats, lease(), &connectors).await
}

const MEASURE: &str = r#"{"capabilityAlternateId": "climate", "sensorAlternateId": "s1", "measures": [{"temperature": 21.50}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn devices_behind_routers_are_answered_for_and_heard_at_any_door() {
    let authority = Authority::new("Router CA");
    let stage = routers(&authority).await;
    let doors = stage.doors();
    let gateway = Subscriber::start(&stage.broker.access(), &["measures/#"]).await;
    let mut seen = 0;
    for number in 0..SESSIONS {
        let device = format!("behind-{number}");
        let path = format!("/v1/devices/{device}/downlinks");
        let mut listeners = Vec::new();
        for door in &doors {
            listeners.push(door.events(&path, None).await);
        }
        for door in &doors {
            let receipt = delivered(door, &device, MEASURE).await;
            assert_eq!(receipt["platform"]["status"], "unknown", "{receipt}");
            seen += 1;
            answer(&stage.broker, &gateway.wait_count(seen).await[seen - 1]).await;
            let path = format!("/v1/uplinks/{}", receipt["id"].as_str().unwrap());
            for door in &doors {
                eventually(
                    "the platform's answer on the receipt",
                    RECOVERY,
                    async || get(door, &path).await["platform"]["status"] == "accepted",
                )
                .await;
            }
            // The same, waited for.
            let confirmed = format!("{device}/uplinks?confirm=platform");
            let posting = confirmed_by_platform(door, &confirmed);
            seen += 1;
            let answering = async {
                answer(&stage.broker, &gateway.wait_count(seen).await[seen - 1]).await;
            };
            let (receipt, ()) = tokio::join!(posting, answering);
            assert_eq!(receipt["platform"]["code"], 202, "{receipt}");
        }
        let command = Message::new(&format!("commands/{device}"), "{\"open\":true}");
        stage.broker.access().publish(&command).await.accepted();
        for listener in &listeners {
            let events = listener.events().wait_until("the command", |events| {
                events.iter().any(|event| event.event == "downlink")
            });
            let events = events.await;
            let downlinks = events.iter().filter(|event| event.event == "downlink");
            let payloads: Vec<_> = downlinks.map(|event| event.json()).collect();
            assert_eq!(payloads.len(), 1, "{payloads:?}");
            assert_eq!(payloads[0]["device"], device);
            assert_eq!(payloads[0]["payload"], json!({"open": true}));
        }
    }
    // One connection for each router, in one replica: the one that was there before the others came has handed over.
    let (log, mut clients) = (stage.broker.log().all(), Clients::default());
    clients.read(log.iter().map(String::as_str)).unwrap();
    let routers = clients
        .connected
        .iter()
        .filter(|id| id.starts_with("router-"));
    assert_eq!(routers.count(), SESSIONS);
    assert_eq!(clients.takeovers, BTreeMap::new());
}

async fn confirmed_by_platform(door: &Http, path: &str) -> Value {
    let request = door.request(Method::POST, &format!("/v1/devices/{path}"));
    let request = request
        .header("content-type", "application/json")
        .header("prefer", format!("wait={}", DEADLINE.as_secs() / 2));
    let reply = Reply::to(request.body(MEASURE)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The platform takes a measure.
async fn answer(broker: &Mosquitto, message: &Message) {
    let measure: Value = serde_json::from_str(message.text()).unwrap();
    let ack = json!([{"id": measure["measureMessageId"], "code": 202}]);
    let topic = message.topic.replace("measures/", "ack/");
    let ack = Message::new(&topic, ack.to_string());
    broker.access().publish(&ack).await.accepted();
}
