//! Making the index of the queue true by what the stream holds. Only the writer does it, so nothing is deleted here
//! meanwhile.

use std::collections::VecDeque;

use futures_util::{TryStreamExt, stream};

use super::core::Core;
use super::failure::Failure;
use super::names::{StreamName, device_of};
use super::queues::Found;
use super::requests::Message;
use super::slot::Slot;
use super::stored::decode_queued;
use crate::device::DeviceId;

/// Milestones of other processes stay as long: none takes longer to read up to its own.
const MILESTONES: u64 = 10 * 60 * 1_000_000;

/// How much of the stream is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    All,
    /// What came behind the last look.
    New,
}

/// Where the last look has ended.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    conn: u64,
    end: u64,
    /// Places of own milestones, on this connection.
    milestones: VecDeque<u64>,
}

impl Scanned {
    /// Whether nothing has come since, when the stream's last place is this one.
    pub(super) fn is_at(&self, conn: u64, last: u64) -> bool {
        (self.conn, self.end) == (conn, last)
    }
}

impl Core {
    /// Looks through the stream, makes the index true, deletes what was never taken, and tells of what has come.
    pub(super) async fn rescan(
        &self,
        scanned: &mut Scanned,
        extent: Extent,
    ) -> Result<(), Failure> {
        let conn = self.link.number();
        let is_all = extent == Extent::All || scanned.conn != conn;
        let from = if is_all { 0 } else { scanned.end + 1 };
        let doubts = self.queues().unwanted.doubts();
        let (mut found, mut old) = (Found::default(), Vec::new());
        let now = crate::fields::micros(std::time::SystemTime::now());
        let end = self.link.scan(StreamName::Uplinks, from, |seen| {
            if let Some(at) = seen.milestone() {
                if at.saturating_add(MILESTONES) < now {
                    old.push(seen.place);
                }
                return;
            }
            let slot = seen.header.and_then(|h| Slot::read(conn, seen.place, h));
            let Some((device, (seq, slot))) = device_of(seen.subject).zip(slot) else {
                return tracing::error!(place = seen.place, "what is queued here is no uplink");
            };
            self.numbers.beyond(seq);
            if self.holding.has(&device) || self.queues().unwanted.has(slot.id) {
                found.uplinks.push((device, seq, slot));
            } else if !found.passed_by.contains(&device) {
                found.passed_by.insert(device);
            }
        });
        let end = end.await?;
        let reconciled = {
            let mut queues = self.queues();
            let holds = |device: &DeviceId| self.holding.has(device);
            queues.reconcile(found, is_all, (conn, end), holds)
        };
        if reconciled.gone > 0 {
            tracing::error!(
                count = reconciled.gone,
                "uplinks that waited here are no longer in the stream: another bridge has settled them, or the store's server \
                 has lost what it had confirmed"
            );
        }
        if scanned.conn != conn {
            *scanned = Scanned::default();
        }
        let own = scanned.milestones.drain(..).chain(old);
        for place in reconciled.remove.into_iter().chain(own) {
            self.link.delete(StreamName::Uplinks, place).await?;
        }
        self.keep_answers(&reconciled.arrived).await?;
        (scanned.conn, scanned.end) = (conn, end);
        // The last one stays: a server that finds its stream empty may begin its places anew.
        scanned.milestones.push_back(end);
        if is_all {
            self.queues().unwanted.searched(doubts);
        }
        let mut told: Vec<&DeviceId> = reconciled.arrived.iter().map(|(d, _, _)| d).collect();
        told.dedup();
        told.into_iter()
            .for_each(|device| self.readers.arrived(device));
        Ok(())
    }

    /// Writes the answers of queued uplinks that a crash has kept from being written after them.
    async fn keep_answers(&self, arrived: &[(DeviceId, u64, Slot)]) -> Result<(), Failure> {
        const AT_A_TIME: usize = 64;
        let keyed = arrived.iter().filter(|(_, _, slot)| slot.keyed);
        let kept = stream::iter(keyed.map(Ok)).try_for_each_concurrent(
            AT_A_TIME,
            |(device, seq, slot)| async move {
                let message = self.link.get(StreamName::Uplinks, slot.place).await?;
                let Some(message) = message else {
                    return Ok(());
                };
                let decoded = decode_queued(device.clone(), *seq, &message.payload);
                let Ok((uplink, Some(answer))) = decoded else {
                    return Ok(());
                };
                if uplink.id != slot.id {
                    return Ok(());
                }
                let only_if_missing = Message {
                    expected: Some(0),
                    ..self.answer(device, &answer)
                };
                match self.link.publish(only_if_missing).await {
                    Ok(_) | Err(Failure::Conflict) => Ok(()),
                    Err(failure) => Err(failure),
                }
            },
        );
        kept.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_on_an_earlier_connection_says_nothing() {
        let scanned = Scanned {
            conn: 1,
            end: 7,
            milestones: VecDeque::new(),
        };
        assert!(scanned.is_at(1, 7));
        assert!(!scanned.is_at(2, 7) && !scanned.is_at(1, 8));
    }
}
