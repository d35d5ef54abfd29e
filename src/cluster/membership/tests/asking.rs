//! Requests between members.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;

use super::{DEADLINE, Ledger, TestMember, TestServer, until};
use crate::cluster::{Answerer, AskError, MemberId};
use crate::tally::Asked;

const LEASE: Duration = Duration::from_secs(30);

/// Answers when it is let.
struct Slow(Arc<Semaphore>);

impl Answerer for Slow {
    fn answer(&self, request: Bytes) -> BoxFuture<'static, Bytes> {
        let gate = Arc::clone(&self.0);
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            request
        })
    }
}

/// Answers with more than can be sent.
struct Large;

impl Answerer for Large {
    fn answer(&self, _: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(std::future::ready(vec![0; 2 * 1024 * 1024].into()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_or_it_is_known_what_is_not() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let a = TestMember::join(server.servers(), "a", LEASE, &ledger).await;
    let b = TestMember::join(server.servers(), "b", LEASE, &ledger).await;
    let c =
        TestMember::join_answering(server.servers(), "c", LEASE, &ledger, Arc::new(Large)).await;
    let id = |member: &TestMember| member.peers.table().me().clone();
    let (id_b, id_c) = (id(&b), id(&c));
    let ask = |to: &MemberId, request: Bytes| a.peers.ask(to, request, DEADLINE);
    let gone = AskError::Nobody;
    // Who listens begins to do so a moment after it has joined.
    while ask(&id_b, "x".into()).await == Err(gone) || ask(&id_c, "x".into()).await == Err(gone) {}

    assert_eq!(ask(&id_b, "abc".into()).await, Ok("cba".into()));
    assert_eq!(ask(&id_b, Bytes::new()).await, Ok(Bytes::new()));
    let large = Bytes::from(vec![7; 900 * 1024]);
    assert_eq!(ask(&id_b, large.clone()).await, Ok(large));
    let too_large = ask(&id_b, vec![7; 1024 * 1024].into()).await;
    assert!(matches!(too_large, Err(AskError::TooLarge { limit }) if limit > 900 * 1024));
    assert_eq!(
        ask(&id_c, "abc".into()).await,
        Err(AskError::AnswerTooLarge)
    );
    assert_eq!(ask(&MemberId::random(), "abc".into()).await, Err(gone));
    b.membership.end().await;
    assert_eq!(ask(&id_b, "abc".into()).await, Err(gone));
    assert!(a.tally.requests(Asked::Nobody) >= 2);
    assert!(a.tally.requests(Asked::Answered) >= 4);
    assert!(a.tally.requests(Asked::TooLarge) >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_busy_says_so_and_whoever_is_slow_is_not_waited_for() {
    let (mut server, ledger) = (TestServer::start().await, Ledger::default());
    let gate = Arc::new(Semaphore::new(0));
    let slow = Arc::new(Slow(Arc::clone(&gate)));
    let a = TestMember::join(server.servers(), "a", LEASE, &ledger).await;
    let b = TestMember::join_answering(server.servers(), "b", LEASE, &ledger, slow).await;
    let to = b.peers.table().me().clone();
    let soon = Duration::from_millis(50);
    let mut late = a.peers.ask(&to, "0".into(), soon).await;
    while late == Err(AskError::Nobody) {
        late = a.peers.ask(&to, "0".into(), soon).await;
    }
    assert_eq!(late, Err(AskError::TimedOut));
    // One is under way already.
    let many = join_all((0..1024).map(|_| a.peers.ask(&to, "x".into(), DEADLINE)));
    let many = tokio::spawn(many);
    until("refusal", || b.tally.turned_away.load(Relaxed) == 1).await;
    gate.add_permits(1024);
    let answers = many.await.unwrap();
    let refused = answers
        .iter()
        .filter(|answer| **answer == Err(AskError::Nobody));
    assert_eq!(refused.count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1023);

    let lost = tokio::spawn(a.peers.ask(&to, "x".into(), DEADLINE));
    until("request", || a.tally.requests(Asked::Answered) == 1023).await;
    tokio::time::sleep(soon).await;
    server.kill9();
    assert_eq!(lost.await.unwrap(), Err(AskError::Lost));
    let away = a.peers.ask(&to, "x".into(), DEADLINE).await;
    assert_eq!(away, Err(AskError::Nobody));
}
