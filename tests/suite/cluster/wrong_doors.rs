//! Requests at replicas that do not have the device: they are answered as they would be where it is.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::connections::Connections;
use super::requests::{assert_problem, delete, delivered, get, post, put};
use super::settings::{RECOVERY, lease};
use super::stage::Stage;
use crate::harness::access::Message;
use crate::harness::eventually::eventually;
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::nats::NatsServer;
use crate::harness::proxy::{Cut, Proxy};
use crate::harness::subscriber::Subscriber;

/// So many that every replica has some of them, nearly always: what one replica has is asked for at two wrong doors.
const DEVICES: usize = 6;

/// What was published for a device, in the broker's order.
fn of_device<'m>(messages: &'m [Message], topic: &str) -> Vec<&'m str> {
    let messages = messages.iter().filter(|message| message.topic == topic);
    messages.map(Message::text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_one_delivery_whatever_doors_it_is_sent_to() {
    let stage = Stage::set(DEVICES).await;
    let doors = stage.doors();
    Connections::of(&stage, DEVICES).await;
    let observer = Subscriber::start(&stage.broker.access(), &["devices/+/up"]).await;
    let keyed = [("idempotency-key", "k"), ("prefer", "wait=30")];
    for number in 0..DEVICES {
        let device = format!("d{number}");
        let mut ids = BTreeSet::new();
        for reply in join_all(doors.iter().map(|door| post(door, &device, &keyed, "1"))).await {
            match reply.status {
                // Stored, for another one of them that has come first.
                200 | 202 => {
                    ids.insert(reply.json()["id"].as_str().unwrap().to_owned());
                }
                _ => assert_problem(&reply, 409, "key-in-flight"),
            }
        }
        assert_eq!(ids.len(), 1, "{ids:?}");
        let mut answers = BTreeSet::new();
        for door in &doors {
            let again = post(door, &device, &keyed, "1").await;
            assert_eq!(again.status, 200, "{}", again.text());
            assert_eq!(again.header("idempotency-replayed"), "true");
            assert!(ids.contains(again.json()["id"].as_str().unwrap()));
            answers.insert(again.text().to_owned());
            let other = post(door, &device, &keyed, "2").await;
            assert_problem(&other, 422, "key-other-body");
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        delivered(&doors[number % doors.len()], &device, "9").await;
    }
    let seen = observer.wait_count(2 * DEVICES).await;
    for number in 0..DEVICES {
        let topic = format!("devices/d{number}/up");
        assert_eq!(of_device(&seen, &topic), ["1", "9"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_for_devices_of_all_replicas_and_the_list_of_them_come_from_any_door() {
    let stage = Stage::set(DEVICES).await;
    let doors = stage.doors();
    Connections::of(&stage, DEVICES).await;
    let observer = Subscriber::start(&stage.broker.access(), &["devices/+/up"]).await;
    for (round, door) in doors.iter().enumerate() {
        batches(door, round).await;
    }
    let seen = observer.wait_count(doors.len() * 2 * DEVICES).await;
    for number in 0..DEVICES {
        let topic = format!("devices/d{number}/up");
        assert_eq!(of_device(&seen, &topic), ["0", "1", "2", "3", "4", "5"]);
    }
    let all: Vec<_> = (0..DEVICES).map(|number| format!("d{number}")).collect();
    for first in 0..doors.len() {
        assert_eq!(pages(&doors, first, "").await, all);
        assert_eq!(pages(&doors, first, "&state=connected").await, all);
        assert_eq!(pages(&doors, first, "&state=idle").await, [""; 0]);
    }
}

/// One line for each device, one for nobody, and the same once more as an array.
async fn batches(door: &Http, round: usize) {
    let item = |device: usize, payload: usize| json!({"device": format!("d{device}"), "payload": payload, "id": device});
    let nobody = json!({"device": "nobody", "payload": 0, "id": DEVICES});
    let items = |payload| {
        let items = (0..DEVICES).map(move |device| item(device, payload));
        items.chain([nobody.clone()]).collect::<Vec<_>>()
    };
    let lines: Vec<_> = items(2 * round).iter().map(Value::to_string).collect();
    let reply = door
        .post("/v1/uplinks", "application/x-ndjson", lines.join("\n"))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let results = reply.text().lines();
    let results: Vec<Value> = results
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_delivered(&results);
    let array = Value::from(items(2 * round + 1)).to_string();
    let reply = door.post("/v1/uplinks", "application/json", array).await;
    assert_eq!(reply.status, 207, "{}", reply.text());
    assert_delivered(reply.json().as_array().unwrap());
}

fn assert_delivered(results: &[Value]) {
    assert_eq!(results.len(), DEVICES + 1);
    for (number, result) in results.iter().enumerate() {
        let status = if number == DEVICES { 404 } else { 200 };
        assert_eq!(
            (&result["ref"], &result["status"]),
            (&json!(number), &json!(status)),
            "{result}"
        );
    }
}

/// The ids of all pages of two devices, each page from the next door.
async fn pages(doors: &[Http], first: usize, query: &str) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    for door in doors.iter().cycle().skip(first) {
        let page = get(door, &format!("/v1/devices?limit=2{query}{after}")).await;
        let devices = page["devices"].as_array().unwrap().iter();
        ids.extend(devices.map(|device| device["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    ids
}

/// A broker that wants to know who one is, on a network that breaks.
struct Strict {
    broker: Mosquitto,
    network: Proxy,
}

impl Strict {
    async fn stage() -> Stage<Self> {
        let broker = Mosquitto::builder().user("pump", "right").start().await;
        let network = Proxy::start(broker.addr());
        let mut connectors = String::new();
        for name in ["own", "other"] {
            connectors += &format!(
                "[connectors.{name}]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
                 override.session = \"device\"\noverride.connect.client_id = \"{name}-{{device}}\"\n",
                network.addr()
            );
        }
        let nats = vec![NatsServer::start().await];
        Stage::of(Self { broker, network }, nats, lease(), &connectors).await
    }
}

/// A device with its password and what stands before its topic.
fn form(connector: &str, password: &str, prefix: &str) -> Value {
    json!({
        "connector": connector,
        "secret": password,
        "variables": {"username": "pump", "uplink_prefix": prefix},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_changed_and_drained_at_doors_that_do_not_have_it() {
    let stage = Strict::stage().await;
    let Strict { broker, network } = &stage.broker;
    let doors = stage.doors();
    let door = |number: usize| &doors[number % doors.len()];
    let access = broker.access().user("pump", "right");
    let observer = Subscriber::start(&access, &["a/#", "b/#"]).await;
    let devices: Vec<_> = (0..DEVICES)
        .map(|number| format!("pump-{number}"))
        .collect();
    for (number, device) in devices.iter().enumerate() {
        let made = put(door(number), device, &form("own", "wrong", "a/")).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    for device in &devices {
        for door in &doors {
            until_session(door, device, "refused").await;
        }
    }
    for (number, device) in devices.iter().enumerate() {
        // Another password, and then another connector and topic, each at another door.
        for (step, form, payload) in [
            (1, form("own", "right", "a/"), "1"),
            (2, form("other", "right", "b/"), "2"),
        ] {
            let changed = put(door(number + step), device, &form).await;
            assert_eq!(changed.status, 200, "{}", changed.text());
            delivered(door(number + step + 1), device, payload).await;
        }
        for door in &doors {
            let shown = get(door, &format!("/v1/devices/{device}")).await;
            assert_eq!(shown["connector"], "other", "{shown}");
            assert_eq!(shown["variables"]["uplink_prefix"], "b/", "{shown}");
        }
    }

    network.refuse().await;
    network.cut(Cut::Reset);
    for device in &devices {
        until_session(&doors[0], device, "backing_off").await;
    }
    let queued = [("prefer", "respond-async")];
    for (number, device) in devices.iter().enumerate() {
        for (step, payload) in ["3", "4", "5"].iter().enumerate() {
            let reply = post(door(number + step), device, &queued, payload).await;
            assert_eq!(reply.status, 202, "{}", reply.text());
        }
        let path = format!("/v1/devices/{device}");
        assert_problem(&delete(door(number + 1), &path).await, 409, "backlog");
        let leaving = delete(door(number + 2), &format!("{path}?backlog=drain")).await;
        assert_eq!(leaving.status, 202, "{}", leaving.text());
        for door in &doors {
            assert_problem(&post(door, device, &queued, "x").await, 409, "leaving");
            let anew = put(door, device, &form("own", "right", "a/")).await;
            assert_problem(&anew, 409, "leaving");
            assert_eq!(get(door, &path).await["leaving"], true);
        }
    }
    network.admit();
    for device in &devices {
        for door in &doors {
            eventually("the device to be gone everywhere", RECOVERY, async || {
                door.get(&format!("/v1/devices/{device}")).await.status == 404
            })
            .await;
        }
    }
    let seen = observer.wait_count(5 * DEVICES).await;
    for device in &devices {
        assert_eq!(of_device(&seen, &format!("a/{device}/up")), ["1"]);
        assert_eq!(
            of_device(&seen, &format!("b/{device}/up")),
            ["2", "3", "4", "5"]
        );
    }
}

async fn until_session(door: &Http, device: &str, state: &str) {
    let path = format!("/v1/devices/{device}/session");
    let what = format!("the session of {device} to be {state}");
    eventually(&what, RECOVERY, async || {
        door.get(&path).await.json()["state"] == state
    })
    .await;
}
