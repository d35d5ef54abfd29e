//! What members write for each other.
//!
//! The stream `PREFIX-cluster` keeps the last message of each subject, a small JSON object:
//!
//! | subject | holds | written by |
//! |---|---|---|
//! | `PREFIX.cluster.member.ID` | [`MemberRecord`] | the member, every third of its lease; once by another, as `dead` |
//! | `PREFIX.cluster.partition.N` | [`PartitionRecord`] | whoever takes it, and whoever gives it back |
//!
//! Every message is written only if the one before it in its subject is the one that the writer knows (compare and set by
//! the stream's sequence). Unknown keys are passed over, so a later version can add some.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::partition::Partition;
use crate::cluster::table::MemberId;

/// The life of a member, as the others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Life {
    /// It takes part.
    Alive,
    /// It gives back what it has, and ends.
    Leaving,
    /// It has ended, with nothing left.
    Gone,
    /// It has not renewed its lease in time, and another has said so: what it had is anybody's.
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    pub(super) name: Arc<str>,
    pub(super) life: Life,
    lease_ms: u64,
    /// What it was given ([`Config::digest`](crate::config::Config::digest)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) configuration: Option<Arc<str>>,
}

impl MemberRecord {
    pub(super) fn new(name: &Arc<str>, life: Life, lease: Duration) -> Self {
        Self {
            name: Arc::clone(name),
            life,
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            configuration: None,
        }
    }

    /// The same of a member that was given this.
    pub(super) fn configured(self, configuration: Arc<str>) -> Self {
        Self {
            configuration: Some(configuration),
            ..self
        }
    }

    /// How long others wait for its next sign of life. Its own, for it may be configured otherwise than they are.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    /// Whether what it holds is its own.
    pub(super) fn may_hold(&self) -> bool {
        matches!(self.life, Life::Alive | Life::Leaving)
    }

    pub(super) fn dead(&self) -> Self {
        Self {
            life: Life::Dead,
            ..self.clone()
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PartitionRecord {
    pub(super) holder: Option<MemberId>,
}

#[derive(Serialize, Deserialize)]
struct PartitionForm<'a> {
    #[serde(borrow)]
    holder: Option<&'a str>,
}

/// One subject's last message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Member(MemberId, MemberRecord),
    Partition(Partition, PartitionRecord),
}

impl Record {
    /// What comes behind `PREFIX.cluster.`.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Member(id, _) => format!("member.{id}"),
            Self::Partition(partition, _) => format!("partition.{partition}"),
        }
    }

    pub(super) fn write(&self) -> Bytes {
        let written = match self {
            Self::Member(_, record) => serde_json::to_vec(record),
            Self::Partition(_, record) => serde_json::to_vec(&PartitionForm {
                holder: record.holder.as_ref().map(MemberId::as_str),
            }),
        };
        // Strings and numbers can always be written.
        written.unwrap_or_default().into()
    }

    /// `None` for what is not of this version.
    pub(super) fn read(key: &str, payload: &[u8]) -> Option<Self> {
        let (kind, name) = key.split_once('.')?;
        match kind {
            "member" => {
                let record = serde_json::from_slice(payload).ok()?;
                Some(Self::Member(MemberId::parse(name)?, record))
            }
            "partition" => {
                let form: PartitionForm<'_> = serde_json::from_slice(payload).ok()?;
                let holder = match form.holder {
                    Some(holder) => Some(MemberId::parse(holder)?),
                    None => None,
                };
                let partition = Partition::new(name.parse().ok()?)?;
                Some(Self::Partition(partition, PartitionRecord { holder }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let id = MemberId::random();
        let lease = Duration::from_millis(6500);
        for life in [Life::Alive, Life::Leaving, Life::Gone, Life::Dead] {
            let record = MemberRecord::new(&"host \"a\"".into(), life, lease);
            let record = record.configured("9f2c41d07a6be358".into());
            let record = Record::Member(id.clone(), record);
            assert_eq!(Record::read(&record.key(), &record.write()), Some(record));
        }
        for holder in [None, Some(id)] {
            let partition = Partition::new(63).unwrap();
            let record = Record::Partition(partition, PartitionRecord { holder });
            assert_eq!(Record::read(&record.key(), &record.write()), Some(record));
        }
    }

    #[test]
    fn what_a_later_version_adds_is_passed_over() {
        let later = br#"{"name":"a","life":"alive","lease_ms":1,"zone":"b"}"#;
        let read = Record::read("member.a", later);
        // One of an earlier version says less.
        let Some(Record::Member(_, MemberRecord { configuration, .. })) = read else {
            panic!("{read:?}");
        };
        assert_eq!(configuration, None);
        for (key, payload) in [
            ("member.A", r#"{"name":"a","life":"alive","lease_ms":1}"#),
            ("member.a", r#"{"name":"a","life":"asleep","lease_ms":1}"#),
            ("partition.64", r#"{"holder":null}"#),
            ("partition.1", r#"{"holder":"*"}"#),
            ("partition.1", ""),
            ("zone.1", "{}"),
            ("member", "{}"),
        ] {
            assert_eq!(
                Record::read(key, payload.as_bytes()),
                None,
                "{key} {payload}"
            );
        }
    }
}
