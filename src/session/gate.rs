//! How fast all sessions together may connect: so many a second, so many at once, and who comes first.
//!
//! A session for which somebody waits, or that has a backlog, comes before those that nobody needs at the moment: after a
//! replica's end or an outage there may be thousands of these. Each in its order; of [`ROUND`] turns one is for who has
//! waited longest, so that nobody waits for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// One of so many turns is for who has waited longest, needed or not.
const ROUND: u32 = 4;
/// The last one.
const LONGEST: u32 = ROUND - 1;
/// How late a turn may be without moving those behind it: a timer has a millisecond's grain, and an interval may be shorter.
const GRAIN: Duration = Duration::from_millis(2);

/// The limit on connects that all sessions share.
#[derive(Debug)]
pub struct ConnectGate {
    interval: Duration,
    at_once: Arc<Semaphore>,
    line: Mutex<Line>,
}

/// Who waits.
#[derive(Debug)]
struct Line {
    /// No turn is before this.
    next: Instant,
    /// In the order in which they came.
    all: VecDeque<Waiting>,
    /// Those that are needed, in the order in which they became so. They stay in the other line, too.
    needed: VecDeque<Waiting>,
    /// Turns that were given.
    turns: u32,
    /// Whether somebody gives out turns.
    is_served: bool,
}

/// One of them: whoever finds it first in one of the two lines gives it its turn.
#[derive(Debug, Clone)]
struct Waiting(Arc<Mutex<Option<oneshot::Sender<OwnedSemaphorePermit>>>>);

/// A place in the line. It is given up by dropping it.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<ConnectGate>,
    waiting: Waiting,
    is_needed: bool,
    turn: oneshot::Receiver<OwnedSemaphorePermit>,
}

impl ConnectGate {
    /// At the most `per_second` connects begun in a second, and `at_once` under way. Both at least 1.
    pub fn new(per_second: u32, at_once: usize) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            at_once: Arc::new(Semaphore::new(at_once.max(1))),
            line: Mutex::new(Line {
                next: Instant::now(),
                all: VecDeque::new(),
                needed: VecDeque::new(),
                turns: 0,
                is_served: false,
            }),
        }
    }

    /// Takes a place in the line; its turn lasts until the permit is dropped.
    pub(super) fn queue(self: &Arc<Self>) -> Place {
        let (sender, turn) = oneshot::channel();
        let waiting = Waiting(Arc::new(Mutex::new(Some(sender))));
        let mut line = self.line();
        line.all.push_back(waiting.clone());
        if !std::mem::replace(&mut line.is_served, true) {
            tokio::spawn(Arc::clone(self).serve());
        }
        drop(line);
        Place {
            gate: Arc::clone(self),
            waiting,
            is_needed: false,
            turn,
        }
    }

    /// Gives out turns until nobody waits any more.
    async fn serve(self: Arc<Self>) {
        loop {
            let Ok(permit) = Arc::clone(&self.at_once).acquire_owned().await else {
                return;
            };
            let next = self.line().next;
            tokio::time::sleep_until(next).await;
            let mut line = self.line();
            if line.give(permit).is_none() {
                line.is_served = false;
                return;
            }
            // Not what nobody used, as after a time without connects.
            line.next = next.max(Instant::now() - GRAIN) + self.interval;
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Gives a turn to whose it is; `None` when nobody waits.
    fn give(&mut self, mut permit: OwnedSemaphorePermit) -> Option<()> {
        loop {
            let (first, second) = match self.turns % ROUND {
                LONGEST => (&mut self.all, &mut self.needed),
                _ => (&mut self.needed, &mut self.all),
            };
            let waiting = first.pop_front().or_else(|| second.pop_front())?;
            let Some(sender) = waiting.take() else {
                continue;
            };
            match sender.send(permit) {
                Ok(()) => {
                    self.turns = self.turns.wrapping_add(1);
                    return Some(());
                }
                // It has gone.
                Err(unused) => permit = unused,
            }
        }
    }
}

impl Waiting {
    fn take(&self) -> Option<oneshot::Sender<OwnedSemaphorePermit>> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sender.take()
    }
}

impl Place {
    /// Waits for the turn; `None` when nobody gives one any more. Cancel-safe.
    pub(super) async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        (&mut self.turn).await.ok()
    }

    /// Somebody waits for this session from now on.
    pub(super) fn hurry(&mut self) {
        if !std::mem::replace(&mut self.is_needed, true) {
            let waiting = self.waiting.clone();
            self.gate.line().needed.push_back(waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which order these get their turns, by their numbers.
    async fn order(places: Vec<Place>) -> Vec<usize> {
        let (sender, mut turns) = tokio::sync::mpsc::unbounded_channel();
        for (number, mut place) in places.into_iter().enumerate() {
            let sender = sender.clone();
            tokio::spawn(async move {
                drop(place.turn().await.unwrap());
                sender.send(number).unwrap();
            });
        }
        drop(sender);
        let mut order = Vec::new();
        while let Some(number) = turns.recv().await {
            order.push(number);
        }
        order
    }

    #[tokio::test(start_paused = true)]
    async fn connects_are_spread() {
        let gate = Arc::new(ConnectGate::new(10, 100));
        let start = Instant::now();
        for _ in 0..11 {
            drop(gate.queue().turn().await);
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn intervals_may_be_shorter_than_a_timers_grain() {
        let gate = Arc::new(ConnectGate::new(10_000, 100));
        // What nobody used meanwhile is not made up for.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..10_000 {
            drop(gate.queue().turn().await);
        }
        let grains = start.elapsed().as_millis().abs_diff(1000);
        assert!(grains <= 3, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_connect_at_once() {
        let gate = Arc::new(ConnectGate::new(1000, 2));
        let (first, second) = (gate.queue().turn().await, gate.queue().turn().await);
        let mut third = gate.queue();
        let waiting = tokio::time::timeout(Duration::from_secs(60), third.turn());
        assert!(waiting.await.is_err());
        drop((first, second));
        assert!(third.turn().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_needed_comes_first_and_nobody_waits_for_ever() {
        let gate = Arc::new(ConnectGate::new(10, 100));
        let mut places: Vec<_> = (0..12).map(|_| gate.queue()).collect();
        for needed in [11, 7, 8, 9, 10] {
            places[needed].hurry();
            places[needed].hurry();
        }
        let order = order(places).await;
        assert_eq!(order, [11, 7, 8, 0, 9, 10, 1, 2, 3, 4, 5, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_gone_takes_no_turn() {
        let gate = Arc::new(ConnectGate::new(10, 1));
        let mut places: Vec<_> = (0..100).map(|_| gate.queue()).collect();
        for place in &mut places[..50] {
            place.hurry();
        }
        let last = places.split_off(99);
        drop(places);
        let start = Instant::now();
        assert_eq!(order(last).await, [0]);
        assert_eq!(start.elapsed(), Duration::ZERO);
        // Whoever comes when nobody waited any more is served, too.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(order(vec![gate.queue()]).await, [0]);
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
