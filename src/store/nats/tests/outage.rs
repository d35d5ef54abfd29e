//! The server dies under load and comes back: what was taken is there, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::TestServer;
use crate::store::health::Amount;
use crate::store::records::{Begun, KeyedAnswer, ReceiptStatus};
use crate::store::testing::{delivered, device, downlink, queued, until, uplink};
use crate::store::{
    DownlinkHistory, Engine, Health, IdempotencyKeys, Limits, Nats, ReceiptLog, StoreError,
    UplinkQueue,
};

/// Offers uplinks from several tasks until told to stop, and says which were taken.
struct Load {
    tasks: Vec<tokio::task::JoinHandle<(BTreeSet<u64>, u64)>>,
    end: tokio_util::sync::CancellationToken,
}

impl Load {
    fn start(store: &Arc<Nats>) -> Self {
        let end = tokio_util::sync::CancellationToken::new();
        let tasks = (0..8).map(|number| {
            let (store, end) = (Arc::clone(store), end.clone());
            tokio::spawn(async move {
                let (mut taken, mut refused) = (BTreeSet::new(), 0);
                while !end.is_cancelled() {
                    let seq = store.next_seq();
                    let offered = uplink(&device(number), seq, &[number as u8; 300]);
                    match store.enqueue(offered, None).await {
                        Ok(()) => {
                            taken.insert(seq);
                        }
                        Err(StoreError::Unavailable { .. }) => {
                            refused += 1;
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                (taken, refused)
            })
        });
        let tasks = tasks.collect();
        Self { tasks, end }
    }

    async fn end(self) -> (BTreeSet<u64>, u64) {
        self.end.cancel();
        let (mut taken, mut refused) = (BTreeSet::new(), 0);
        for task in self.tasks {
            let (of_task, not) = task.await.unwrap();
            taken.extend(of_task);
            refused += not;
        }
        (taken, refused)
    }
}

async fn all_queued(store: &Nats) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for number in 0..8 {
        all.extend(queued(store, &device(number)).await);
    }
    all
}

async fn until_writable(store: &Arc<Nats>) {
    until("writable", || store.health() == Health::Writable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_before_the_server_was_killed_is_there_and_nothing_else() {
    let mut server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let load = Load::start(&store);
    for round in 1..=4 {
        until("traffic", || store.counters().commits > round * 300).await;
        server.kill9();
        until("read-only", || store.health() != Health::Writable).await;
        server.restart().await;
        until_writable(&store).await;
    }
    let (taken, refused) = load.end().await;
    assert!(refused > 0, "nobody noticed");
    assert_eq!(all_queued(&store).await, taken);
    store.close().await.unwrap();
    // Not only in memory.
    let store = server.open(Limits::default()).await;
    assert_eq!(all_queued(&store).await, taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_during_an_outage_is_settled_afterwards() {
    let mut server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks: Vec<_> = (0..20)
        .map(|_| uplink(&device(1), store.next_seq(), b"x"))
        .collect();
    for uplink in &uplinks {
        store.enqueue(uplink.clone(), None).await.unwrap();
    }
    server.kill9();
    until("read-only", || store.health() != Health::Writable).await;
    for uplink in &uplinks[..10] {
        let settled = store.settle(&device(1), uplink.seq, delivered(uplink));
        assert!(matches!(settled.await, Err(StoreError::Unavailable { .. })));
    }
    let offered = uplink(&device(1), store.next_seq(), b"x");
    let refused = store.enqueue(offered, None).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    assert_eq!(store.backlog(&device(1)).unwrap().count, 10);
    let answer = KeyedAnswer {
        key: "a".into(),
        body: [1; 32],
        answer: bytes::Bytes::from_static(b"200"),
    };
    drop(store.finish(&device(1), answer));
    store.put_receipts(vec![delivered(&uplink(&device(2), 0, b""))]);
    server.restart().await;
    until_writable(&store).await;
    store.close().await.unwrap();
    let store = server.open(Limits::default()).await;
    let left: Vec<u64> = uplinks[10..].iter().map(|uplink| uplink.seq).collect();
    assert_eq!(queued(&*store, &device(1)).await, left);
    let receipt = store.receipt(uplinks[3].id).await.unwrap().unwrap();
    assert_eq!(receipt.status, ReceiptStatus::Delivered);
    let begun = store.begin(&device(1), "a", [1; 32]).await.unwrap();
    assert!(matches!(begun, Begun::Finished(_)), "{begun:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_say_in_time_what_it_holds_is_not_used_until_it_does() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    server.stand_still();
    let infos = store.core.link.infos(Duration::from_millis(50)).await;
    assert!(infos.is_err());
    assert_ne!(store.health(), Health::Writable);
    server.go_on();
    until_writable(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downlinks_that_were_stored_are_replayed_after_the_server_was_killed() {
    let mut server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let mut cursors = Vec::new();
    for round in 0..3 {
        for number in 0..50u8 {
            let stored = store
                .append(vec![downlink(&device(1), &[round, number])])
                .await;
            cursors.extend(stored.unwrap());
        }
        server.kill9();
        until("read-only", || store.health() != Health::Writable).await;
        let refused = store.append(vec![downlink(&device(1), b"no")]).await;
        assert!(
            matches!(refused, Err(StoreError::Unavailable { .. })),
            "{refused:?}"
        );
        server.restart().await;
        until_writable(&store).await;
    }
    assert!(cursors.is_sorted_by(|a, b| a < b));
    let replayed = async |store: &Nats| {
        let limit = crate::store::testing::ALL;
        let page = store.history([device(1)].into(), cursors[0] - 1, limit);
        let page = page.await.unwrap();
        let read: Vec<u64> = page.events.iter().map(|event| event.cursor).collect();
        assert_eq!((read, page.fallen), (cursors.clone(), None));
        let newest = cursors.last().copied().unwrap();
        until("all was followed", || store.newest_cursor() == newest).await;
    };
    replayed(&store).await;
    store.close().await.unwrap();
    let store = server.open(Limits::default()).await;
    replayed(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_a_crash_kept_from_being_written_is_written_at_the_next_opening() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let answer = KeyedAnswer {
        key: "a".into(),
        body: [1; 32],
        answer: bytes::Bytes::from_static(b"202"),
    };
    let offered = uplink(&device(1), store.next_seq(), b"x");
    store.enqueue(offered, Some(answer)).await.unwrap();
    // As if the process had ended between the two writes.
    let keys = super::super::names::StreamName::Keys;
    let subject = store.core.link.names.key(&device(1), "a");
    assert_eq!(store.core.link.purge(keys, subject).await, Ok(1));
    store.close().await.unwrap();
    let store = server.open(Limits::default()).await;
    let begun = store.begin(&device(1), "a", [1; 32]).await.unwrap();
    assert_eq!(begun, Begun::Finished(bytes::Bytes::from_static(b"202")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_device_leaves_a_gap_even_over_a_restart() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    // One of another device stays in front of it.
    let both = vec![downlink(&device(2), b"x"), downlink(&device(1), b"x")];
    let first = store.append(both).await.unwrap()[1];
    store.forget(&device(1)).await.unwrap();
    let window = store.window(&device(1)).await.unwrap();
    assert!(
        window.oldest.is_none() && window.fallen >= first,
        "{window:?}"
    );
    store.close().await.unwrap();
    let store = server.open(Limits::default()).await;
    let window = store.window(&device(1)).await.unwrap();
    assert!(
        window.oldest.is_none() && window.fallen >= first,
        "{window:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_the_server_is_refused_and_holds_nothing_up() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let large = vec![0; 2 * 1024 * 1024];
    let offered = uplink(&device(1), store.next_seq(), &large);
    let refused = store.enqueue(offered, None).await;
    assert!(
        matches!(refused, Err(StoreError::TooLarge { limit: 1_048_576 })),
        "{refused:?}"
    );
    assert_eq!(store.backlogs(), []);
    // Nor does it take room.
    assert_eq!(store.counters().uplinks, Amount::default());
    let both = vec![downlink(&device(1), &large), downlink(&device(1), b"small")];
    let cursors = store.append(both).await.unwrap();
    let page = store.history(
        [device(1)].into(),
        cursors[0] - 1,
        crate::store::testing::ALL,
    );
    let page = page.await.unwrap();
    assert_eq!((page.events.len(), page.fallen), (1, Some(cursors[0])));
    assert_eq!(store.health(), Health::Writable);
}
