//! Uplinks that wait.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::{QueueLimits, StoreError};

async fn an_uplink_is_read_as_it_was_stored(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    let full = uplink(&device(1), fixture.store.next_seq(), b"\x00\xff{}");
    let bare = QueuedUplink {
        subtopic: None,
        content_type: None,
        expires_at: None,
        traceparent: None,
        retain: false,
        qos: Qos::AtMostOnce,
        ..uplink(&device(1), fixture.store.next_seq(), b"")
    };
    for uplink in [&full, &bare] {
        fixture.store.enqueue(uplink.clone(), None).await.unwrap();
    }
    for _ in 0..2 {
        let read = fixture.store.read(&device(1), None, ALL).await.unwrap();
        assert_eq!(read, [full.clone(), bare.clone()]);
        let receipt = fixture.store.receipt(full.id).await.unwrap();
        assert_eq!(receipt, Some(ReceiptRecord::queued(&full)));
        fixture.reopen().await;
    }
}

async fn a_queue_is_in_the_order_of_its_numbers(kind: Kind) {
    let fixture = Fixture::new(kind, Limits::default()).await;
    let store = &*fixture.store;
    for seq in [5, 1, 9, 3] {
        store
            .enqueue(uplink(&device(1), seq, b"x"), None)
            .await
            .unwrap();
    }
    store
        .enqueue(uplink(&device(2), 4, b"x"), None)
        .await
        .unwrap();
    assert_eq!(queued(store, &device(1)).await, [1, 3, 5, 9]);
    let limit = ReadLimit { count: 2, ..ALL };
    let some = store.read(&device(1), Some(1), limit).await.unwrap();
    assert_eq!(some.iter().map(|u| u.seq).collect::<Vec<_>>(), [3, 5]);
    let limit = ReadLimit { bytes: 0, ..ALL };
    let one = store.read(&device(1), Some(5), limit).await.unwrap();
    assert_eq!(one.iter().map(|u| u.seq).collect::<Vec<_>>(), [9]);
    assert_eq!(
        store.read(&device(1), Some(u64::MAX), ALL).await.unwrap(),
        []
    );
}

async fn a_settled_uplink_is_gone_at_once_and_has_its_receipt(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    let uplinks: Vec<_> = (1..=3).map(|seq| uplink(&device(1), seq, b"x")).collect();
    for uplink in &uplinks {
        fixture.store.enqueue(uplink.clone(), None).await.unwrap();
    }
    let oldest = fixture.store.backlog(&device(1)).unwrap().oldest;
    assert_eq!(oldest, uplinks[0].accepted_at);
    // Nobody waits for the answer.
    drop(fixture.store.settle(&device(1), 1, delivered(&uplinks[0])));
    assert_eq!(fixture.store.backlog(&device(1)).unwrap().count, 2);
    assert_eq!(queued(&*fixture.store, &device(1)).await, [2, 3]);
    let receipt = delivered(&uplinks[1]);
    let settled = fixture.store.settle(&device(1), 2, receipt.clone());
    settled.await.unwrap();
    let backlog = fixture.store.backlog(&device(1)).unwrap();
    assert_eq!((backlog.count, backlog.oldest), (1, uplinks[2].accepted_at));
    fixture.reopen().await;
    assert_eq!(fixture.store.backlog(&device(1)), Some(backlog));
    assert_eq!(queued(&*fixture.store, &device(1)).await, [3]);
    let found = fixture.store.receipt(uplinks[1].id).await.unwrap();
    assert_eq!(found, Some(receipt));
    let last = fixture.store.settle(&device(1), 3, delivered(&uplinks[2]));
    last.await.unwrap();
    assert_eq!(fixture.store.backlogs(), []);
    assert_eq!(fixture.store.counters().uplinks, Default::default());
}

async fn numbers_grow_beyond_everything_that_was_ever_stored(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    assert!(fixture.store.next_seq() < fixture.store.next_seq());
    let only = uplink(&device(1), 1000, b"x");
    fixture.store.enqueue(only.clone(), None).await.unwrap();
    let settled = fixture.store.settle(&device(1), 1000, delivered(&only));
    settled.await.unwrap();
    let last = fixture.store.next_seq();
    let given = uplink(&device(1), last, b"x");
    fixture.store.enqueue(given.clone(), None).await.unwrap();
    let settled = fixture.store.settle(&device(1), last, delivered(&given));
    settled.await.unwrap();
    fixture.reopen().await;
    assert!(fixture.store.next_seq() > last.max(1000));
}

async fn a_full_queue_takes_nothing_and_says_which_limit(kind: Kind) {
    let size = crate::store::format::encode_uplink(&uplink(&device(1), 1, b"0123456789")).len();
    let size = size as u64;
    let limits = QueueLimits {
        device_count: 3,
        device_bytes: 2 * size,
        total_count: 4,
        total_bytes: 3 * size,
    };
    for (limit, taken, word) in [
        (
            QueueLimits {
                device_bytes: u64::MAX,
                total_bytes: u64::MAX,
                ..limits
            },
            [3, 1],
            "many",
        ),
        (
            QueueLimits {
                device_count: u64::MAX,
                total_count: u64::MAX,
                ..limits
            },
            [2, 1],
            "bytes",
        ),
    ] {
        let uplinks = limit;
        let fixture = Fixture::new(
            kind,
            Limits {
                uplinks,
                ..Limits::default()
            },
        )
        .await;
        let store = &*fixture.store;
        for (number, taken) in taken.into_iter().enumerate() {
            for count in 0..5u64 {
                let offered = uplink(&device(number), store.next_seq(), b"0123456789");
                let id = offered.id;
                let answer = store.enqueue(offered, None).await;
                if count < taken {
                    assert_eq!(answer, Ok(()));
                    continue;
                }
                let Err(StoreError::Full { limit }) = answer else {
                    panic!("{answer:?}");
                };
                assert!(
                    limit.contains(word) && limit.contains("device") == (number == 0),
                    "{limit}"
                );
                assert_eq!(store.receipt(id).await, Ok(None));
            }
            assert_eq!(queued(store, &device(number)).await.len() as u64, taken);
        }
        let first = &store.read(&device(0), None, ALL).await.unwrap()[0];
        store
            .settle(&device(0), first.seq, delivered(first))
            .await
            .unwrap();
        let again = uplink(&device(0), store.next_seq(), b"0123456789");
        assert_eq!(store.enqueue(again, None).await, Ok(()));
    }
}

async fn a_device_is_discarded_with_receipts(kind: Kind) {
    let fixture = Fixture::new(kind, Limits::default()).await;
    let store = &*fixture.store;
    let uplinks: Vec<_> = (0..2500).map(|seq| uplink(&device(1), seq, b"x")).collect();
    let other = uplink(&device(2), 3000, b"x");
    let taken = uplinks.iter().chain([&other]);
    let taken = taken.map(|uplink| store.enqueue(uplink.clone(), None));
    for answer in futures_util::future::join_all(taken).await {
        answer.unwrap();
    }
    let reason = "the device was removed";
    let discarded = store.discard(&device(1), ReceiptStatus::Refused, reason.into());
    assert_eq!(discarded.await, Ok(2500));
    assert_eq!(store.backlog(&device(1)), None);
    assert_eq!(queued(store, &device(2)).await, [3000]);
    let receipt = store.receipt(uplinks[2499].id).await.unwrap().unwrap();
    assert_eq!(receipt.status, ReceiptStatus::Refused);
    assert_eq!(receipt.reason.as_deref(), Some(reason));
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue(usize, u64),
    Settle(usize, usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3usize, 0..40u64).prop_map(|(device, seq)| Step::Enqueue(device, seq)),
        3 => (0..3usize, any::<prop::sample::Index>())
            .prop_map(|(device, index)| Step::Settle(device, index.index(64))),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn queues_follow_the_model(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(follow(Kind::Embedded, steps));
    }
}

#[cfg(feature = "nats")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn queues_on_nats_follow_the_model(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(follow(Kind::Nats, steps));
    }
}

async fn follow(kind: Kind, steps: Vec<Step>) {
    let uplinks = QueueLimits {
        device_count: 6,
        total_count: 12,
        ..QueueLimits::default()
    };
    let mut fixture = Fixture::new(
        kind,
        Limits {
            uplinks,
            ..Limits::default()
        },
    )
    .await;
    let mut model: [BTreeMap<u64, QueuedUplink>; 3] = Default::default();
    for step in steps {
        match step {
            Step::Enqueue(number, seq) => {
                let total: usize = model.iter().map(BTreeMap::len).sum();
                if model[number].contains_key(&seq) {
                    continue;
                }
                let offered = uplink(&device(number), seq, &[0; 20]);
                let answer = fixture.store.enqueue(offered.clone(), None).await;
                assert_eq!(answer.is_ok(), model[number].len() < 6 && total < 12);
                if answer.is_ok() {
                    model[number].insert(seq, offered);
                }
            }
            Step::Settle(number, index) => {
                let Some(seq) = model[number].keys().nth(index % 6).copied() else {
                    continue;
                };
                let settled = model[number].remove(&seq).unwrap();
                drop(
                    fixture
                        .store
                        .settle(&device(number), seq, delivered(&settled)),
                );
            }
            Step::Reopen => fixture.reopen().await,
        }
        for (number, expected) in model.iter().enumerate() {
            let read = fixture
                .store
                .read(&device(number), None, ALL)
                .await
                .unwrap();
            assert!(read.iter().eq(expected.values()));
            let count = fixture
                .store
                .backlog(&device(number))
                .map_or(0, |b| b.count);
            assert_eq!(count, expected.len() as u64);
        }
    }
}

contract! {
    an_uplink_is_read_as_it_was_stored,
    a_queue_is_in_the_order_of_its_numbers,
    a_settled_uplink_is_gone_at_once_and_has_its_receipt,
    numbers_grow_beyond_everything_that_was_ever_stored,
    a_full_queue_takes_nothing_and_says_which_limit,
    a_device_is_discarded_with_receipts,
}
