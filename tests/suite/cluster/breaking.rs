//! What goes wrong with a replica, its way to the store, and the store.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::listener::{Listener, publishing};
use super::stage::{LEASE, RECOVERY, Stage};
use super::work::{Work, connected};
use crate::harness::eventually::eventually;
use crate::harness::proxy::Cut;

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Devices in each of these tests.
fn devices() -> usize {
    usize::try_from(setting("CAUSEWAY_CLUSTER_DEVICES", 24)).unwrap()
}

/// How long clients work before and after something breaks.
fn while_working() -> Duration {
    Duration::from_secs(setting("CAUSEWAY_CLUSTER_SECONDS", 3))
}

/// Longer than a lease, and than everybody needs to see that it is over.
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(3 * LEASE);

/// Of each listener.
const DOWNLINKS: u64 = 400;

/// Between the uplinks of one device: so many of them a second come from all together, however many there are.
fn pause() -> Duration {
    Duration::from_secs(devices() as u64) / 480
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_loses_nothing_and_its_devices_go_on_elsewhere() {
    let mut stage = Stage::set(devices()).await;
    for device in 0..3 {
        connected(&stage, device).await;
    }
    let mut listeners = Vec::new();
    for device in 0..3 {
        listeners.push(Listener::start(&stage, device, device, DOWNLINKS).await);
    }
    let mut publishers: Vec<_> = (0..3)
        .map(|device| publishing(&stage, device, DOWNLINKS))
        .collect();
    let work = Work::start(&stage, devices(), pause());
    sleep(while_working()).await;
    stage.replicas[0].kill9();
    let killed = Instant::now();
    eventually("the others to have all partitions", RECOVERY, async || {
        let cluster = stage.replicas[1].cluster().await;
        cluster.is_some_and(|cluster| {
            let members = cluster["members"].as_array().unwrap();
            let held = members
                .iter()
                .map(|m| m["partitions"].as_array().unwrap().len());
            members.len() == 2 && held.sum::<usize>() == 64
        })
    })
    .await;
    println!(
        "all partitions are with the others after {:?}",
        killed.elapsed()
    );
    sleep(while_working()).await;
    stage.replicas[0].restart();
    stage.whole().await;
    sleep(while_working()).await;
    work.finish(&stage).await;
    for publisher in &mut publishers {
        assert!(publisher.exit().await.success());
    }
    for listener in listeners {
        listener.finish(DOWNLINKS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_longer_than_its_lease_does_no_harm_when_it_goes_on() {
    let stage = Stage::set(devices()).await;
    let work = Work::start(&stage, devices(), pause());
    sleep(while_working()).await;
    for _ in 0..2 {
        stage.replicas[1].freeze(LONGER_THAN_A_LEASE).await;
        stage.whole().await;
        sleep(while_working()).await;
    }
    work.finish(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_from_the_store_gives_its_devices_up_and_comes_back() {
    let stage = Stage::set(devices()).await;
    let work = Work::start(&stage, devices(), pause());
    sleep(while_working()).await;
    let link = &stage.replicas[2].link;
    link.refuse().await;
    link.cut(Cut::Reset);
    sleep(LONGER_THAN_A_LEASE).await;
    link.admit();
    stage.whole().await;
    sleep(while_working()).await;
    work.finish(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing() {
    let mut stage = Stage::set(devices()).await;
    let listener = Listener::start(&stage, 0, 0, DOWNLINKS).await;
    connected(&stage, 0).await;
    let mut publisher = publishing(&stage, 0, DOWNLINKS);
    let work = Work::start(&stage, devices(), pause());
    for number in 0..stage.replicas.len() {
        sleep(while_working()).await;
        stage.replicas[number].terminate().await;
        stage.replicas[number].restart();
        stage.whole().await;
    }
    sleep(while_working()).await;
    work.finish(&stage).await;
    assert!(publisher.exit().await.success());
    listener.finish(DOWNLINKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_killed_and_comes_back_and_nothing_that_was_answered_is_lost() {
    let mut stage = Stage::set(devices()).await;
    let work = Work::start(&stage, devices(), pause());
    for pause in [Duration::from_millis(500), LONGER_THAN_A_LEASE] {
        sleep(while_working()).await;
        stage.nats.kill9();
        sleep(pause).await;
        stage.nats.restart().await;
        stage.whole().await;
    }
    sleep(while_working()).await;
    work.finish(&stage).await;
}
