//! This machine's clock, and what others say about the time.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;

use super::report::{Cause, Finding, moment};

/// What an examination takes for the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// The machine's own.
    pub fn system() -> Self {
        Self::new(SystemTime::now)
    }

    /// Another one.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// What time it is.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", moment(self.now()))
    }
}

/// Certificates are held against this clock too.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.now().duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// Something that says when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Somebody named the time in an HTTP answer.
    Date {
        /// Who: `the proxy`, `the broker`.
        by: &'static str,
        /// The time that was named, to the second.
        theirs: SystemTime,
        /// The clock at that moment.
        ours: SystemTime,
    },
    /// The broker's certificate is valid from then to then.
    Certificate {
        not_before: SystemTime,
        not_after: SystemTime,
    },
}

/// A clock that is further off than this is wrong: platforms allow little for tokens, and the documented allowance of
/// none is longer.
const TOLERANCE: Duration = Duration::from_secs(60);

/// 2026-01-01: this program did not exist before.
const FIRST_RELEASE: Duration = Duration::from_secs(1_767_225_600);

/// Holds the clock against what others say.
pub(super) fn judge(now: SystemTime, evidence: &[Evidence]) -> Finding {
    let shown = format!("the clock says {}", moment(now));
    if now < UNIX_EPOCH + FIRST_RELEASE {
        return Finding::failed(
            Cause::ClockOff,
            format!("{shown}, which is before this program was made: it is not set"),
        )
        .hint(SET);
    }
    let dates = evidence.iter().filter_map(|evidence| match evidence {
        Evidence::Date { by, theirs, ours } => Some((*by, offset(*ours, *theirs))),
        Evidence::Certificate { .. } => None,
    });
    if let Some((by, offset)) = dates.max_by_key(|(_, offset)| offset.amount) {
        return by_date(&shown, by, offset);
    }
    let outside = evidence.iter().find_map(|evidence| match evidence {
        Evidence::Certificate {
            not_before,
            not_after,
        } => outside(now, *not_before, *not_after),
        Evidence::Date { .. } => None,
    });
    match (outside, evidence.is_empty()) {
        (Some(outside), _) => by_certificate(&shown, outside),
        (None, false) => Finding::ok(format!(
            "{shown}, and the broker's certificate is valid then (an error of minutes or hours would not show)"
        )),
        (None, true) => Finding::ok(format!(
            "{shown}; nothing on the way to the broker names another time"
        )),
    }
}

const SET: &str = "set the clock: switch on time synchronisation (timedatectl set-ntp true, or chrony), and see that it \
                   works before the bridge starts; in a container it is the host's clock";

fn by_date(shown: &str, by: &str, offset: Offset) -> Finding {
    let Offset { amount, behind } = offset;
    if amount <= TOLERANCE {
        return Finding::ok(format!("{shown}, and {by} agrees (HTTP Date)"));
    }
    let direction = if behind { "behind" } else { "ahead of" };
    Finding::failed(
        Cause::ClockOff,
        format!(
            "{shown}, {} {direction} {by}'s (HTTP Date): tokens carry the wrong time, and certificates are judged by it",
            words(amount)
        ),
    )
    .hint(SET)
    .fact("off by", words(amount))
}

fn by_certificate(shown: &str, outside: Offset) -> Finding {
    let Offset { amount, behind } = outside;
    let amount = words(amount);
    if behind {
        return Finding::failed(
            Cause::ClockOff,
            format!(
                "{shown}, {amount} before the broker's certificate begins to be valid: brokers have valid certificates, so \
                 this clock is most likely at least that much behind"
            ),
        )
        .hint(SET)
        .fact("off by at least", amount);
    }
    Finding::warning(
        Cause::ClockOff,
        format!(
            "{shown}, {amount} after the broker's certificate has ended: either that has really expired, or this clock is \
             ahead"
        ),
    )
    .hint(format!(
        "compare the clock with one that you trust. If it is wrong, {SET}"
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    amount: Duration,
    /// Whether it is our clock that is behind.
    behind: bool,
}

fn offset(ours: SystemTime, theirs: SystemTime) -> Offset {
    match theirs.duration_since(ours) {
        Ok(amount) => Offset {
            amount,
            behind: true,
        },
        Err(ahead) => Offset {
            amount: ahead.duration(),
            behind: false,
        },
    }
}

fn outside(now: SystemTime, not_before: SystemTime, not_after: SystemTime) -> Option<Offset> {
    let early = now < not_before;
    let late = now > not_after;
    match (early, late) {
        (true, _) => Some(offset(now, not_before)),
        (_, true) => Some(offset(now, not_after)),
        _ => None,
    }
}

/// A span of time in its two largest units.
pub(super) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} {name}{plural}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    match parts.is_empty() {
        true => "less than a second".to_owned(),
        false => parts.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        UNIX_EPOCH + NOW
    }

    fn date(theirs: SystemTime) -> Evidence {
        Evidence::Date {
            by: "the proxy",
            theirs,
            ours: now(),
        }
    }

    fn certificate(not_before: SystemTime, not_after: SystemTime) -> Evidence {
        Evidence::Certificate {
            not_before,
            not_after,
        }
    }

    fn seen(evidence: &[Evidence]) -> (Verdict, String) {
        let finding = judge(now(), evidence);
        (finding.verdict, finding.seen)
    }

    #[test]
    fn more_than_a_minute_against_a_date_is_off() {
        for (theirs, verdict, words) in [
            (now() + MINUTE, Verdict::Ok, "the proxy agrees"),
            (now() - MINUTE, Verdict::Ok, "the proxy agrees"),
            (
                now() + MINUTE + Duration::from_secs(1),
                Verdict::Failed,
                "1 minute 1 second behind the proxy's",
            ),
            (
                now() - 3 * DAY,
                Verdict::Failed,
                "3 days ahead of the proxy's",
            ),
        ] {
            let (found, text) = seen(&[date(theirs)]);
            assert!(found == verdict && text.contains(words), "{found:?} {text}");
        }
    }

    #[test]
    fn a_certificate_bounds_the_clock_and_no_more() {
        let (before, after) = (now() - DAY, now() + DAY);
        let (verdict, text) = seen(&[certificate(before, after)]);
        assert!(
            verdict == Verdict::Ok && text.contains("an error of minutes or hours would not show"),
            "{text}"
        );
        let (verdict, text) = seen(&[certificate(after, after + DAY)]);
        assert!(
            verdict == Verdict::Failed && text.contains("1 day before the broker's certificate"),
            "{text}"
        );
        let (verdict, text) = seen(&[certificate(before - DAY, before)]);
        assert!(
            verdict == Verdict::Warning && text.contains("1 day after"),
            "{text}"
        );
        // Who names the time knows better.
        let (verdict, _) = seen(&[certificate(before - DAY, before), date(now())]);
        assert_eq!(verdict, Verdict::Ok);
    }

    #[test]
    fn a_clock_without_evidence_is_only_shown_and_one_that_is_not_set_is_known() {
        let (verdict, text) = seen(&[]);
        assert!(
            verdict == Verdict::Ok && text.contains("2027-01-15T08:00:00Z"),
            "{text}"
        );
        let unset = judge(UNIX_EPOCH + DAY, &[date(UNIX_EPOCH + DAY)]);
        assert_eq!(unset.verdict, Verdict::Failed);
        assert!(unset.seen.contains("1970-01-02"), "{}", unset.seen);
    }

    #[test]
    fn spans_in_words() {
        for (seconds, text) in [
            (0, "less than a second"),
            (1, "1 second"),
            (61, "1 minute 1 second"),
            (7200, "2 hours"),
            (86_400 * 2 + 3600, "2 days 1 hour"),
            (86_400 + 5, "1 day"),
        ] {
            assert_eq!(words(Duration::from_secs(seconds)), text);
        }
    }
}
