//! Log lines that could come without end: each is let through now and then, with the number of those that were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One such line. Best as a `static` beside it.
///
/// ```
/// use std::time::Duration;
/// static SAID: causeway::seldom::Seldom = causeway::seldom::Seldom::every(Duration::from_secs(60));
/// assert!(SAID.pass().is_some());
/// assert!(SAID.pass().is_none());
/// ```
#[derive(Debug)]
pub struct Seldom {
    every: Duration,
    last: Mutex<Last>,
}

/// A line that is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// How many were left out before it, if any were.
    pub left_out: Option<u64>,
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

    /// Whether the line is let through now.
    pub fn pass(&self) -> Option<Pass> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&self, now: Instant) -> Option<Pass> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < self.every)
        {
            last.left_out += 1;
            return None;
        }
        last.at = Some(now);
        Some(Pass::after(std::mem::take(&mut last.left_out)))
    }
}

impl Pass {
    /// One that comes after so many that were left out.
    pub fn after(left_out: u64) -> Self {
        Self {
            left_out: (left_out > 0).then_some(left_out),
        }
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
        let passed = [0, 1, 59, 60, 61, 300, 301].map(at);
        let after = |left_out| Some(Pass::after(left_out));
        assert_eq!(
            passed,
            [after(0), None, None, after(2), None, after(1), None]
        );
        assert_eq!(Pass::after(0).left_out, None);
    }
}
