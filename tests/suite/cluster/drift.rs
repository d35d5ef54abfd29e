//! Replicas with different configurations: their files are changed one after the other.

use std::collections::BTreeSet;

use causeway::cluster::Partition;

use super::replica::Replica;
use super::requests::{assert_problem, delivered, get, post};
use super::settings::RECOVERY;
use super::stage::Stage;
use crate::harness::eventually::eventually;

async fn until_there_are(replica: &Replica, configurations: usize) {
    eventually("others' configurations", RECOVERY, async || {
        let Some(cluster) = replica.cluster().await else {
            return false;
        };
        let members = cluster["members"].as_array().unwrap().iter();
        let known: BTreeSet<_> = members
            .map(|member| member["configuration"].as_str().unwrap().to_owned())
            .collect();
        known.len() == configurations
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_not_all_know_yet_loses_nothing() {
    let stage = Stage::set(3).await;
    let [first, second, third] = &stage.replicas[..] else {
        panic!("three replicas");
    };
    until_there_are(first, 1).await;
    let of_second = stage.partitions_of(1).await;
    let device = (0..)
        .map(|number| format!("late-{number}"))
        .find(|id| of_second.contains(&Partition::of(id)))
        .unwrap();
    let more = format!("[devices.{device}]\nconnector = \"own\"\n");
    first.configure(&more);
    for replica in &stage.replicas {
        until_there_are(replica, 2).await;
    }
    let headers = [("prefer", "wait=1"), ("content-type", "application/json")];
    let answer = post(&first.http(), &device, &headers, "1").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let receipt = answer.json()["id"].as_str().unwrap().to_owned();
    let unknown = post(&second.http(), &device, &headers, "2").await;
    assert_problem(&unknown, 404, "unknown-device");
    let session = first.http();
    let session = session.get(&format!("/v1/devices/{device}/session")).await;
    assert_problem(&session, 503, "no-owner");
    second.configure(&more);
    third.configure(&more);
    for replica in &stage.replicas {
        until_there_are(replica, 1).await;
    }
    let found = format!("/v1/uplinks/{receipt}");
    eventually("the uplink to be delivered", RECOVERY, async || {
        get(&third.http(), &found).await["status"] == "delivered"
    })
    .await;
    for door in &stage.doors() {
        delivered(door, &device, "3").await;
    }
}
