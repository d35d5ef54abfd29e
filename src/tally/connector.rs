//! What is counted for one connector: by its sessions, by the road out, and by the listeners of its devices.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;

/// One connector's part of the [`Tally`](super::Tally).
#[derive(Debug, Default)]
pub struct ConnectorTally {
    /// What all its sessions have counted, those that are gone included.
    pub sessions: Counters,
    /// Why its sessions had to connect again, or could not; by [`Cause`].
    reconnects: [AtomicU64; Cause::ALL.len()],
    /// How long uplinks took from acceptance to answer; by [`Answered`].
    uplinks: [Histogram; Answered::ALL.len()],
    /// Listeners that are connected at this moment.
    pub listeners: AtomicU64,
    /// Downlinks given to listeners, once for each of them; by [`Source`].
    delivered: [AtomicU64; Source::ALL.len()],
    /// Gaps that listeners were told of.
    pub gaps: AtomicU64,
    /// Listeners that were disconnected because they read too slowly.
    pub behind: AtomicU64,
}

/// What sessions count. Only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that the broker accepted.
    pub connects: AtomicU64,
    /// Connections replaced before their token expired, or for another key.
    pub renewals: AtomicU64,
    /// Uplinks confirmed by the broker, and QoS 0 uplinks sent.
    pub delivered: AtomicU64,
    /// Uplinks refused by the broker.
    pub refused: AtomicU64,
    /// Uplinks sent again after a lost connection.
    pub repeated: AtomicU64,
    /// Downlinks received.
    pub downlinks: AtomicU64,
    /// QoS 0 downlinks dropped, because too many waited while none could be stored.
    pub downlinks_dropped: AtomicU64,
}

/// What the sender of an uplink was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The broker confirmed it, or with QoS 0: it was sent.
    Delivered,
    /// It is on disk.
    Queued,
    /// The broker refused it or the connection, or the platform refused it.
    Refused,
    /// The connector does not carry it, or what was asked for is not possible.
    Invalid,
    /// Neither confirmed nor stored, and it will not be delivered.
    NotTaken,
    /// Sent and not confirmed: it may have arrived.
    Unconfirmed,
}

/// Why a session has to connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The token was about to expire, or another key was activated.
    Renewal,
    /// The configuration of the device or its connector has changed.
    Replaced,
    /// No connection came about: name, route, TLS, or no answer to CONNECT.
    Unreachable,
    /// The broker refused the connection (CONNACK).
    Refused,
    /// The connection broke, or the broker closed it without a word.
    Lost,
    /// The broker did not answer any more.
    Timeout,
    /// Another client has the same client id.
    TakenOver,
    /// The broker ended the connection and named another reason (DISCONNECT).
    Dismissed,
    /// The bridge ended it, because more downlinks came than could be stored.
    Overrun,
    /// The device's own credentials cannot be used.
    Unusable,
    /// The broker does not speak MQTT 5: the next attempt is 3.1.1.
    Version,
}

/// Where a downlink that a listener got came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Memory: as it arrived, or shortly after.
    Memory,
    /// The store: a replay.
    Store,
}

impl ConnectorTally {
    /// Notes what the sender of an uplink was told, and after what time.
    pub fn answered(&self, how: Answered, took: Duration) {
        self.uplinks[how as usize].record(took);
    }

    /// How long uplinks that were answered so had taken.
    pub fn uplinks(&self, how: Answered) -> &Histogram {
        &self.uplinks[how as usize]
    }

    /// Notes why a session has to connect again.
    pub fn reconnects(&self, cause: Cause) {
        self.reconnects[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often sessions had to connect again for this cause.
    pub fn reconnected(&self, cause: Cause) -> u64 {
        self.reconnects[cause as usize].load(Ordering::Relaxed)
    }

    /// Notes a downlink that was given to a listener.
    pub fn delivers(&self, from: Source) {
        self.delivered[from as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many downlinks from there listeners got.
    pub fn delivered(&self, from: Source) -> u64 {
        self.delivered[from as usize].load(Ordering::Relaxed)
    }
}

impl Answered {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Delivered,
        Self::Queued,
        Self::Refused,
        Self::Invalid,
        Self::NotTaken,
        Self::Unconfirmed,
    ];

    /// The name in metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Queued => "queued",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::NotTaken => "not_taken",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl Cause {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Renewal,
        Self::Replaced,
        Self::Unreachable,
        Self::Refused,
        Self::Lost,
        Self::Timeout,
        Self::TakenOver,
        Self::Dismissed,
        Self::Overrun,
        Self::Unusable,
        Self::Version,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Renewal => "renewal",
            Self::Replaced => "replaced",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::TakenOver => "taken_over",
            Self::Dismissed => "dismissed",
            Self::Overrun => "overrun",
            Self::Unusable => "unusable",
            Self::Version => "version",
        }
    }
}

impl Source {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Store];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_place_of_its_own() {
        for (at, how) in Answered::ALL.into_iter().enumerate() {
            assert_eq!(how as usize, at, "{how:?}");
        }
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, at, "{cause:?}");
        }
        for (at, source) in Source::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, at, "{source:?}");
        }
        let tally = ConnectorTally::default();
        tally.answered(Answered::Queued, Duration::from_millis(1));
        tally.reconnects(Cause::Lost);
        tally.delivers(Source::Store);
        for how in Answered::ALL {
            let expected = u64::from(how == Answered::Queued);
            assert_eq!(tally.uplinks(how).read().count(), expected, "{how:?}");
        }
        for cause in Cause::ALL {
            let expected = u64::from(cause == Cause::Lost);
            assert_eq!(tally.reconnected(cause), expected, "{cause:?}");
        }
        let delivered = Source::ALL.map(|from| tally.delivered(from));
        assert_eq!(delivered, [0, 1]);
    }
}
