//! What goes wrong with a replica, its way to the store, and the store.

use super::connections::Connections;
use super::listener::{Listener, publishing};
use super::settings::devices;
use super::stage::Stage;
use super::work::Work;

/// Of each listener.
const DOWNLINKS: u64 = 400;

/// A cluster that is whole, and clients at work.
async fn at_work() -> (Stage, Connections, Work) {
    let stage = Stage::set(devices()).await;
    let connections = Connections::of(&stage, devices()).await;
    let work = Work::start(&stage, devices());
    work.goes_on().await;
    (stage, connections, work)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_killed_loses_nothing_and_its_devices_go_on_elsewhere() {
    let (mut stage, mut connections, work) = at_work().await;
    let mut listeners = Vec::new();
    for device in 0..3 {
        listeners.push(Listener::start(&stage, device, device, DOWNLINKS).await);
    }
    let mut publishers: Vec<_> = (0..3)
        .map(|device| publishing(&stage, device, DOWNLINKS))
        .collect();
    work.goes_on().await;
    let moving = connections.moving(&stage, 0).await;
    stage.replicas[0].kill9();
    connections.again(&moving).await;
    work.goes_on().await;
    stage.replicas[0].restart();
    stage.whole().await;
    connections.all().await;
    work.goes_on().await;
    work.finish(&stage).await;
    for publisher in &mut publishers {
        assert!(publisher.exit().await.success());
    }
    for listener in listeners {
        listener.finish(DOWNLINKS).await;
    }
    // Its connections were closed for it.
    connections.assert_no_takeover();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stands_still_longer_than_its_lease_does_no_harm_when_it_goes_on() {
    let (stage, mut connections, work) = at_work().await;
    for finds_the_store in [true, false] {
        let moving = connections.moving(&stage, 1).await;
        stage.replicas[1].freeze();
        connections.again(&moving).await;
        // Nobody could close its connections before.
        connections.assert_taken_over_once(&moving);
        if !finds_the_store {
            stage.replicas[1].cut().await;
        }
        stage.replicas[1].go_on();
        if !finds_the_store {
            // Nobody but its own clock tells it that it has lost them.
            work.goes_on().await;
            connections.assert_no_takeover();
            stage.replicas[1].connect();
        }
        stage.whole().await;
        connections.all().await;
        work.goes_on().await;
        // It got them back in order, and has taken none.
        connections.assert_no_takeover();
    }
    work.finish(&stage).await;
    connections.assert_no_takeover();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_from_the_store_gives_its_devices_up_and_comes_back() {
    let (stage, mut connections, work) = at_work().await;
    let moving = connections.moving(&stage, 2).await;
    stage.replicas[2].cut().await;
    connections.again(&moving).await;
    work.goes_on().await;
    // It has ended its sessions before others began them.
    connections.assert_no_takeover();
    stage.replicas[2].connect();
    stage.whole().await;
    connections.all().await;
    work.goes_on().await;
    work.finish(&stage).await;
    connections.assert_no_takeover();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing() {
    let (mut stage, mut connections, work) = at_work().await;
    let listener = Listener::start(&stage, 0, 0, DOWNLINKS).await;
    let mut publisher = publishing(&stage, 0, DOWNLINKS);
    for number in 0..stage.replicas.len() {
        work.goes_on().await;
        stage.replicas[number].terminate().await;
        stage.replicas[number].restart();
        stage.whole().await;
    }
    connections.all().await;
    work.goes_on().await;
    work.finish(&stage).await;
    assert!(publisher.exit().await.success());
    listener.finish(DOWNLINKS).await;
    connections.assert_no_takeover();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_is_killed_and_comes_back_and_nothing_that_was_answered_is_lost() {
    let (mut stage, mut connections, work) = at_work().await;
    // For a moment, and until every lease is over.
    for is_long in [false, true] {
        stage.nats[0].kill9();
        if is_long {
            connections.none().await;
        }
        stage.nats[0].restart().await;
        stage.whole().await;
        connections.all().await;
        work.goes_on().await;
    }
    work.finish(&stage).await;
    connections.assert_no_takeover();
}
