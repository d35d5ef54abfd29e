//! What a hub keeps in memory: how much of it, of which topics, and what a listener is told of the rest.

use super::*;
use crate::topic::TopicFilter;

#[test]
fn a_listener_reads_from_where_it_says() {
    let hub = hub(10);
    let cursors: Vec<_> = (0..4).map(|n| accept(&hub, n % 2)).collect();
    assert_eq!(cursors, [raw(1), raw(2), raw(3), raw(4)]);
    assert_eq!(drain(&mut listen(&hub, &[0, 1], After::Now)).0, []);
    assert_eq!(
        drain(&mut listen(&hub, &[0, 1], After::Earliest)),
        (cursors, vec![])
    );
    let mut second = listen(&hub, &[0], After::Cursor(raw(1)));
    assert_eq!(drain(&mut second), (vec![raw(3)], vec![]));
    accept(&hub, 1);
    assert_eq!(drain(&mut second).0, []);
    assert_eq!(
        second.position(),
        Some(raw(5)),
        "another device's event moves the position"
    );
}

#[test]
fn a_listener_that_comes_from_a_faster_replica_waits_for_what_is_behind() {
    let limits = Limits::default();
    let hub = Arc::new(Hub::starting_at(limits, None, Cursor::from_raw(START)).followed());
    let mut ahead = listen(&hub, &[0], After::Cursor(raw(2)));
    accept_many(&hub, 2);
    assert_eq!(drain(&mut ahead), (vec![], vec![]));
    accept_many(&hub, 2);
    assert_eq!(drain(&mut ahead), (vec![raw(3), raw(4)], vec![]));
    let mut elsewhere = listen(&hub, &[0], After::Cursor(raw(2_000_000)));
    assert_eq!(
        drain(&mut elsewhere).1.len(),
        1,
        "a cursor of another store"
    );
}

#[test]
fn a_gap_names_what_may_be_missing() {
    let hub = hub(2);
    accept_many(&hub, 5);
    accept(&hub, 1);
    let gap = |device: Option<usize>, after, next| Gap {
        device: device.map(self::device),
        after,
        next,
    };
    let (events, gaps) = drain(&mut listen(&hub, &[0, 1], After::Cursor(raw(1))));
    assert_eq!(events, [raw(4), raw(5), raw(6)]);
    assert_eq!(gaps, [gap(Some(0), Some(raw(1)), raw(4))]);
    // From an earlier run of the process: it may concern every device.
    let before = Cursor::from_raw(START - 1);
    let (events, gaps) = drain(&mut listen(&hub, &[0, 1], After::Cursor(before)));
    assert_eq!(events, [raw(4), raw(5), raw(6)]);
    assert_eq!(gaps, [gap(None, Some(before), raw(4))]);
    for unknown in [After::Unknown, After::Cursor(raw(100))] {
        let (events, gaps) = drain(&mut listen(&hub, &[0], unknown));
        assert_eq!(events, [raw(4), raw(5)]);
        assert_eq!(gaps, [gap(Some(0), None, raw(4))]);
    }
    let (_, gaps) = drain(&mut listen(&hub, &[0], After::Cursor(raw(3))));
    assert_eq!(gaps, [], "event 4 is the next one, and it is there");
}

#[test]
fn a_gap_in_json() {
    let mut gap = Gap {
        device: Some(device(0)),
        after: None,
        next: raw(4),
    };
    let json = |gap: &Gap| serde_json::to_string(gap).unwrap();
    assert_eq!(
        json(&gap),
        r#"{"device":"d0","after":null,"next":"1000004"}"#
    );
    gap.device = None;
    gap.after = Some(raw(1));
    assert_eq!(json(&gap), r#"{"after":"1000001","next":"1000004"}"#);
}

#[test]
fn a_listener_that_fell_off_is_told_and_finds_its_gap() {
    let hub = hub(2);
    let mut slow = listen(&hub, &[0, 1], After::Now);
    accept(&hub, 1);
    accept_many(&hub, 3);
    assert!(matches!(try_next(&mut slow), Some(Delivery::Behind)));
    let again = After::Cursor(slow.position().unwrap());
    let (events, gaps) = drain(&mut listen(&hub, &[0, 1], again));
    assert_eq!(events, [raw(1), raw(3), raw(4)]);
    assert_eq!(gaps.len(), 1);
}

#[test]
fn the_window_is_bounded_by_bytes_and_keeps_the_latest() {
    let limits = Limits {
        bytes: 2000,
        ..Limits::default()
    };
    let hub = Arc::new(Hub::starting_at(limits, None, Cursor::from_raw(START)));
    accept_many(&hub, 100);
    let kept = drain(&mut listen(&hub, &[0], After::Earliest)).0;
    assert!((1..10).contains(&kept.len()), "{} kept", kept.len());
    let large = hub.accept(&Downlink {
        device: device(0),
        topic: "".into(),
        payload: vec![0; 5000].into(),
        content_type: None,
        qos: Qos::AtMostOnce,
        retained: false,
        received_at: SystemTime::now(),
    });
    assert_eq!(drain(&mut listen(&hub, &[0], After::Earliest)).0, [large]);
}

#[test]
fn all_windows_together_are_bounded_and_the_oldest_events_go_first() {
    let limits = Limits {
        total_bytes: 10_000,
        ..Limits::default()
    };
    let hub = Arc::new(Hub::starting_at(limits, None, Cursor::from_raw(START)));
    let quiet = accept(&hub, 1);
    let all = |hub: &Arc<Hub>| drain(&mut listen(hub, &[0, 1, 2], After::Earliest)).0;
    for n in 0..5000 {
        accept(&hub, 2 * (n % 2));
        let kept = all(&hub);
        assert!(kept.len() < 50, "{} kept", kept.len());
        assert_eq!(kept.last(), Some(&raw(n as u64 + 2)));
        assert!(kept.windows(2).all(|pair| pair[0].next() == pair[1]));
    }
    let (_, gaps) = drain(&mut listen(&hub, &[1], After::Cursor(raw(0))));
    assert_eq!(gaps[0].next, quiet.next());
}

#[test]
fn topics_are_filtered() {
    let hub = hub(10);
    let topics = ["", "set", "set/a", "get/a"];
    for topic in topics {
        accept_on(&hub, 0, topic);
    }
    for (filter, expected) in [("#", 0..4), ("set/#", 1..3), ("+/a", 2..4), ("get", 0..0)] {
        let filter = TopicFilter::parse(filter).unwrap();
        let mut listener = hub.subscribe([device(0)], Some(filter), After::Earliest);
        let mut seen = Vec::new();
        while let Some(Delivery::Event(event)) = try_next(&mut listener) {
            seen.push(event.topic().to_owned());
        }
        assert_eq!(seen, topics[expected]);
        assert_eq!(listener.position(), Some(raw(4)));
    }
}

#[test]
fn a_dropped_listener_leaves_nothing_behind() {
    let hub = hub(10);
    let both = listen(&hub, &[0, 1], After::Now);
    let one = listen(&hub, &[0], After::Now);
    assert_eq!(hub.listeners(), 3);
    drop(both);
    drop(one);
    assert_eq!(hub.listeners(), 0);
}

#[tokio::test]
async fn a_waiting_listener_is_woken() {
    let hub = hub(10);
    let mut listener = listen(&hub, &[0, 1], After::Now);
    let waiting = tokio::spawn(async move { listener.next().await });
    tokio::task::yield_now().await;
    accept(&hub, 1);
    assert!(matches!(waiting.await.unwrap(), Delivery::Event(e) if e.cursor() == raw(1)));
}
