//! A disk that is full, one that does not sync, and one whose power goes.

use std::collections::BTreeSet;

use super::super::writer::Times;
use super::disk::{Disk, Fault};
use super::*;
use crate::store::records::{Begun, KeyedAnswer};
use crate::store::{DownlinkHistory, Health, IdempotencyKeys, ReceiptLog, StoreError};

const TIMES: Times = Times {
    receipts: Duration::from_millis(1),
    prune: Duration::from_millis(50),
    retry: Duration::from_millis(1),
};

fn on(disk: &Disk) -> Arc<Embedded> {
    Arc::new(Embedded::with_file(disk.file(), Limits::default(), TIMES).unwrap())
}

/// Offers so many uplinks from several tasks at a time, and says which were taken and which were not.
async fn offer(store: &Arc<Embedded>, count: u64) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for _ in 0..count / 4 {
                    let seq = store.next_seq();
                    let offered = uplink(&device(number), seq, &[number as u8; 700]);
                    answers.push((seq, store.enqueue(offered, None).await));
                }
                answers
            })
        })
        .collect();
    let (mut taken, mut not) = (BTreeSet::new(), BTreeSet::new());
    for task in tasks {
        for (seq, answer) in task.await.unwrap() {
            match answer {
                Ok(()) => taken.insert(seq),
                Err(StoreError::Unavailable { .. }) => not.insert(seq),
                Err(error) => panic!("{error}"),
            };
        }
    }
    (taken, not)
}

async fn all_queued(store: &Embedded) -> BTreeSet<u64> {
    let mut all = BTreeSet::new();
    for number in 0..4 {
        all.extend(queued(store, &device(number)).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failing_disk_took_is_there_and_nothing_else() {
    for (fault, operations) in (0..24)
        .map(|n| (Fault::Writes, n * 3))
        .chain((0..12).map(|n| (Fault::Syncs, n)))
    {
        let disk = Disk::new();
        let store = on(&disk);
        let (before, none) = offer(&store, 8).await;
        assert!(none.is_empty());
        disk.fail_after(operations, fault);
        let (mut taken, not) = offer(&store, 40).await;
        assert!(!not.is_empty(), "the fault was never met");
        assert!(matches!(store.health(), Health::ReadOnly { .. }));
        taken.extend(before);
        assert_eq!(
            all_queued(&store).await,
            taken,
            "{fault:?} {operations}: while it fails"
        );
        disk.heal();
        until("writable", || store.health() == Health::Writable).await;
        assert_eq!(
            all_queued(&store).await,
            taken,
            "{fault:?} {operations}: after it"
        );
        let (more, none) = offer(&store, 8).await;
        assert!(none.is_empty());
        taken.extend(more);
        store.close().await.unwrap();
        let store = on(&disk);
        assert_eq!(
            all_queued(&store).await,
            taken,
            "{fault:?} {operations}: reopened"
        );
        let waiting: u64 = store
            .backlogs()
            .iter()
            .map(|(_, backlog)| backlog.count)
            .sum();
        assert_eq!(waiting, taken.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_during_an_outage_is_written_after_it() {
    for fault in [Fault::Writes, Fault::Syncs] {
        let disk = Disk::new();
        let store = on(&disk);
        let one = uplink(&device(0), store.next_seq(), b"x");
        store.enqueue(one.clone(), None).await.unwrap();
        let begun = store.begin(&device(0), "key", [0; 32]).await;
        assert_eq!(begun, Ok(Begun::New));
        disk.fail_after(0, fault);
        let (_, not) = offer(&store, 4).await;
        assert_eq!(not.len(), 4);

        let settled = store.settle(&device(0), one.seq, delivered(&one)).await;
        assert!(settled.is_err(), "it is not durable");
        assert_eq!(store.backlog(&device(0)), None, "and known all the same");
        assert!(queued(&*store, &device(0)).await.is_empty());
        let answer = KeyedAnswer {
            key: "key".into(),
            body: [0; 32],
            answer: Bytes::from_static(b"200"),
        };
        assert!(store.finish(&device(0), answer).await.is_err());
        let finished = Begun::Finished(Bytes::from_static(b"200"));
        let begun = store.begin(&device(0), "key", [0; 32]).await;
        assert_eq!(begun.as_ref(), Ok(&finished));
        let receipt = delivered(&uplink(&device(1), 0, b""));
        store.put_receipts(vec![receipt.clone()]);
        let appended = store.append(vec![downlink(&device(0), b"x")]).await;
        assert!(appended.is_err());

        disk.heal();
        until("writable", || store.health() == Health::Writable).await;
        store.close().await.unwrap();
        let store = on(&disk);
        assert_eq!(all_queued(&store).await, BTreeSet::new());
        let found = store.receipt(one.id).await.unwrap().unwrap();
        assert_eq!(found.status, ReceiptStatus::Delivered);
        assert_eq!(store.begin(&device(0), "key", [0; 32]).await, Ok(finished));
        assert_eq!(store.receipt(receipt.id).await, Ok(Some(receipt)));
        let page = store.history([device(0)].into(), 0, ALL).await.unwrap();
        assert!(page.events.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut() {
    let disk = Disk::new();
    let mut taken = BTreeSet::new();
    let mut cursors = BTreeSet::new();
    for round in 0..40 {
        let store = on(&disk);
        assert_eq!(store.health(), Health::Writable);
        assert!(
            all_queued(&store).await.is_superset(&taken),
            "round {round}"
        );
        let page = store.history([device(9)].into(), 0, ALL).await.unwrap();
        let there: BTreeSet<u64> = page.events.iter().map(|e| e.cursor).collect();
        assert!(there.is_superset(&cursors), "round {round}");
        let highest = taken.last().copied().unwrap_or(0);
        assert!(store.next_seq() > highest);
        disk.cut_after(5 + round * 2);
        while !disk.is_cut() {
            let appended = store.append(vec![downlink(&device(9), b"x")]);
            let (offered, appended) = tokio::join!(offer(&store, 8), appended);
            taken.extend(offered.0);
            cursors.extend(appended.unwrap_or_default());
        }
        disk.power_up(round);
    }
    assert!(taken.len() > 40, "{} were taken", taken.len());
}

#[tokio::test]
async fn what_is_old_goes_while_nothing_happens() {
    let limits = Limits {
        receipts: crate::store::ReceiptLimits {
            age: Duration::from_millis(1),
            count: 100,
        },
        ..Limits::default()
    };
    let disk = Disk::new();
    let store = Embedded::with_file(disk.file(), limits, TIMES).unwrap();
    store.put_receipts(vec![delivered(&uplink(&device(0), 0, b""))]);
    until("written", || store.counters().commits > 0).await;
    until("pruned", || store.counters().receipts == 0).await;
    let commits = store.counters().commits;
    tokio::time::sleep(4 * TIMES.prune).await;
    assert!(
        store.counters().commits <= commits + 1,
        "it writes without need"
    );
}

/// A full disk for real:
/// ```sh
/// mkdir /tmp/small && sudo mount -t tmpfs -o size=4m tmpfs /tmp/small
/// CAUSEWAY_STORE_SMALL=/tmp/small cargo test --lib a_full_file_system -- --ignored --nocapture
/// ```
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it needs a small file system of its own"]
async fn a_full_file_system() {
    let folder = std::env::var("CAUSEWAY_STORE_SMALL").unwrap();
    let (path, ballast) = (
        Path::new(&folder).join("store.redb"),
        Path::new(&folder).join("ballast"),
    );
    let _ = std::fs::remove_file(&path);
    std::fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let store = open(&path, Limits::default());
    let mut taken = BTreeSet::new();
    let mut refused = 0;
    while refused == 0 {
        let offered = offer(&store, 100).await;
        taken.extend(offered.0);
        refused += offered.1.len();
    }
    println!("full after {} uplinks: {:?}", taken.len(), store.health());
    assert_eq!(all_queued(&store).await, taken, "while it is full");
    // What is delivered makes room, even without any on the disk.
    for uplink in store.read(&device(0), None, ALL).await.unwrap() {
        drop(store.settle(&uplink.device, uplink.seq, delivered(&uplink)));
        taken.remove(&uplink.seq);
    }
    assert_eq!(all_queued(&store).await, taken, "settled while it is full");
    until("writable", || store.health() == Health::Writable).await;
    println!(
        "writable again with {} uplinks: {:?}",
        taken.len(),
        store.counters()
    );
    let mut more = 0;
    loop {
        let offered = offer(&store, 100).await;
        more += offered.0.len();
        taken.extend(offered.0);
        if !offered.1.is_empty() {
            break;
        }
    }
    println!("full again after {more} more");
    std::fs::remove_file(&ballast).unwrap();
    until("writable", || store.health() == Health::Writable).await;
    let (offered, refused) = offer(&store, 100).await;
    assert!(refused.is_empty(), "there is room");
    taken.extend(offered);
    store.close().await.unwrap();
    let store = open(&path, Limits::default());
    assert_eq!(all_queued(&store).await, taken, "opened again");
}
