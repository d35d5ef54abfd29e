//! In front of a history: what is not in memory is read there, also after a restart, and nobody sees what is not stored.

use tokio::sync::Semaphore;

use super::fake::{Conduct, Fake};
use super::front::{Front, downlinks, present, raws};
use super::*;
use crate::topic::TopicFilter;

#[tokio::test]
async fn nobody_sees_what_is_not_stored_and_it_is_not_confirmed_before() {
    let history = Fake::new(START, Conduct::GOOD);
    history.gate.forget_permits(Semaphore::MAX_PERMITS);
    let front = Front::new(&history, 10);
    let mut listener = front.listen(After::Now);
    let mut earliest = front.listen(After::Earliest);
    let mut accepted = front.intake.accept(downlinks(&[0]));
    for _ in 0..20 {
        assert!((&mut accepted).now_or_never().is_none());
        assert_eq!(present(&mut listener).await.0, []);
        tokio::task::yield_now().await;
    }
    assert_eq!(present(&mut earliest).await.0, []);
    history.gate.add_permits(1);
    accepted.await.unwrap();
    assert_eq!(present(&mut listener).await, (raws([1]), vec![]));
    assert_eq!(present(&mut earliest).await, (raws([1]), vec![]));
}

#[tokio::test]
async fn what_could_not_be_stored_is_not_confirmed_and_not_seen() {
    let bad = Conduct {
        failing: 1,
        ..Conduct::GOOD
    };
    let history = Fake::new(START, bad);
    let front = Front::new(&history, 10);
    let mut listener = front.listen(After::Now);
    assert!(front.intake.accept(downlinks(&[0])).await.is_err());
    assert_eq!(present(&mut listener).await.0, []);
    front.end().await;
    // Good again, after a restart.
    let front = Front::new(&history.behaving(Conduct::GOOD), 10);
    front.accept(&[0]).await;
    let mut listener = front.listen(After::Earliest);
    assert_eq!(present(&mut listener).await, (raws([1]), vec![]));
}

#[tokio::test]
async fn what_was_handed_over_is_stored_and_seen_although_nobody_waits_for_it() {
    let history = Fake::new(START, Conduct::GOOD);
    history.gate.forget_permits(Semaphore::MAX_PERMITS);
    let front = Front::new(&history, 10);
    let mut listener = front.listen(After::Now);
    let mut accepted = front.intake.accept(downlinks(&[0, 1]));
    assert!((&mut accepted).now_or_never().is_none());
    drop(accepted);
    history.gate.add_permits(1);
    for number in [1, 2] {
        assert!(matches!(listener.next().await, Delivery::Event(e) if e.cursor() == raw(number)));
    }
    front.end().await;
}

#[tokio::test]
async fn a_listener_goes_on_after_a_restart_and_into_what_is_live() {
    let history = Fake::new(START, Conduct::GOOD);
    let front = Front::new(&history, 2);
    let mut listener = front.listen(After::Now);
    front.accept(&[0, 1]).await;
    assert_eq!(present(&mut listener).await.0, raws([1, 2]));
    let position = listener.position().unwrap();
    // Missed, and more than a page of them.
    for _ in 0..5 {
        front.accept(&[0, 1]).await;
    }
    front.end().await;

    let front = Front::new(&history, 2);
    let mut listener = front.listen(After::Cursor(position));
    let first = listener.present().await;
    assert!(matches!(first, Some(Delivery::Event(e)) if e.cursor() == raw(3)));
    // In the middle of the replay.
    front.accept(&[0, 0, 0, 1]).await;
    assert_eq!(present(&mut listener).await, (raws(4..=16), vec![]));
    front.accept(&[1]).await;
    assert_eq!(present(&mut listener).await, (raws([17]), vec![]));
    let mut earliest = front.listen(After::Earliest);
    assert_eq!(present(&mut earliest).await, (raws(1..=17), vec![]));
    let mut now = front.listen(After::Now);
    assert_eq!(present(&mut now).await, (vec![], vec![]));
}

#[tokio::test]
async fn a_slow_listener_finds_in_the_history_what_the_window_has_lost() {
    let history = Fake::new(START, Conduct::GOOD);
    let front = Front::new(&history, 1);
    let mut listener = front.listen(After::Now);
    for _ in 0..10 {
        front.accept(&[0, 1]).await;
    }
    assert_eq!(present(&mut listener).await, (raws(1..=20), vec![]));
}

#[tokio::test]
async fn what_has_fallen_off_is_told() {
    let short = Conduct {
        keep: 3,
        ..Conduct::GOOD
    };
    let history = Fake::new(START, short);
    let front = Front::new(&history, 1);
    front.accept(&[0; 10]).await;
    front.accept(&[1]).await;
    front.end().await;
    let front = Front::new(&history, 1);
    let gap = |after, next| Gap {
        device: None,
        after,
        next: raw(next),
    };
    let all = raws(8..=11);
    let cases = [
        (After::Earliest, vec![]),
        (After::Cursor(raw(7)), vec![]),
        (After::Cursor(raw(6)), vec![gap(Some(raw(6)), 8)]),
        (After::Cursor(raw(100)), vec![gap(None, 8)]),
        (After::Unknown, vec![gap(None, 8)]),
    ];
    for (after, gaps) in cases {
        assert_eq!(present(&mut front.listen(after)).await, (all.clone(), gaps));
    }
    // From a store that is gone.
    let before = Cursor::from_raw(START - 5);
    let mut listener = listen(&front.hub, &[1], After::Cursor(before));
    let gap = Gap {
        device: Some(device(1)),
        after: Some(before),
        next: raw(1),
    };
    assert_eq!(present(&mut listener).await, (raws([11]), vec![gap]));
}

#[tokio::test]
async fn a_gap_opens_while_a_listener_replays() {
    let short = Conduct {
        keep: 4,
        page: 2,
        ..Conduct::GOOD
    };
    let history = Fake::new(START, short);
    let front = Front::new(&history, 1);
    front.accept(&[0; 4]).await;
    let mut listener = listen(&front.hub, &[0], After::Cursor(raw(0)));
    let first = listener.present().await;
    assert!(matches!(first, Some(Delivery::Event(e)) if e.cursor() == raw(1)));
    front.accept(&[0; 6]).await;
    // Event 2 had been read before it fell off.
    let gap = Gap {
        device: Some(device(0)),
        after: Some(raw(2)),
        next: raw(7),
    };
    let expected = (raws([2, 7, 8, 9, 10]), vec![gap]);
    assert_eq!(present(&mut listener).await, expected);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_is_asked_again() {
    let history = Fake::new(START, Conduct::GOOD);
    let front = Front::new(&history, 1);
    front.accept(&[0, 0, 0]).await;
    front.end().await;
    let bad = Conduct {
        failing: 1,
        ..Conduct::GOOD
    };
    let front = Front::new(&history.behaving(bad), 1);
    let mut listener = front.listen(After::Cursor(raw(1)));
    for _ in 0..2 {
        let delivery = listener.next().await;
        assert!(matches!(delivery, Delivery::Unavailable), "{delivery:?}");
        assert_eq!(listener.position(), Some(raw(1)));
    }
}

#[tokio::test]
async fn topics_are_filtered_in_the_history_too() {
    let history = Fake::new(START, Conduct::GOOD);
    let front = Front::new(&history, 1);
    let topics = ["a", "b", "a", "b", "b", "b", "b", "a"];
    for topic in topics {
        let downlinks = [downlink(0, topic)].into();
        front.intake.accept(downlinks).await.unwrap();
    }
    let filter = TopicFilter::parse("a").unwrap();
    let mut listener = front
        .hub
        .subscribe([device(0)], Some(filter), After::Earliest);
    assert_eq!(present(&mut listener).await.0, raws([1, 3, 8]));
    assert_eq!(listener.position(), Some(raw(8)));
}
