//! The same in front of a history: what is not in memory is read there, also after a restart, and nobody sees what is
//! not stored.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::fake::{Conduct, Fake};
use super::*;
use crate::store::DownlinkHistory;

/// A hub in front of a history, as it is after a start.
struct Front {
    hub: Arc<Hub>,
    intake: Intake,
    writer: JoinHandle<()>,
}

impl Front {
    fn new(history: &Arc<Fake>, window: usize) -> Self {
        let history = Arc::clone(history) as Arc<dyn DownlinkHistory>;
        let limits = Limits {
            events: window,
            ..Limits::default()
        };
        let hub = Arc::new(Hub::with_history(limits, history));
        let (intake, writer) = intake(&hub);
        Self {
            hub,
            intake,
            writer: tokio::spawn(writer.run()),
        }
    }

    async fn accept(&self, numbers: &[usize]) {
        self.intake.accept(downlinks(numbers)).await.unwrap();
    }

    fn listen(&self, after: After) -> Subscription {
        listen(&self.hub, &[0, 1], after)
    }

    async fn end(self) {
        drop(self.intake);
        self.writer.await.unwrap();
    }
}

fn downlinks(numbers: &[usize]) -> Arc<[Downlink]> {
    numbers.iter().map(|n| downlink(*n, "t")).collect()
}

/// Everything that is there.
async fn present(listener: &mut Subscription) -> (Vec<Cursor>, Vec<Gap>) {
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while let Some(delivery) = listener.present().await {
        match delivery {
            Delivery::Event(event) => events.push(event.cursor()),
            Delivery::Gap(gap) => gaps.push(gap),
            other => panic!("{other:?}"),
        }
    }
    (events, gaps)
}

fn raws(numbers: impl IntoIterator<Item = u64>) -> Vec<Cursor> {
    numbers.into_iter().map(raw).collect()
}

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

/// What a listener has seen over all its connections.
#[derive(Default)]
struct Seen {
    events: Vec<Cursor>,
    gaps: Vec<Gap>,
}

impl Seen {
    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Event(event) => self.events.push(event.cursor()),
            Delivery::Gap(gap) => self.gaps.push(gap),
            Delivery::Deleted { .. } | Delivery::Behind | Delivery::Unavailable => {}
        }
    }

    /// Every event once and in order, or covered by a gap. Returns how many are missing.
    fn check(&self, devices: &[usize], history: &Fake) -> usize {
        let in_order = self.events.is_sorted_by(|a, b| a < b);
        assert!(in_order, "twice or out of order: {:?}", self.events);
        let covered = |cursor: Cursor| {
            let covers =
                |gap: &Gap| gap.after.is_some_and(|after| after < cursor) && cursor < gap.next;
            self.gaps.iter().any(covers)
        };
        let devices: BTreeSet<_> = devices.iter().map(|n| device(*n)).collect();
        let (mut seen, mut missing) = (self.events.iter().peekable(), 0);
        for (cursor, device) in history.log() {
            let cursor = Cursor::from_raw(cursor);
            if devices.contains(&device) && seen.next_if_eq(&&cursor).is_none() {
                missing += 1;
                assert!(covered(cursor), "{cursor:?} was skipped without a gap");
            }
        }
        assert_eq!(seen.next(), None, "an event that nobody produced");
        missing
    }
}

/// Several sessions hand over, and again what was not taken, while listeners read, break off and come back.
async fn listeners_against_sessions(conduct: Conduct, window: usize) {
    const SESSIONS: usize = 4;
    const EACH: usize = 400;
    let history = Fake::new(START, conduct);
    let front = Front::new(&history, window);
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let intake = front.intake.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    let size = 1 + number % 4;
                    let devices: Vec<_> = (0..size).map(|n| (session + n + number) % 3).collect();
                    while intake.accept(downlinks(&devices)).await.is_err() {}
                }
            })
        })
        .collect();
    let finished = tokio_util::sync::CancellationToken::new();
    let sets: [&[usize]; 4] = [&[0], &[1, 2], &[0, 1, 2], &[2]];
    let readers: Vec<_> = sets
        .into_iter()
        .enumerate()
        .map(|(index, devices)| {
            let (hub, finished) = (Arc::clone(&front.hub), finished.clone());
            tokio::spawn(async move {
                let mut seen = Seen::default();
                let mut listener = listen(&hub, devices, After::Cursor(raw(0)));
                loop {
                    let delivery = tokio::select! {
                        delivery = listener.next() => Some(delivery),
                        () = finished.cancelled() => listener.present().await,
                    };
                    let Some(delivery) = delivery else { break };
                    // A gap leaves the position where it is, and is told again to one who comes back then.
                    let is_gap = matches!(delivery, Delivery::Gap(_));
                    seen.take(delivery);
                    if !is_gap && seen.events.len() % (1 + index * 40) == 0 {
                        let position = listener.position().map_or(After::Earliest, After::Cursor);
                        listener = listen(&hub, devices, position);
                    }
                }
                seen
            })
        })
        .collect();
    for session in sessions {
        session.await.unwrap();
    }
    finished.cancel();
    for (devices, reader) in sets.into_iter().zip(readers) {
        let missing = reader.await.unwrap().check(devices, &history);
        assert!(conduct.keep < usize::MAX || missing == 0);
    }
    front.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_with_a_small_window_and_a_slow_and_failing_history() {
    let conduct = Conduct {
        slow: true,
        failing: 20,
        ..Conduct::GOOD
    };
    listeners_against_sessions(conduct, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_history_has_lost_is_covered_by_gaps() {
    let conduct = Conduct {
        slow: true,
        failing: 20,
        keep: 20,
        ..Conduct::GOOD
    };
    listeners_against_sessions(conduct, 3).await;
}

#[derive(Debug, Clone)]
enum Step {
    Accept(Vec<usize>),
    Read(usize),
    Reconnect,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(0..2usize, 1..5).prop_map(Step::Accept),
        4 => (1..6usize).prop_map(Step::Read),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn any_interleaving_shows_every_event_once_or_a_gap(
        steps in steps(), window in 1..6usize, keep in 1..12usize, page in 1..4usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let history = Fake::new(START, Conduct { keep, page, ..Conduct::GOOD });
            let mut front = Front::new(&history, window);
            let mut listener = front.listen(After::Cursor(raw(0)));
            let mut seen = Seen::default();
            for step in steps.into_iter().chain([Step::Read(usize::MAX)]) {
                match step {
                    Step::Accept(devices) => front.accept(&devices).await,
                    Step::Read(count) => {
                        for _ in 0..count {
                            match listener.present().await {
                                Some(delivery) => seen.take(delivery),
                                None => break,
                            }
                        }
                    }
                    Step::Reconnect => {
                        listener = front.listen(After::Cursor(listener.position().unwrap_or(raw(0))));
                    }
                    Step::Restart => {
                        let position = listener.position().unwrap_or(raw(0));
                        front.end().await;
                        front = Front::new(&history, window);
                        listener = front.listen(After::Cursor(position));
                    }
                }
            }
            let missing = seen.check(&[0, 1], &history);
            // Exactly what is missing, unless the windows still had what the history had lost.
            if keep >= window {
                for gap in &seen.gaps {
                    let last = Cursor::from_raw(gap.next.to_raw() - 1);
                    assert!(!seen.events.contains(&last), "{gap:?} goes too far");
                }
                assert_eq!(seen.gaps.is_empty(), missing == 0, "{:?}", seen.gaps);
            }
        });
    }
}
