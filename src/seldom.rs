//! Log lines that could come without end: each is let through now and then, with the number of those that were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One such line. Best as a `static` beside it.
///
/// ```
/// use std::time::Duration;
/// static SAID: causeway::seldom::Seldom = causeway::seldom::Seldom::every(Duration::from_secs(60));
/// assert_eq!(SAID.pass(), Some(0));
/// assert_eq!(SAID.pass(), None);
/// ```
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    at: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// A line that is let through once in so much time.
    pub const fn every(every: Duration) -> Self {
        Self {
            every,
            last: Mutex::new(Last {
                at: None,
                left_out: 0,
            }),
        }
    }

    /// Whether the line is let through now, and then how many were left out before it.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < self.every)
        {
            last.left_out += 1;
            return None;
        }
        last.at = Some(now);
        Some(std::mem::take(&mut last.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_its_time_and_tells_of_the_others() {
        let minute = Duration::from_secs(60);
        let (line, begin) = (Seldom::every(minute), Instant::now());
        let at = |seconds| line.pass_at(begin + Duration::from_secs(seconds));
        let passed: Vec<_> = [0, 1, 59, 60, 61, 300, 301].map(at).into();
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
