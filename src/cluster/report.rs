//! The cluster at one moment, for people and for metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::partition::Partitions;
use super::table::{Member, MemberId, Table};

/// How a member is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It takes part.
    Alive,
    /// It gives back what it has, and ends.
    Leaving,
    /// It is late with the renewal of its lease. What it has is others' when the lease is over.
    Late,
}

impl MemberState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Alive, Self::Leaving, Self::Late];

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Late => "late",
        }
    }
}

/// A member, as this process knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// Who it is.
    pub member: Member,
    /// How it is doing.
    pub state: MemberState,
    /// What it has a lease on: whether or not the sessions run yet.
    pub partitions: Partitions,
    /// What it was given, as a digest: those with the same one have the same connectors, devices and access. `None` where
    /// that is not known.
    pub configuration: Option<Arc<str>>,
    /// How long its lease is.
    pub lease: Duration,
    /// How much of that is left. Of this process: until it stops using what it has.
    pub lease_left: Duration,
}

/// The cluster, as this process knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// This process.
    pub me: MemberId,
    /// Whether its own lease holds. Without one, no session runs here.
    pub is_member: bool,
    /// Everybody, this process included, in the order of their ids.
    pub members: Vec<MemberReport>,
    /// The partitions whose sessions run here.
    pub running: Partitions,
    /// Those that this process is starting, or leaving.
    pub moving: Partitions,
    /// Those that nobody has a lease on.
    pub vacant: Partitions,
    /// Whether there is a connection to nats-server.
    pub is_connected: bool,
    /// How long nats-server took to confirm the last renewal.
    pub renewal: Option<Duration>,
    /// Changes of the cluster that have been made but not been seen here yet, as far as that is known.
    pub behind: u64,
}

impl Report {
    /// What a table says, where more is not known.
    pub fn of(table: &Table) -> Self {
        let members = table.members().iter().map(|member| MemberReport {
            member: member.clone(),
            state: MemberState::Alive,
            partitions: table.held_by(&member.id),
            configuration: None,
            lease: Duration::ZERO,
            lease_left: Duration::ZERO,
        });
        let members: Vec<_> = members.collect();
        let held = members.iter().map(|member| member.partitions);
        let held = held.fold(Partitions::NONE, Partitions::and);
        Self {
            me: table.me().clone(),
            is_member: true,
            running: table.here(),
            moving: Partitions::NONE,
            vacant: Partitions::ALL.without(held),
            members,
            is_connected: true,
            renewal: None,
            behind: 0,
        }
    }

    /// This process's own part.
    pub fn own(&self) -> Option<&MemberReport> {
        self.members.iter().find(|of| of.member.id == self.me)
    }

    /// How many different configurations the members have, as far as that is known.
    pub fn configurations(&self) -> usize {
        let known = self
            .members
            .iter()
            .filter_map(|of| of.configuration.as_deref());
        known.collect::<BTreeSet<_>>().len()
    }

    /// The names of all members, for one line.
    pub fn names(&self) -> Vec<Arc<str>> {
        let names = self.members.iter().map(|of| Arc::clone(&of.member.name));
        names.collect()
    }
}
