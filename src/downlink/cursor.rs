//! Positions in the stream of downlinks.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A position in the stream of all downlinks of this bridge. Opaque to clients.
///
/// With a store, it is the store's. Without one, cursors begin with the microseconds since the epoch at the start of the
/// process and grow by one for each downlink, so they keep growing across restarts as long as there is less than one
/// downlink per microsecond and the clock is not set back. Both are told apart from a good cursor when one is presented:
/// see [`Gap`](super::Gap).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor(u64);

impl Cursor {
    /// Before everything.
    pub const ZERO: Self = Self(0);

    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok().map(Self)).flatten()
    }

    pub(super) fn at_start() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(0))
    }

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(super) fn to_raw(self) -> u64 {
        self.0
    }

    pub(super) fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From where on a listener wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum After {
    /// What arrives from now on.
    #[default]
    Now,
    /// All that is kept.
    Earliest,
    /// What came after this cursor.
    Cursor(Cursor),
    /// What came after a cursor that is not one of this bridge's: all that is kept, after a gap.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else() {
        let cursor = Cursor::at_start();
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for bad in ["", "-1", "+1", "1a", " 1", "18446744073709551616"] {
            assert_eq!(Cursor::parse(bad), None, "{bad:?}");
        }
    }
}
