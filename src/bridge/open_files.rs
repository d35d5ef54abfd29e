//! How many files this process may have open, connections among them. Without room for another one, no session could
//! connect to its broker any more, so clients must not be able to take all of it.

use tracing::warn;

/// More than anybody needs, and less than what some systems give for "no limit".
#[cfg(unix)]
const ENOUGH: u64 = 1 << 20;
/// For the store, the listeners, logs, and what the runtime needs.
const RESERVED: usize = 64;

/// Raises the number to what the system lets this process have; the usual 1024 is only there for programs that use
/// select(2).
#[cfg(unix)]
pub fn raise() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        // Where it fails there are fewer connections, which is said when the listener is set up.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Raises the number to what the system lets this process have.
#[cfg(not(unix))]
pub fn raise() {}

/// How many of `max` connections there can be beside so many sessions.
pub(super) fn affordable(max: usize, sessions: usize) -> usize {
    let Some(files) = limit() else {
        return max;
    };
    let left = left(files, sessions);
    if left < max {
        warn!(
            "this process may open {files} files, so that there can be only {left} of the {max} connections of \
             http.max_connections; raise its limit (LimitNOFILE, ulimit -n)"
        );
    }
    left.min(max)
}

/// Even where sessions alone are too many, some clients must be able to ask why.
fn left(files: usize, sessions: usize) -> usize {
    files.saturating_sub(RESERVED + sessions).max(files / 4)
}

#[cfg(unix)]
fn limit() -> Option<usize> {
    use rustix::process::{Resource, getrlimit};
    usize::try_from(getrlimit(Resource::Nofile).current?).ok()
}

#[cfg(not(unix))]
fn limit() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_and_connections_share_the_files() {
        assert_eq!(left(1024, 100), 860);
        assert_eq!(left(1024, 1000), 256);
        assert_eq!(left(1024, 5000), 256);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_raised_to_what_may_be_had() {
        use rustix::process::{Resource, getrlimit};
        raise();
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
        assert!(limit.current.is_none_or(|current| current >= most));
    }
}
