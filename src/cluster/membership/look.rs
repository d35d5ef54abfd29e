//! The cluster as somebody sees it who is no member, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_nats::jetstream::context::GetStreamErrorKind;
use futures_util::TryStreamExt;

use super::line::Line;
use super::record::{MemberRecord, Record};
use crate::cluster::partition::Partitions;
use crate::cluster::table::MemberId;
use crate::store::{NatsError, NatsServers};

/// For one request to nats-server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Clocks that differ by less are the same.
const SKEW: Duration = Duration::from_secs(30);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// How long nats-server took to answer.
    pub round_trip: Duration,
    /// Who has not ended in order.
    pub members: Vec<Seen>,
    /// What none of them has.
    pub vacant: Partitions,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `cluster.name`.
    pub name: Arc<str>,
    /// What it has a lease on.
    pub partitions: Partitions,
    /// What it was given ([`Config::digest`](crate::config::Config::digest)).
    pub configuration: Option<Arc<str>>,
    /// Its lease is over, by the clocks of nats-server and of this machine.
    pub is_silent: bool,
}

impl Look {
    /// Looks, and changes nothing. Without a stream, nobody has ever been a member.
    pub async fn at(servers: &NatsServers) -> Result<Self, NatsError> {
        let line = Line::open(servers, PATIENCE).await?;
        let wire = line.wire();
        let wire = wire.ok_or_else(|| NatsError::Unreachable("the connection was lost".into()))?;
        let asked = Instant::now();
        let stream = wire
            .context
            .get_stream(format!("{}-cluster", servers.prefix))
            .await;
        let round_trip = asked.elapsed();
        let unreadable = |error: String| NatsError::Unreadable(error);
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(said) if said.code() == 404 => Ok(Self {
                        round_trip,
                        members: Vec::new(),
                        vacant: Partitions::ALL,
                    }),
                    _ => Err(unreadable(error.to_string())),
                };
            }
        };
        let start = format!("{}.cluster.", servers.prefix);
        let subjects = stream.info_with_subjects(format!("{start}>")).await;
        let subjects = subjects.map_err(|error| unreadable(error.to_string()))?;
        let subjects: Vec<(String, usize)> = subjects
            .try_collect()
            .await
            .map_err(|error| unreadable(error.to_string()))?;
        let mut members = BTreeMap::new();
        let mut held: BTreeMap<MemberId, Partitions> = BTreeMap::new();
        for (subject, _) in subjects {
            // What is removed meanwhile is not there.
            let Ok(message) = stream.get_last_raw_message_by_subject(&subject).await else {
                continue;
            };
            let key = subject.strip_prefix(&start).unwrap_or_default();
            match Record::read(key, &message.payload) {
                Some(Record::Member(id, record)) => {
                    let at = message.time.unix_timestamp_nanos() / 1_000_000;
                    members.insert(id, (record, u64::try_from(at).unwrap_or(0)));
                }
                Some(Record::Partition(partition, record)) => {
                    if let Some(holder) = record.holder {
                        held.entry(holder).or_default().insert(partition);
                    }
                }
                None => {}
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis() as u64;
        Ok(Self::of(round_trip, members, &held, now))
    }

    /// Times in milliseconds since 1970: of records by nats-server, `now` by this machine.
    fn of(
        round_trip: Duration,
        members: BTreeMap<MemberId, (MemberRecord, u64)>,
        held: &BTreeMap<MemberId, Partitions>,
        now: u64,
    ) -> Self {
        let newest = members.values().map(|(_, at)| *at).max().unwrap_or(0);
        let members: Vec<Seen> = members
            .iter()
            .filter(|(_, (record, _))| record.may_hold())
            .map(|(id, (record, at))| {
                let lease = record.lease();
                let since_newest = Duration::from_millis(newest - at);
                let since = Duration::from_millis(now.saturating_sub(*at));
                Seen {
                    name: Arc::clone(&record.name),
                    partitions: held.get(id).copied().unwrap_or_default(),
                    configuration: record.configuration.clone(),
                    is_silent: since_newest > lease || since > lease + SKEW,
                }
            })
            .collect();
        let of_live = members.iter().filter(|seen| !seen.is_silent);
        let taken = of_live.map(|seen| seen.partitions);
        let taken = taken.fold(Partitions::NONE, Partitions::and);
        Self {
            round_trip,
            members,
            vacant: Partitions::ALL.without(taken),
        }
    }

    /// The names of those who give signs of life, and were given something else.
    pub fn others_than(&self, configuration: &str) -> Vec<&str> {
        let alive = self.members.iter().filter(|seen| !seen.is_silent);
        let other = |seen: &&Seen| {
            seen.configuration
                .as_deref()
                .is_some_and(|of| of != configuration)
        };
        alive.filter(other).map(|seen| &*seen.name).collect()
    }

    /// The names of those who give signs of life.
    pub fn alive(&self) -> Vec<&str> {
        let alive = self.members.iter().filter(|seen| !seen.is_silent);
        alive.map(|seen| &*seen.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Life;
    use super::*;

    #[test]
    fn whoever_is_silent_has_nothing() {
        let lease = Duration::from_secs(6);
        let now = 1_000_000;
        let member = |id: &str, life, at| {
            let record = MemberRecord::new(&format!("replica {id}").into(), life, lease);
            let record = record.configured(format!("{id}'s").into());
            (MemberId::parse(id).unwrap(), (record, at))
        };
        let partition = |number| Partitions::from(crate::cluster::Partition::new(number).unwrap());
        let members = [
            member("a", Life::Alive, now),
            member("b", Life::Leaving, now - 6000),
            member("c", Life::Alive, now - 6001),
            member("d", Life::Dead, now),
        ];
        let ids = members.clone().map(|(id, _)| id);
        let held = ids.into_iter().zip([0, 1, 2, 3].map(partition)).collect();
        let look = Look::of(Duration::ZERO, members.clone().into(), &held, now);
        assert_eq!(look.alive(), ["replica a", "replica b"]);
        assert_eq!(look.others_than("b's"), ["replica a"]);
        assert_eq!(look.others_than("c's"), ["replica a", "replica b"]);
        assert_eq!(look.members.len(), 3);
        let left = Partitions::ALL.without(partition(0).and(partition(1)));
        assert_eq!(look.vacant, left);
        // The newest of all may be old.
        let later = Look::of(Duration::ZERO, members.into(), &held, now + 36_001);
        assert_eq!(later.alive().len(), 0);
    }
}
