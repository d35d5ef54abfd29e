//! Any replica answers for any device.

use reqwest::Method;
use serde_json::{Value, json};

use super::settings::RECOVERY;
use super::stage::Stage;
use super::work::connected;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};

async fn put(door: &Http, device: &str, body: &Value) -> Reply {
    let request = door.request(Method::PUT, &format!("/v1/devices/{device}"));
    let request = request.header("content-type", "application/json");
    Reply::to(request.body(body.to_string())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_replica_answers_for_any_device() {
    let stage = Stage::set(6).await;
    let doors = stage.doors();
    for device in 0..6 {
        connected(&stage, device).await;
        for door in &doors {
            let path = format!("/v1/devices/d{device}/uplinks");
            let request = door
                .request(Method::POST, &path)
                .header("prefer", "wait=20");
            let answer = Reply::to(request.body("1")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let receipt = answer.json()["id"].as_str().unwrap().to_owned();
            for door in &doors {
                let found = door.get(&format!("/v1/uplinks/{receipt}")).await;
                assert_eq!(found.status, 200, "{}", found.text());
                assert_eq!(found.json()["status"], "delivered");
            }
            let shown = door.get(&format!("/v1/devices/d{device}/session")).await;
            assert_eq!(shown.json()["state"], "connected", "{}", shown.text());
        }
    }
    let lists: Vec<_> = {
        let mut lists = Vec::new();
        for door in &doors {
            let list = door.get("/v1/devices").await.json();
            let ids = list["devices"].as_array().unwrap().iter();
            lists.push(
                ids.map(|device| device["id"].as_str().unwrap().to_owned())
                    .collect::<Vec<_>>(),
            );
        }
        lists
    };
    assert_eq!(lists[0].len(), 6);
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_registered_at_one_replica_is_there_at_all() {
    let stage = Stage::set(1).await;
    let doors = stage.doors();
    for (number, door) in doors.iter().enumerate() {
        let id = format!("new-{number}");
        let answer = put(door, &id, &json!({"connector": "own"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        for door in &doors {
            let request = door.request(Method::POST, &format!("/v1/devices/{id}/uplinks"));
            let answer = Reply::to(request.header("prefer", "wait=20").body("1")).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let other = &doors[(number + 1) % doors.len()];
        let answer = Reply::to(other.request(Method::DELETE, &format!("/v1/devices/{id}"))).await;
        assert!((200..300).contains(&answer.status), "{}", answer.text());
        for door in &doors {
            eventually("the device to be gone everywhere", RECOVERY, async || {
                door.get(&format!("/v1/devices/{id}")).await.status == 404
            })
            .await;
        }
    }
}
