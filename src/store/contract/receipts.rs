//! Receipts: read while they wait, pruned when they are old or too many.

use super::*;
use crate::store::{MemoryLimits, ReceiptLimits};

fn receipt(completed_at: SystemTime) -> ReceiptRecord {
    ReceiptRecord {
        completed_at: Some(completed_at),
        reason: Some("no matching subscribers".into()),
        platform: Some("accepted".into()),
        ..delivered(&uplink(&device(1), 0, b""))
    }
}

async fn receipts_are_read_before_and_after_they_are_written(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
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

async fn receipts_that_wait_are_written_at_the_end(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    let last = receipt(now());
    fixture.store.put_receipts(vec![last.clone()]);
    fixture.reopen().await;
    assert_eq!(fixture.store.receipt(last.id).await, Ok(Some(last)));
}

async fn old_receipts_go_and_those_of_queued_uplinks_stay(kind: Kind) {
    let hour = Duration::from_secs(3600);
    let receipts = ReceiptLimits {
        age: hour,
        count: 3,
    };
    let memory = MemoryLimits::default();
    let fixture = Fixture::new(
        kind,
        Limits {
            receipts,
            memory,
            ..Limits::default()
        },
    )
    .await;
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
    until_async("the oldest are gone", async || {
        store.counters().receipts == 3 && store.receipt(new[0].id).await == Ok(None)
    })
    .await;
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

contract! {
    receipts_are_read_before_and_after_they_are_written,
    receipts_that_wait_are_written_at_the_end,
    old_receipts_go_and_those_of_queued_uplinks_stay,
}
