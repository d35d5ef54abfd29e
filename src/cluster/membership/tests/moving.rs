//! Members come and go in order.

use std::time::Duration;

use super::{Ledger, TestMember, TestServer, until, until_settled};
use crate::cluster::{MemberState, Partitions};

/// Long: nothing here has to wait for its end.
const LEASE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_gets_its_share_at_once_and_nothing_else_moves() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let join = async |name| TestMember::join(server.servers(), name, LEASE, &ledger).await;
    let a = join("a").await;
    until_settled(&[&a]).await;
    let b = join("b").await;
    until_settled(&[&a, &b]).await;
    let (before, moves) = (ledger.holders(), ledger.moves());

    let c = join("c").await;
    until_settled(&[&a, &b, &c]).await;
    let after = ledger.holders();
    for (partition, holder) in &before {
        assert!(after[partition] == *holder || after[partition] == "c");
    }
    assert_eq!(ledger.moves() - moves, ledger.held_by("c").len());

    let (of_c, moves) = (ledger.held_by("c").len(), ledger.moves());
    c.membership.end().await;
    until_settled(&[&a, &b]).await;
    assert_eq!(ledger.holders(), before);
    assert_eq!(ledger.moves() - moves, of_c);
    assert_eq!(ledger.lost(), 0);
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_that_start_at_once_share_everything_and_may_end_at_once() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let join = async |name| TestMember::join(server.servers(), name, LEASE, &ledger).await;
    for _ in 0..3 {
        let (a, b, c) = tokio::join!(join("a"), join("b"), join("c"));
        until_settled(&[&a, &b, &c]).await;
        tokio::join!(a.membership.end(), b.membership.end(), c.membership.end());
        assert!(ledger.holders().is_empty(), "{ledger:?}");
    }
    // Nothing was left that the next ones would have had to wait for.
    assert_eq!(ledger.lost(), 0);
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_says_who_has_what() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let join = async |name| TestMember::join(server.servers(), name, LEASE, &ledger).await;
    let (a, b) = (join("a").await, join("b").await);
    until_settled(&[&a, &b]).await;
    until("report", || a.peers.report().vacant.is_empty()).await;
    let report = a.peers.report();
    assert!(report.is_member && report.is_connected);
    assert_eq!(
        (report.running, report.moving),
        (a.here(), Partitions::NONE)
    );
    assert!(report.renewal.is_some());
    for of in &report.members {
        assert_eq!(of.partitions, ledger.held_by(&of.member.name));
        assert_eq!(of.state, MemberState::Alive);
        assert!(of.lease == LEASE && of.lease_left > LEASE / 3, "{of:?}");
    }
    b.membership.end().await;
    until("report", || a.peers.report().members.len() == 1).await;
}
