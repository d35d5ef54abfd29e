//! Two processes on one store.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;

use super::{TestServer, publish_untold};
use crate::device::DeviceId;
use crate::downlink::{self, After, Cursor, Delivery, Hub};
use crate::message::UplinkId;
use crate::store::nats::writer::Order;
use crate::store::records::{QueuedUplink, RecordKind, StoredDownlink};
use crate::store::testing::{delivered, device, downlink, queued, until, until_async, uplink};
use crate::store::{
    DownlinkHistory, Engine, Follow, Health, Holding, Limits, Nats, Records, StoreError,
    UplinkQueue,
};

/// What one process holds, to be changed.
#[derive(Debug, Default)]
struct Share(Mutex<HashSet<DeviceId>>);

impl Share {
    fn of(devices: &[usize]) -> Arc<Self> {
        let devices = devices.iter().map(|number| device(*number));
        Arc::new(Self(Mutex::new(devices.collect())))
    }

    fn take(&self, number: usize) {
        self.0.lock().unwrap().insert(device(number));
    }

    fn leave(&self, number: usize) {
        self.0.lock().unwrap().remove(&device(number));
    }
}

impl Holding for Share {
    fn has(&self, device: &DeviceId) -> bool {
        self.0.lock().unwrap().contains(device)
    }
}

async fn open(server: &TestServer, share: &Arc<Share>) -> Arc<Nats> {
    let share = Arc::clone(share);
    server.open_for(Limits::default(), share).await
}

async fn enqueue(store: &Nats, number: usize) -> QueuedUplink {
    let offered = uplink(&device(number), store.next_seq(), b"x");
    store.enqueue(offered.clone(), None).await.unwrap();
    offered
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(20), work).await;
    done.expect("it takes too long")
}

/// What waits, whoever holds it.
async fn in_stream(server: &TestServer, number: usize) -> Vec<u64> {
    let store = server.open(Limits::default()).await;
    let queued = queued(&*store, &device(number)).await;
    store.close().await.unwrap();
    queued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uplink_that_is_stored_by_one_reaches_the_one_who_holds_its_device() {
    let server = TestServer::start().await;
    let (first, second) = (Share::of(&[1]), Share::of(&[2]));
    let (a, b) = (open(&server, &first).await, open(&server, &second).await);
    let mut arrivals = b.arrivals().unwrap();
    let stored = enqueue(&a, 2).await;
    assert_eq!(within(arrivals.recv()).await, Some(device(2)));
    assert_eq!(queued(&*b, &device(2)).await, [stored.seq]);
    assert_eq!(a.backlogs(), []);
    assert!(b.next_seq() > stored.seq);
    let settled = b.settle(&device(2), stored.seq, delivered(&stored));
    settled.await.unwrap();
    assert_eq!(in_stream(&server, 2).await, [0; 0]);
    assert_eq!(b.backlogs(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uplink_of_which_nobody_tells_is_found_all_the_same() {
    let server = TestServer::start().await;
    let (first, second) = (Share::of(&[]), Share::of(&[2]));
    let (a, b) = (open(&server, &first).await, open(&server, &second).await);
    let mut arrivals = b.arrivals().unwrap();
    let mut stored = Vec::new();
    for asked in [false, true] {
        let offered = uplink(&device(2), a.next_seq(), b"x");
        publish_untold(&a, &offered).await;
        stored.push(offered.seq);
        if asked {
            b.look(offered.id).await.unwrap();
            assert_eq!(queued(&*b, &device(2)).await, stored);
        } else {
            // Every half minute.
            b.core.to_writer.send(Order::CheckForNew).ok().unwrap();
        }
        assert_eq!(within(arrivals.recv()).await, Some(device(2)));
        assert_eq!(queued(&*b, &device(2)).await, stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uplink_that_is_known_is_not_looked_for() {
    let mut server = TestServer::start().await;
    let (first, second) = (Share::of(&[]), Share::of(&[2]));
    let (a, b) = (open(&server, &first).await, open(&server, &second).await);
    let mut arrivals = b.arrivals().unwrap();
    let settled = enqueue(&a, 2).await;
    within(arrivals.recv()).await.unwrap();
    let receipt = delivered(&settled);
    b.settle(&device(2), settled.seq, receipt).await.unwrap();
    let waiting = enqueue(&a, 2).await;
    within(arrivals.recv()).await.unwrap();
    // A look needs the server.
    server.kill9();
    until("read-only", || b.health() != Health::Writable).await;
    assert_eq!(b.look(waiting.id).await, Ok(()));
    assert_eq!(b.look(settled.id).await, Ok(()));
    let unknown = b.look(UplinkId::new()).await;
    assert!(
        matches!(unknown, Err(StoreError::Unavailable { .. })),
        "{unknown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_goes_from_one_to_the_other_with_all_that_waits() {
    let server = TestServer::start().await;
    let (first, second) = (Share::of(&[1, 2]), Share::of(&[3]));
    let (a, b) = (open(&server, &first).await, open(&server, &second).await);
    let mut arrivals = b.arrivals().unwrap();
    let mut waiting = Vec::new();
    for number in 0..100 {
        let stored = enqueue(&a, 1).await;
        if number % 3 == 0 {
            a.settle(&device(1), stored.seq, delivered(&stored))
                .await
                .unwrap();
        } else {
            waiting.push(stored);
        }
    }
    let other = enqueue(&a, 2).await;
    let in_flight = waiting.remove(0);
    // One is handed over in the moment of the move.
    let settled = a.settle(&device(1), in_flight.seq, delivered(&in_flight));
    first.leave(1);
    a.rescan().await.unwrap();
    settled.await.unwrap();
    assert_eq!(a.backlog(&device(1)), None);
    assert_eq!(queued(&*a, &device(2)).await, [other.seq]);
    // Nobody holds it for a moment.
    let fallback = enqueue(&a, 1).await;
    second.take(1);
    b.rescan().await.unwrap();
    assert_eq!(within(arrivals.recv()).await, Some(device(1)));
    let mut expected: Vec<u64> = waiting.iter().map(|uplink| uplink.seq).collect();
    expected.push(fallback.seq);
    assert_eq!(queued(&*b, &device(1)).await, expected);
    // What the new holder stores comes behind all of it.
    for _ in 0..5 {
        expected.push(enqueue(&b, 1).await.seq);
    }
    assert!(expected.is_sorted_by(|a, b| a < b));
    assert_eq!(queued(&*b, &device(1)).await, expected);
    let read = b.read(&device(1), None, crate::store::testing::ALL);
    for uplink in read.await.unwrap() {
        b.settle(&device(1), uplink.seq, delivered(&uplink))
            .await
            .unwrap();
    }
    assert_eq!(b.backlogs(), []);
    assert_eq!(in_stream(&server, 1).await, [0; 0]);
    assert_eq!(in_stream(&server, 2).await, [other.seq]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_of_a_later_holder_are_larger_whatever_the_clocks_say() {
    let server = TestServer::start().await;
    let (first, second) = (Share::of(&[1]), Share::of(&[]));
    let (a, b) = (open(&server, &first).await, open(&server, &second).await);
    // Its clock is years ahead.
    a.core.numbers.beyond(a.next_seq() + (1 << 60));
    let ahead = enqueue(&a, 1).await;
    first.leave(1);
    second.take(1);
    b.rescan().await.unwrap();
    let behind = enqueue(&b, 1).await;
    assert!(behind.seq > ahead.seq);
    assert_eq!(queued(&*b, &device(1)).await, [ahead.seq, behind.seq]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_one_are_seen_and_told_by_the_other() {
    let mut server = TestServer::start().await;
    let (a, b) = (
        server.open(Limits::default()).await,
        server.open(Limits::default()).await,
    );
    let mut changes = b.changes().unwrap();
    for round in 0..2u8 {
        let put = a.put_record(RecordKind::Device, "pump 1", vec![round]);
        put.await.unwrap();
        let change = within(changes.recv()).await.unwrap();
        assert_eq!((change.kind, &*change.key), (RecordKind::Device, "pump 1"));
        let read = b.record(RecordKind::Device, "pump 1").await.unwrap();
        assert_eq!(read, Some(vec![round]));
        let listed = b.records(RecordKind::Device, None, 9).await.unwrap();
        assert_eq!(listed.len(), 1);
        let removed = a.delete_record(RecordKind::Device, "pump 1").await;
        assert_eq!(removed, Ok(true));
        within(changes.recv()).await.unwrap();
        let read = b.record(RecordKind::Device, "pump 1").await.unwrap();
        assert_eq!(read, None);
        // Over a loss as well.
        server.kill9();
        until("read-only", || b.health() != Health::Writable).await;
        server.restart().await;
        for store in [&a, &b] {
            until("writable", || store.health() == Health::Writable).await;
        }
    }
}

/// Appends downlinks until told to, and gives the cursors of those that were taken.
async fn append_all(store: Arc<Nats>, number: usize, end: Arc<tokio::sync::Notify>) -> Vec<u64> {
    let (mut cursors, ended) = (Vec::new(), end.notified());
    tokio::pin!(ended);
    loop {
        let batch = (0..3).map(|_| downlink(&device(number), b"x")).collect();
        tokio::select! {
            biased;
            () = &mut ended => return cursors,
            stored = store.append(batch) => match stored {
                Ok(stored) => cursors.extend(stored),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            },
        }
    }
}

async fn collect(mut follow: Follow, into: Arc<Mutex<Vec<StoredDownlink>>>) {
    while let Some(stored) = follow.recv().await {
        into.lock().unwrap().push(stored);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downlinks_of_both_are_followed_by_both_in_one_order_over_a_kill() {
    let mut server = TestServer::start().await;
    let stores = [
        server.open(Limits::default()).await,
        server.open(Limits::default()).await,
    ];
    let seen: [Arc<Mutex<Vec<StoredDownlink>>>; 2] = Default::default();
    for (store, seen) in stores.iter().zip(&seen) {
        tokio::spawn(collect(store.follow().unwrap(), Arc::clone(seen)));
    }
    let end = Arc::new(tokio::sync::Notify::new());
    let writers = stores.iter().zip(1..);
    let writers = writers.map(|(store, number)| {
        tokio::spawn(append_all(Arc::clone(store), number, Arc::clone(&end)))
    });
    let writers: Vec<_> = writers.collect();
    for round in 1..=3 {
        let count = || seen[0].lock().unwrap().len();
        until("traffic", || count() > round * 100).await;
        server.kill9();
        until("read-only", || stores[0].health() != Health::Writable).await;
        server.restart().await;
        for store in &stores {
            until("writable", || store.health() == Health::Writable).await;
        }
    }
    // One alone loses its connection, while the other goes on.
    for _ in 0..5 {
        let conn = stores[0].core.link.conn();
        conn.lost.cancel();
        until("another connection", || {
            stores[0].core.link.number() > conn.number
        })
        .await;
        until("writable", || stores[0].health() == Health::Writable).await;
    }
    end.notify_waiters();
    let mut taken = Vec::new();
    for writer in writers {
        taken.extend(within(writer).await.unwrap());
    }
    taken.sort_unstable();
    let last = *taken.last().unwrap();
    let cursors = |number: usize| -> Vec<u64> {
        let seen = seen[number].lock().unwrap();
        seen.iter().map(|stored| stored.cursor).collect()
    };
    for number in [0, 1] {
        until("all was followed", || cursors(number).last() >= Some(&last)).await;
    }
    let common = cursors(0).len().min(cursors(1).len());
    assert_eq!(cursors(0)[..common], cursors(1)[..common]);
    assert!(cursors(0).is_sorted_by(|a, b| a < b));
    let followed: HashSet<u64> = cursors(0).into_iter().collect();
    let missing = taken.iter().filter(|cursor| !followed.contains(cursor));
    assert_eq!(missing.count(), 0);
}

/// A process's hub, with the task that feeds it.
fn hub(store: &Arc<Nats>) -> (Arc<Hub>, downlink::Intake) {
    let history = Arc::clone(store) as Arc<dyn DownlinkHistory>;
    let hub = Arc::new(Hub::with_history(downlink::Limits::CACHE, history));
    let (intake, writer) = downlink::intake(&hub);
    tokio::spawn(writer.run());
    (hub, intake)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_goes_on_with_the_other_where_it_was() {
    let server = TestServer::start().await;
    let (a, b) = (
        server.open(Limits::default()).await,
        server.open(Limits::default()).await,
    );
    let ((hub_a, intake_a), (hub_b, intake_b)) = (hub(&a), hub(&b));
    let devices = || [device(1), device(2)];
    let mut listener = hub_a.subscribe(devices(), None, After::Now);
    let take = async |intake: &downlink::Intake, number: usize| {
        let one = vec![downlink(&device(number), b"x")];
        intake.accept(one.into()).await.unwrap();
    };
    let mut seen: Vec<Cursor> = Vec::new();
    let read = async |listener: &mut downlink::Subscription, count: usize| {
        let mut cursors = Vec::new();
        while cursors.len() < count {
            match within(listener.next()).await {
                Delivery::Event(event) => cursors.push(event.cursor()),
                other => panic!("{other:?}"),
            }
        }
        cursors
    };
    // Of both, although it listens to one.
    for _ in 0..10 {
        take(&intake_a, 1).await;
        take(&intake_b, 2).await;
    }
    seen.extend(read(&mut listener, 20).await);
    let position = listener.position().unwrap();
    drop(listener);
    for _ in 0..5 {
        take(&intake_a, 1).await;
        take(&intake_b, 2).await;
    }
    let mut listener = hub_b.subscribe(devices(), None, After::Cursor(position));
    seen.extend(read(&mut listener, 10).await);
    take(&intake_a, 1).await;
    seen.extend(read(&mut listener, 1).await);
    assert!(seen.is_sorted_by(|a, b| a < b));
    // All of them, as the history has them.
    let everything = hub_a.subscribe(devices(), None, After::Earliest);
    let all: Vec<Cursor> = within(async {
        let events = futures_util::stream::unfold(everything, async |mut listener| match listener
            .present()
            .await
        {
            Some(Delivery::Event(event)) => Some((event.cursor(), listener)),
            _ => None,
        });
        events.collect().await
    })
    .await;
    until_async("both have all", async || hub_a.listeners() == 0).await;
    assert_eq!(seen, all);
}
