//! Receipts: read while they wait, dropped when too many do, pruned when they are old.

use super::super::waiting::{Urgency, WaitingReceipts};
use super::*;
use crate::store::{MemoryLimits, ReceiptLimits, ReceiptLog};

fn receipt(completed_at: SystemTime) -> ReceiptRecord {
    ReceiptRecord {
        completed_at: Some(completed_at),
        reason: Some("no matching subscribers".into()),
        platform: Some("accepted".into()),
        ..delivered(&uplink(&device(1), 0, b""))
    }
}

#[tokio::test]
async fn receipts_are_read_before_and_after_they_are_written() {
    let mut fixture = Fixture::new(Limits::default());
    let receipts: Vec<_> = (0..2500).map(|_| receipt(now())).collect();
    fixture.store.put_receipts(receipts.clone());
    for _ in 0..3 {
        for receipt in receipts.iter().step_by(500) {
            let found = fixture.store.receipt(receipt.id).await.unwrap();
            assert_eq!(found.as_ref(), Some(receipt));
        }
        let store = Arc::clone(&fixture.store);
        until("written", move || store.counters().receipts == 2500).await;
        fixture.reopen().await;
    }
    assert_eq!(fixture.store.receipt(UplinkId::new()).await, Ok(None));
}

#[tokio::test]
async fn receipts_that_wait_are_written_at_the_end() {
    let mut fixture = Fixture::new(Limits::default());
    let last = receipt(now());
    fixture.store.put_receipts(vec![last.clone()]);
    fixture.reopen().await;
    assert_eq!(fixture.store.receipt(last.id).await, Ok(Some(last)));
}

#[test]
fn when_too_many_wait_the_oldest_are_dropped_and_counted() {
    let waiting = WaitingReceipts::new(3);
    let receipts: Vec<_> = (0..6).map(|_| receipt(now())).collect();
    assert_eq!(waiting.put(receipts[..1].to_vec()), Urgency::First);
    assert_eq!(waiting.put(receipts[1..4].to_vec()), Urgency::Many);
    assert_eq!((waiting.len(), waiting.dropped()), (3, 1));
    assert_eq!(waiting.get(receipts[0].id), None);
    let taken = waiting.take();
    assert_eq!(taken, receipts[1..4]);
    assert_eq!(waiting.get(receipts[1].id).as_ref(), Some(&receipts[1]));
    assert_eq!(waiting.put(receipts[4..].to_vec()), Urgency::First);
    waiting.put_back(taken);
    assert_eq!((waiting.len(), waiting.dropped()), (3, 3));
    assert_eq!(waiting.take(), receipts[3..]);
    waiting.written();
    assert_eq!(waiting.get(receipts[5].id), None);
}

#[tokio::test]
async fn old_receipts_go_and_those_of_queued_uplinks_stay() {
    let hour = Duration::from_secs(3600);
    let receipts = ReceiptLimits {
        age: hour,
        count: 3,
    };
    let memory = MemoryLimits::default();
    let fixture = Fixture::new(Limits {
        receipts,
        memory,
        ..Limits::default()
    });
    let store = &fixture.store;
    let mut waits = uplink(&device(1), 1, b"x");
    waits.accepted_at = now() - 10 * hour;
    store.enqueue(waits.clone(), None).await.unwrap();
    let old = receipt(now() - 2 * hour);
    let new: Vec<_> = (0..4).map(|_| receipt(now())).collect();
    store.put_receipts([vec![old.clone()], new.clone()].concat());
    // Two transactions, one for what is written and one for what is pruned after it.
    for seq in [2, 3] {
        store
            .enqueue(uplink(&device(2), seq, b"x"), None)
            .await
            .unwrap();
    }
    assert_eq!(store.receipt(old.id).await, Ok(None), "too old");
    assert_eq!(store.receipt(new[0].id).await, Ok(None), "too many");
    for kept in &new[1..] {
        assert_eq!(
            store.receipt(kept.id).await.as_ref(),
            Ok(&Some(kept.clone()))
        );
    }
    assert!(store.receipt(waits.id).await.unwrap().is_some(), "it waits");
    assert_eq!(store.counters().receipts, 3);
    // Completed late, it is the youngest.
    store
        .settle(&device(1), 1, delivered(&waits))
        .await
        .unwrap();
    let found = store.receipt(waits.id).await.unwrap().unwrap();
    assert_eq!(found.status, ReceiptStatus::Delivered);
}
