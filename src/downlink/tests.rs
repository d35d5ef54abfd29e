//! What listeners see: every event once and in order, or a gap that covers what is missing.

mod fake;
mod stored;

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;

use proptest::prelude::*;

use super::*;
use crate::device::DeviceId;
use crate::message::{Downlink, Qos};
use crate::topic::TopicFilter;

const START: u64 = 1_000_000;

fn hub(events: usize) -> Arc<Hub> {
    let limits = Limits {
        events,
        bytes: usize::MAX,
        total_bytes: usize::MAX,
    };
    Arc::new(Hub::starting_at(limits, None, Cursor::from_raw(START)))
}

fn device(number: usize) -> DeviceId {
    DeviceId::parse(&format!("d{number}")).unwrap()
}

fn downlink(number: usize, topic: &str) -> Downlink {
    Downlink {
        device: device(number),
        topic: topic.into(),
        payload: bytes::Bytes::from_static(b"{}"),
        content_type: None,
        qos: Qos::AtLeastOnce,
        retained: false,
        received_at: SystemTime::now(),
    }
}

fn accept_on(hub: &Hub, number: usize, topic: &str) -> Cursor {
    hub.accept(&downlink(number, topic))
}

/// What is there; without a history, nothing has to be waited for.
fn try_next(subscription: &mut Subscription) -> Option<Delivery> {
    subscription.present().now_or_never().unwrap()
}

fn accept(hub: &Hub, number: usize) -> Cursor {
    accept_on(hub, number, "t")
}

fn accept_many(hub: &Hub, count: usize) {
    for _ in 0..count {
        accept(hub, 0);
    }
}

fn listen(hub: &Arc<Hub>, devices: &[usize], after: After) -> Subscription {
    hub.subscribe(devices.iter().map(|n| device(*n)), None, after)
}

/// Everything that is there: cursors of events, and gaps.
fn drain(subscription: &mut Subscription) -> (Vec<Cursor>, Vec<Gap>) {
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match try_next(subscription) {
            Some(Delivery::Event(event)) => events.push(event.cursor()),
            Some(Delivery::Gap(gap)) => gaps.push(gap),
            Some(end) => panic!("{end:?}"),
            None => return (events, gaps),
        }
    }
}

fn raw(number: u64) -> Cursor {
    Cursor::from_raw(START + number)
}

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

const DEVICES: usize = 3;
const PRODUCERS: usize = 4;
const EACH: usize = 3000;

/// Several threads produce while listeners read, break off and come back; at the end each has read everything that is
/// not covered by a gap, once and in order.
async fn listeners_against_producers(window: usize) {
    let hub = hub(window);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let hub = Arc::clone(&hub);
            std::thread::spawn(move || {
                (0..EACH)
                    .map(|n| (n * 7 + producer * n / 5) % DEVICES)
                    .map(|device| (accept(&hub, device), device))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let sets: [&[usize]; 4] = [&[0], &[1, 2], &[0, 1, 2], &[2]];
    let readers: Vec<_> = sets
        .into_iter()
        .enumerate()
        .map(|(breaks, devices)| tokio::spawn(read(Arc::clone(&hub), devices, 1 + breaks * 50)))
        .collect();
    let mut all: Vec<(Cursor, usize)> = Vec::new();
    for producer in producers {
        let produced = tokio::task::spawn_blocking(|| producer.join()).await;
        all.extend(produced.unwrap().unwrap());
    }
    all.sort();
    for device in 0..DEVICES {
        assert_eq!(accept(&hub, device), last_of(device));
        all.push((last_of(device), device));
    }
    for (devices, reader) in sets.into_iter().zip(readers) {
        let (seen, gaps) = reader.await.unwrap();
        assert!(seen.is_sorted_by(|a, b| a < b), "twice or out of order");
        let covered = |cursor: Cursor| {
            gaps.iter()
                .any(|gap| gap.after.is_some_and(|after| after < cursor) && cursor < gap.next)
        };
        let (mut seen, mut missing) = (seen.into_iter().peekable(), 0);
        for (cursor, _) in all.iter().filter(|(_, device)| devices.contains(device)) {
            if seen.next_if_eq(cursor).is_none() {
                missing += 1;
                assert!(covered(*cursor), "{cursor:?} was skipped without a gap");
            }
        }
        assert_eq!(seen.next(), None, "an event that nobody produced");
        assert!(window < EACH || missing == 0);
    }
}

async fn read(hub: Arc<Hub>, devices: &'static [usize], breaks: usize) -> (Vec<Cursor>, Vec<Gap>) {
    let (mut seen, mut gaps) = (Vec::new(), Vec::new());
    let mut listener = listen(&hub, devices, After::Cursor(raw(0)));
    let last = devices.iter().max().map(|device| last_of(*device));
    while seen.last() != last.as_ref() {
        let broken = match listener.next().await {
            Delivery::Event(event) => {
                seen.push(event.cursor());
                seen.len() % breaks == 0
            }
            Delivery::Gap(gap) => {
                gaps.push(gap);
                false
            }
            Delivery::Deleted { .. } | Delivery::Behind | Delivery::Unavailable => true,
        };
        if broken {
            let position = listener.position().map_or(After::Earliest, After::Cursor);
            listener = listen(&hub, devices, position);
        }
    }
    (seen, gaps)
}

/// The cursor of a device's last event, produced when the producers are at their end.
fn last_of(device: usize) -> Cursor {
    raw((PRODUCERS * EACH + 1 + device) as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_while_the_window_is_large_enough() {
    listeners_against_producers(PRODUCERS * EACH + DEVICES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_small_window_loses_is_covered_by_gaps() {
    listeners_against_producers(16).await;
}

#[derive(Debug, Clone)]
enum Step {
    Accept(usize),
    Read,
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2usize).prop_map(Step::Accept),
        3 => Just(Step::Read),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a hub and one listener should do, by keeping everything.
struct Model {
    window: usize,
    log: Vec<(Cursor, usize)>,
    position: Cursor,
    told: [Cursor; 2],
    gap: bool,
}

impl Model {
    /// The last event of a device that its window has lost.
    fn evicted(&self, device: usize) -> Cursor {
        let mut events = self.log.iter().rev().filter(|event| event.1 == device);
        events.nth(self.window).map_or(raw(0), |event| event.0)
    }

    fn connect(&mut self) {
        self.told = [self.evicted(0), self.evicted(1)];
        self.gap = self.told.iter().any(|told| *told > self.position);
    }

    fn is_behind(&self) -> bool {
        (0..2).any(|device| self.evicted(device) > self.position.max(self.told[device]))
    }

    fn next(&self) -> Option<Cursor> {
        let kept = |event: &&(Cursor, usize)| event.0 > self.evicted(event.1);
        let mut events = self.log.iter().filter(kept).map(|event| event.0);
        events.find(|cursor| *cursor > self.position)
    }
}

proptest! {
    #[test]
    fn reading_follows_the_model(steps in steps(), window in 1..6usize) {
        let hub = hub(window);
        let mut model = Model { window, log: vec![], position: raw(0), told: [raw(0); 2], gap: false };
        let mut listener = listen(&hub, &[0, 1], After::Cursor(raw(0)));
        for step in steps {
            match step {
                Step::Accept(device) => model.log.push((accept(&hub, device), device)),
                Step::Reconnect => {
                    listener = listen(&hub, &[0, 1], After::Cursor(model.position));
                    model.connect();
                }
                Step::Read => match try_next(&mut listener) {
                    Some(Delivery::Gap(gap)) => {
                        prop_assert!(std::mem::take(&mut model.gap));
                        prop_assert_eq!(gap.after, Some(model.position));
                        prop_assert_eq!(gap.next, model.told.into_iter().max().unwrap().next());
                    }
                    read if model.gap => prop_assert!(false, "{read:?} in place of a gap"),
                    Some(Delivery::Behind | Delivery::Unavailable) => prop_assert!(model.is_behind()),
                    read if model.is_behind() => prop_assert!(false, "{read:?} behind a loss"),
                    Some(Delivery::Event(event)) => {
                        prop_assert_eq!(Some(event.cursor()), model.next());
                        model.position = event.cursor();
                    }
                    Some(Delivery::Deleted { .. }) => prop_assert!(false, "nothing was deleted"),
                    None => {
                        prop_assert_eq!(model.next(), None);
                        model.position = model.log.last().map_or(raw(0), |event| event.0);
                    }
                },
            }
        }
    }
}

#[tokio::test]
async fn listeners_are_told_of_a_deleted_device_and_one_of_the_same_id_is_another_one() {
    let hub = hub(100);
    let mut both = listen(&hub, &[0, 1], After::Now);
    let mut one = listen(&hub, &[0], After::Now);
    accept(&hub, 0);
    hub.forget(&device(0));
    hub.forget(&device(0));
    let deleted = |delivery: Delivery| match delivery {
        Delivery::Deleted { device, last } => (device, last),
        other => panic!("{other:?}"),
    };
    assert_eq!(deleted(both.next().await), (device(0), false));
    assert_eq!(deleted(one.next().await), (device(0), true));
    accept(&hub, 0);
    let cursor = accept(&hub, 1);
    match both.next().await {
        Delivery::Event(event) => assert_eq!(event.cursor(), cursor),
        other => panic!("{other:?}"),
    }
    assert!(try_next(&mut one).is_none());
    assert_eq!(hub.listeners(), 1);
}

#[test]
fn a_device_that_is_dismissed_ends_its_listeners_and_tells_what_is_missing_when_it_is_back() {
    let hub = hub(10);
    let subscribe = |number, after| hub.subscribe([device(number)], None, after);
    let first = accept(&hub, 0);
    let mut listener = subscribe(0, After::Now);
    let mut other = subscribe(1, After::Now);
    accept(&hub, 0);
    hub.dismiss(&device(0));
    assert!(matches!(
        try_next(&mut listener),
        Some(Delivery::Deleted { last: true, .. })
    ));
    assert!(try_next(&mut other).is_none());
    // What came before is no longer in memory, and nothing is silently left out.
    let third = accept(&hub, 0);
    let mut back = subscribe(0, After::Cursor(first));
    assert!(matches!(try_next(&mut back), Some(Delivery::Gap(_))));
    let Some(Delivery::Event(event)) = try_next(&mut back) else {
        panic!("no event");
    };
    assert_eq!(event.cursor(), third);
    // One that nobody has listened to, and nothing has come for, is none.
    hub.dismiss(&device(7));
    assert!(try_next(&mut back).is_none());
}
