//! Places in the stream are not trusted further than the connection on which they were learned, and nothing is taken for
//! gone because it was not found once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{TestServer, publish_untold};
use crate::store::nats::names::StreamName;
use crate::store::nats::slot::Slot;
use crate::store::nats::stored::encode_queued;
use crate::store::records::QueuedUplink;
use crate::store::testing::{ALL, delivered, device, queued, until, until_async, uplink};
use crate::store::{Engine, Health, Limits, Nats, StoreError, UplinkQueue};

async fn three(store: &Nats) -> Vec<QueuedUplink> {
    let mut uplinks = Vec::new();
    for _ in 0..3 {
        let offered = uplink(&device(1), store.next_seq(), b"x");
        store.enqueue(offered.clone(), None).await.unwrap();
        uplinks.push(offered);
    }
    uplinks
}

fn numbers(uplinks: &[QueuedUplink]) -> Vec<u64> {
    uplinks.iter().map(|uplink| uplink.seq).collect()
}

/// Lets the index believe that an uplink lies somewhere else.
fn misplace(store: &Nats, uplink: &QueuedUplink, place: u64, conn: u64) {
    let mut queues = store.core.queues();
    let slot = queues.slot(&device(1), uplink.seq).unwrap();
    let slot = Slot {
        place,
        conn,
        ..slot
    };
    queues.misplace(&device(1), uplink.seq, slot);
}

fn slot(store: &Nats, uplink: &QueuedUplink) -> Slot {
    let slot = store.core.queues().slot(&device(1), uplink.seq);
    slot.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uplink_that_is_not_where_it_was_is_looked_for_and_found() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks = three(&store).await;
    let (conn, other) = (store.core.link.number(), slot(&store, &uplinks[1]).place);
    // Nothing is there, and another one is.
    for place in [100_000, other] {
        misplace(&store, &uplinks[0], place, conn);
        // Never less than there is; a look that was due anyway may have found it already.
        match store.read(&device(1), None, ALL).await {
            Ok(read) => assert_eq!(read, uplinks),
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error}"),
        }
        until_async("it was found", async || {
            let read = store.read(&device(1), None, ALL).await;
            read.is_ok_and(|read| read == uplinks)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uplink_whose_place_has_just_become_known_is_not_passed_by() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks = three(&store).await;
    // As a reader had it that asked before the index was made true.
    let before = Slot {
        place: 100_000,
        ..slot(&store, &uplinks[0])
    };
    let read = store.core.queued(device(1), uplinks[0].seq, before).await;
    assert_eq!(read.unwrap().as_ref(), Some(&uplinks[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_certainly_gone_holds_nothing_up() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks = three(&store).await;
    let place = slot(&store, &uplinks[0]).place;
    let deleted = store.core.link.delete(StreamName::Uplinks, place).await;
    deleted.unwrap();
    until_async("the rest is read", async || {
        let read = store.read(&device(1), None, ALL).await;
        read.is_ok_and(|read| read == uplinks[1..])
    })
    .await;
    assert_eq!(store.backlog(&device(1)).unwrap().count, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_deleted_at_a_place_that_was_learned_on_an_earlier_connection() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks = three(&store).await;
    let other = slot(&store, &uplinks[1]).place;
    misplace(&store, &uplinks[0], other, store.core.link.number() - 1);
    let settled = store.settle(&device(1), uplinks[0].seq, delivered(&uplinks[0]));
    settled.await.unwrap();
    assert_eq!(queued(&*store, &device(1)).await, numbers(&uplinks[1..]));
    store.close().await.unwrap();
    // It may come again; the others must be there.
    let store = server.open(Limits::default()).await;
    let left = queued(&*store, &device(1)).await;
    assert!(left.ends_with(&numbers(&uplinks[1..])), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_to_a_lost_connection_is_not_sent_on_the_next() {
    let mut server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    three(&store).await;
    let conn = store.core.link.conn();
    server.kill9();
    until("read-only", || store.health() != Health::Writable).await;
    let late = uplink(&device(1), store.next_seq(), b"late");
    let (payload, size) = encode_queued(&late, None);
    let header = Slot::new(&late, size as u64, false).header(late.seq);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Causeway", header.as_str());
    let subject = store.core.link.names.uplinks(&device(1));
    let client = conn.client.clone();
    // As a request that was just being made: the client takes it, or says that it will not.
    let handed = client.publish_with_headers(subject, headers, payload.into());
    let _ = tokio::time::timeout(Duration::from_secs(1), handed).await;
    server.restart().await;
    until("writable", || store.health() == Health::Writable).await;
    // The client would have been back by now, and any round trip on it is behind what it has kept.
    let _ = tokio::time::timeout(Duration::from_secs(2), client.flush()).await;
    store.rescan().await.unwrap();
    assert_eq!(queued(&*store, &device(1)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_stores_after_its_connection_was_lost_is_removed() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks = three(&store).await;
    let conn = store.core.link.conn();
    let sent = || (conn.client.statistics().out_messages).load(Ordering::Relaxed);
    server.stand_still();
    let before = sent();
    let late = uplink(&device(1), store.next_seq(), b"late");
    let refused = tokio::spawn(store.enqueue(late, None));
    until("it is on its way", || sent() > before).await;
    conn.lost.cancel();
    let refused = refused.await.unwrap();
    assert!(
        matches!(refused, Err(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
    server.go_on();
    until("writable", || store.health() == Health::Writable).await;
    // By now the server has read what came by the connection that was given up.
    conn.client.flush().await.unwrap();
    store.rescan().await.unwrap();
    assert_eq!(queued(&*store, &device(1)).await, numbers(&uplinks));
    store.close().await.unwrap();
    let store = server.open(Limits::default()).await;
    assert_eq!(queued(&*store, &device(1)).await, numbers(&uplinks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_removed_where_it_turns_up() {
    let server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let uplinks = three(&store).await;
    let late = uplink(&device(1), store.next_seq(), b"late");
    store.core.queues().unwanted.doubt(late.id);
    publish_untold(&store, &late).await;
    store.rescan().await.unwrap();
    assert_eq!(queued(&*store, &device(1)).await, numbers(&uplinks));
    store.close().await.unwrap();
    let store = server.open(Limits::default()).await;
    assert_eq!(queued(&*store, &device(1)).await, numbers(&uplinks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlements_that_a_kill_has_interrupted_hit_nothing_that_comes_behind_them() {
    let mut server = TestServer::start().await;
    let store = server.open(Limits::default()).await;
    let mut waiting = Vec::new();
    for round in 0..6u8 {
        let mut offered = Vec::new();
        for _ in 0..30 {
            let offer = uplink(&device(1), store.next_seq(), &[round; 200]);
            store.enqueue(offer.clone(), None).await.unwrap();
            offered.push(offer);
        }
        let settled = offered.iter().map(|uplink| {
            // Handed over at once, whoever waits for it.
            store.settle(&device(1), uplink.seq, delivered(uplink))
        });
        let settled: Vec<_> = settled.collect();
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 3)).await;
        server.kill9();
        server.restart().await;
        drop(settled);
        until("read-only", || {
            store.core.link.number() > u64::from(round) + 1
        })
        .await;
        until("writable", || store.health() == Health::Writable).await;
        for _ in 0..5 {
            let offer = uplink(&device(1), store.next_seq(), b"new");
            store.enqueue(offer.clone(), None).await.unwrap();
            waiting.push(offer.seq);
        }
        until_async("only what waits is left", async || {
            let read = store.read(&device(1), None, ALL).await;
            read.is_ok_and(|read| numbers(&read) == waiting)
        })
        .await;
    }
    store.close().await.unwrap();
    let store: Arc<Nats> = server.open(Limits::default()).await;
    assert_eq!(queued(&*store, &device(1)).await, waiting);
}
