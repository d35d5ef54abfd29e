//! What of a session's fortunes is worth a line in the log.
//!
//! A change is: trouble where all was well, other trouble than before, and the end of it. The same trouble again and
//! again, as through a night without a broker, is told less and less often; and a session whose trouble is another one
//! each time does not fill the log either.

use std::time::{Duration, Instant};

use crate::seldom::Pass;

/// How long the same trouble is not told again; doubled each time.
const FIRST_GAP: Duration = Duration::from_secs(10 * 60);
const LONGEST_GAP: Duration = Duration::from_secs(6 * 60 * 60);
/// Lines about trouble that may come at once, and how often there is another one.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(60);

/// What was told.
#[derive(Debug)]
pub(super) struct Telling {
    last: Option<Told>,
    /// Nothing was told of a connection since the start, or since trouble was.
    is_news: bool,
    left_out: u64,
    /// Lines that may come now, and since when that is so.
    room: u32,
    since: Option<Instant>,
}

#[derive(Debug)]
struct Told {
    what: Box<str>,
    at: Instant,
    gap: Duration,
}

impl Default for Telling {
    fn default() -> Self {
        Self {
            last: None,
            is_news: true,
            left_out: 0,
            room: BURST,
            since: None,
        }
    }
}

impl Telling {
    /// Whether trouble is told.
    pub(super) fn trouble(&mut self, what: &str, now: Instant) -> Option<Pass> {
        let again = self.last.as_ref().filter(|told| *told.what == *what);
        let gap = match again {
            Some(told) if now < told.at + told.gap => return self.leave_out(),
            Some(told) => (2 * told.gap).min(LONGEST_GAP),
            None => FIRST_GAP,
        };
        self.refill(now);
        if self.room == 0 {
            return self.leave_out();
        }
        self.room -= 1;
        self.is_news = true;
        self.last = Some(Told {
            what: what.into(),
            at: now,
            gap,
        });
        Some(Pass::after(std::mem::take(&mut self.left_out)))
    }

    /// Whether a connection is told: the first one, and one that ends trouble that was told.
    pub(super) fn connected(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// All was well for a good while: trouble is news again.
    pub(super) fn stable(&mut self) {
        self.last = None;
    }

    fn leave_out(&mut self) -> Option<Pass> {
        self.left_out = self.left_out.saturating_add(1);
        None
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let more = now.saturating_duration_since(since).as_secs() / REFILL.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.room = self.room.saturating_add(more).min(BURST);
        if more > 0 {
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_night_without_a_broker_is_a_few_lines() {
        let (mut telling, begin) = (Telling::default(), Instant::now());
        assert!(telling.connected(), "the first connection is news");
        let told: Vec<_> = (0..8 * 3600 / 30)
            .filter_map(|n| telling.trouble("refused", begin + seconds(30 * n)))
            .collect();
        // At once, and after 10, 30, 70, 150 and 310 minutes.
        assert_eq!(told, [0, 19, 39, 79, 159, 319].map(Pass::after));
        assert!(telling.connected());
        assert!(!telling.connected(), "a renewal is not news");
        // The same a little later is not news, unless all was well for a while.
        let later = begin + seconds(8 * 3600);
        assert_eq!(telling.trouble("refused", later), None);
        assert!(!telling.connected(), "nobody was told that it was gone");
        telling.stable();
        assert!(telling.trouble("refused", later).is_some());
        assert!(telling.connected());
    }

    #[test]
    fn other_trouble_is_news_but_not_without_end() {
        let (mut telling, begin) = (Telling::default(), Instant::now());
        let words = |n: u64| {
            if n.is_multiple_of(2) {
                "refused"
            } else {
                "closed"
            }
        };
        let told = (0..3600).filter(|n| telling.trouble(words(*n), begin + seconds(*n)).is_some());
        let told = told.count();
        assert!((60..=65).contains(&told), "{told} lines in an hour");
    }
}
