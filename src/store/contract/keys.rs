//! Requests with an idempotency key.

use super::*;
use crate::store::records::{Begun, KeyedAnswer, Record, RecordKind};
use crate::store::{KeyLimits, Records};

const BODY: [u8; 32] = [1; 32];
const OTHER: [u8; 32] = [2; 32];

fn answer(key: &str) -> KeyedAnswer {
    KeyedAnswer {
        key: key.into(),
        body: BODY,
        answer: Bytes::from_static(b"200"),
    }
}

fn finished() -> Begun {
    Begun::Finished(Bytes::from_static(b"200"))
}

async fn begin(store: &dyn Engine, key: &str) -> Begun {
    store.begin(&device(1), key, BODY).await.unwrap()
}

async fn a_request_is_new_then_in_flight_then_finished(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    let other_body = |store: Arc<dyn Engine>| async move {
        let begun = store.begin(&device(1), "a", OTHER).await;
        assert_eq!(begun, Ok(Begun::OtherBody));
    };
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New);
    assert_eq!(begin(&*fixture.store, "a").await, Begun::InFlight);
    other_body(Arc::clone(&fixture.store)).await;
    let elsewhere = fixture.store.begin(&device(2), "a", OTHER).await;
    assert_eq!(elsewhere, Ok(Begun::New), "a key is one device's");
    let done = fixture.store.finish(&device(1), answer("a"));
    assert_eq!(begin(&*fixture.store, "a").await, finished(), "at once");
    done.await.unwrap();
    for _ in 0..2 {
        assert_eq!(begin(&*fixture.store, "a").await, finished());
        other_body(Arc::clone(&fixture.store)).await;
        fixture.reopen().await;
    }
}

async fn an_abandoned_key_is_free_and_so_is_one_after_a_restart(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New);
    fixture.store.abandon(&device(1), "a");
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New);
    fixture.reopen().await;
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New);
}

async fn a_queued_uplink_finishes_its_key(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New);
    let queued = uplink(&device(1), 1, b"x");
    let stored = fixture.store.enqueue(queued, Some(answer("a")));
    stored.await.unwrap();
    for _ in 0..2 {
        assert_eq!(begin(&*fixture.store, "a").await, finished());
        fixture.reopen().await;
    }
}

async fn the_last_answer_counts_before_it_is_written_and_after(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New);
    let earlier = KeyedAnswer {
        answer: Bytes::from_static(b"202"),
        ..answer("a")
    };
    let queued = uplink(&device(1), 1, b"x");
    let stored = fixture.store.enqueue(queued, Some(earlier));
    stored.await.unwrap();
    let done = fixture.store.finish(&device(1), answer("a"));
    assert_eq!(begin(&*fixture.store, "a").await, finished(), "at once");
    done.await.unwrap();
    fixture.reopen().await;
    assert_eq!(begin(&*fixture.store, "a").await, finished());
}

async fn of_many_who_try_again_and_again_one_is_new(kind: Kind) {
    let fixture = Fixture::new(kind, Limits::default()).await;
    for round in 0..100 {
        let tries = (0..8).map(|_| {
            let store = Arc::clone(&fixture.store);
            tokio::spawn(async move {
                let (key, mut new) = (format!("key {round}"), 0);
                loop {
                    match begin(&*store, &key).await {
                        Begun::New => new += 1,
                        Begun::InFlight => continue,
                        Begun::Finished(_) => return new,
                        Begun::OtherBody => panic!("it is the same body"),
                    }
                    // In both ways in which a request can end well.
                    if round % 2 == 0 {
                        drop(store.finish(&device(1), answer(&key)));
                    } else {
                        let queued = uplink(&device(1), store.next_seq(), b"x");
                        let stored = store.enqueue(queued, Some(answer(&key)));
                        stored.await.unwrap();
                    }
                }
            })
        });
        let new = futures_util::future::join_all(tries).await;
        let new: usize = new.into_iter().map(|new| new.unwrap()).sum();
        assert_eq!(new, 1);
    }
}

async fn keys_are_free_again_when_they_are_too_old_or_too_many(kind: Kind) {
    let with = |age, count| {
        let keys = KeyLimits { age, count };
        let limits = Limits {
            keys,
            ..Limits::default()
        };
        Fixture::new(kind, limits)
    };
    let fixture = with(Duration::ZERO, 100).await;
    fixture.store.finish(&device(1), answer("a")).await.unwrap();
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New, "too old");
    fixture.store.finish(&device(1), answer("b")).await.unwrap();
    fixture.store.finish(&device(1), answer("c")).await.unwrap();
    let store = Arc::clone(&fixture.store);
    until("they are removed", move || store.counters().keys < 3).await;

    let fixture = with(Duration::from_secs(3600), 2).await;
    for key in ["a", "b", "c"] {
        fixture.store.finish(&device(1), answer(key)).await.unwrap();
    }
    assert_eq!(begin(&*fixture.store, "a").await, Begun::New, "too many");
    assert_eq!(begin(&*fixture.store, "c").await, finished());
    let store = Arc::clone(&fixture.store);
    until("two are kept", move || store.counters().keys == 2).await;
}

async fn records_are_kept_by_kind_and_key(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    let key = |name: &str| Record {
        key: name.into(),
        value: name.as_bytes().to_vec(),
    };
    for name in ["c", "a", "b", ""] {
        let value = name.as_bytes().to_vec();
        let put = fixture
            .store
            .put_record(RecordKind::AccessToken, name, value);
        put.await.unwrap();
    }
    let put = fixture.store.put_record(RecordKind::Device, "z", vec![1]);
    put.await.unwrap();
    let put = fixture.store.put_record(RecordKind::Device, "z", vec![2]);
    put.await.unwrap();
    let delete = fixture.store.delete_record(RecordKind::AccessToken, "b");
    assert_eq!(delete.await, Ok(true));
    let delete = fixture.store.delete_record(RecordKind::AccessToken, "b");
    assert_eq!(delete.await, Ok(false));
    fixture.reopen().await;
    // As other parts hold it.
    let engine: Arc<dyn Engine> = fixture.store.clone();
    let store: Arc<dyn Records> = engine;
    let all = store.records(RecordKind::AccessToken, None, 10).await;
    assert_eq!(all, Ok(vec![key(""), key("a"), key("c")]));
    let some = store.records(RecordKind::AccessToken, Some(""), 1).await;
    assert_eq!(some, Ok(vec![key("a")]));
    let one = store.record(RecordKind::Device, "z").await;
    assert_eq!(one, Ok(Some(vec![2])));
    assert_eq!(store.record(RecordKind::Key, "z").await, Ok(None));
}

contract! {
    a_request_is_new_then_in_flight_then_finished,
    an_abandoned_key_is_free_and_so_is_one_after_a_restart,
    a_queued_uplink_finishes_its_key,
    the_last_answer_counts_before_it_is_written_and_after,
    of_many_who_try_again_and_again_one_is_new,
    keys_are_free_again_when_they_are_too_old_or_too_many,
    records_are_kept_by_kind_and_key,
}
