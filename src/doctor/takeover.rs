//! Whether another client has the same client id: the two throw each other off the broker for ever.

use std::time::{Duration, SystemTime};

use super::clock::words;
use super::report::{Cause, Finding, moment};
use super::wire::Ending;
use crate::mqtt::reason::Reason;
use crate::session::{Snapshot, State};

/// What was seen while nothing was done.
#[derive(Debug)]
pub(super) enum Watched {
    /// The connection stayed.
    Quiet,
    /// It ended. Where it was opened once more: how that one ended, if it did.
    Ended {
        ending: Ending,
        again: Option<Option<Ending>>,
    },
}

const HINT: &str = "stop the other program, or give one of the two another client id (in the profile: connect.client_id). \
                    Look for a second bridge with the same configuration, an older gateway, or a test client that was left on";

/// What watching a connection of the examination's own came to.
pub(super) fn judge(watched: &Watched, limit: Duration, client_id: &str) -> Finding {
    match watched {
        Watched::Quiet => Finding::ok(format!(
            "nobody took the connection over within {} (a client that comes back later would not show)",
            words(limit)
        )),
        Watched::Ended { ending, again } => match (ending, again) {
            (Ending::Dismissed(Reason::SESSION_TAKEN_OVER, _), _) => taken_over(format!(
                "the broker says that another client has connected as {client_id}"
            )),
            (Ending::Dismissed(..), _) => Finding::failed(
                Cause::HungUp,
                format!(
                    "the broker ended the connection: {}",
                    ending.words().unwrap_or_default()
                ),
            ),
            (Ending::Closed, Some(Some(_))) => taken_over(format!(
                "the broker closed the idle connection, and again after it was opened once more: most likely another \
                 client connects as {client_id}"
            )),
            (Ending::Closed, _) => Finding::warning(
                Cause::HungUp,
                "the broker closed the idle connection without a word; opened once more, it stayed",
            )
            .hint(
                "look again with a longer --watch: it may be another client with the same client id, or an unsteady link",
            ),
        },
    }
}

/// What a running session knows of it.
pub(super) fn judge_session(now: &Snapshot, at: SystemTime) -> Finding {
    if now.state == State::TakenOver {
        let what = now
            .last_trouble
            .as_ref()
            .map(|trouble| trouble.what.as_str());
        return taken_over(format!(
            "another client has connected with the same client id: {}. The bridge leaves it alone for a while before it \
             tries again",
            what.unwrap_or("the broker closed the connection")
        ));
    }
    if now.state != State::Connected {
        return Finding::skipped(Cause::Unreachable, "not known: the bridge is not connected");
    }
    let since = at.duration_since(now.since).unwrap_or_default();
    let stays = format!("the connection has stayed for {}", words(since));
    match now.taken_over_at {
        Some(taken) => Finding::warning(
            Cause::TakenOver,
            format!(
                "{stays}, but another client took it over at {}",
                moment(taken)
            ),
        )
        .hint(HINT),
        None => Finding::ok(stays),
    }
}

fn taken_over(seen: String) -> Finding {
    Finding::failed(Cause::TakenOver, seen).hint(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn only_what_is_closed_again_is_taken_for_a_takeover() {
        let judge = |ending, again| {
            let watched = Watched::Ended { ending, again };
            let finding = judge(&watched, Duration::from_secs(5), "pump-1");
            (finding.verdict, finding.cause)
        };
        let taken = Ending::Dismissed(Reason::SESSION_TAKEN_OVER, None);
        let expected = (Verdict::Failed, Some(Cause::TakenOver));
        assert_eq!(judge(taken, None), expected);
        assert_eq!(judge(Ending::Closed, Some(Some(Ending::Closed))), expected);
        assert_eq!(
            judge(Ending::Closed, Some(None)),
            (Verdict::Warning, Some(Cause::HungUp))
        );
        let dismissed = Ending::Dismissed(Reason::NOT_AUTHORIZED, None);
        assert_eq!(
            judge(dismissed, None),
            (Verdict::Failed, Some(Cause::HungUp))
        );
    }
}
