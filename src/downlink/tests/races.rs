//! Many that produce and many that listen at the same time: each sees everything once and in order, or a gap.

use super::fake::{Conduct, Fake};
use super::front::{Front, downlinks};
use super::seen::Seen;
use super::*;

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
        let produced = all
            .iter()
            .map(|(cursor, number)| (*cursor, device(*number)));
        let missing = reader.await.unwrap().check(devices, produced);
        assert!(window < EACH || missing == 0);
    }
}

async fn read(hub: Arc<Hub>, devices: &'static [usize], breaks: usize) -> Seen {
    let mut seen = Seen::default();
    let mut listener = listen(&hub, devices, After::Cursor(raw(0)));
    let last = devices.iter().max().map(|device| last_of(*device));
    while seen.events.last() != last.as_ref() {
        let delivery = listener.next().await;
        let broken = match &delivery {
            Delivery::Event(_) => (seen.events.len() + 1) % breaks == 0,
            Delivery::Gap(_) => false,
            Delivery::Deleted { .. } | Delivery::Behind | Delivery::Unavailable => true,
        };
        seen.take(delivery);
        if broken {
            let position = listener.position().map_or(After::Earliest, After::Cursor);
            listener = listen(&hub, devices, position);
        }
    }
    seen
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
        let missing = reader.await.unwrap().check(devices, history.events());
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
