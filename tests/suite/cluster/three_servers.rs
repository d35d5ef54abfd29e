//! Three nats-servers under three replicas: any one of the six may be killed.

use std::time::Duration;

use super::connections::Connections;
use super::settings::devices;
use super::stage::Stage;
use super::work::Work;
use crate::harness::nats::{NatsServer, leader};

/// Longer than the two that are left need to choose another leader, which may take ten seconds.
const LEASE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leads_is_killed_and_then_a_replica_and_nothing_that_was_answered_is_lost() {
    let servers = NatsServer::start_three().await.into();
    let mut stage = Stage::set_on(servers, LEASE, devices()).await;
    let mut connections = Connections::of(&stage, devices()).await;
    let work = Work::start(&stage, devices());
    // The one that has the last word on leases, and the one that takes what is stored.
    for stream in ["causeway-cluster", "causeway-uplinks"] {
        work.goes_on().await;
        let leads = leader(&stage.nats, stream).await;
        stage.nats[leads].kill9();
        work.goes_on().await;
        stage.nats[leads].restart().await;
    }
    work.goes_on().await;
    let moving = connections.moving(&stage, 0).await;
    stage.replicas[0].kill9();
    connections.again(&moving).await;
    work.goes_on().await;
    work.finish(&stage).await;
    connections.assert_no_takeover();
}
