//! What follows when something that took time has ended.

use std::sync::atomic::Ordering::Relaxed;

use super::bucket::{Heard, Listing, NotWritten, Written};
use super::keeper::{Done, Keeper, PAUSE, State};
use super::record::{Life, PartitionRecord, Record};
use super::view::View;
use crate::cluster::clock::Moment;
use crate::cluster::partition::{Partition, Partitions};

impl Keeper {
    pub(super) fn done(&self, state: &mut State, done: Done) {
        let now = Moment::now();
        match done {
            Done::Renewed { sent, over } => self.renewed(state, sent, over, now),
            Done::ReadOwn(own) => self.read_own(state, own, now),
            Done::Listed(Ok(listing)) => {
                state.heard = now;
                let Listing { position, records } = listing;
                if position < state.following.position() {
                    // Somebody has removed the stream: what was promised in it holds as long as those who have it think.
                    tracing::error!("the records of the cluster were removed; it begins anew");
                    state.view = View::default();
                    state.pause_until = now.after(self.term.lease);
                }
                state.view.replace(records, position, now);
                state.following.listed(position);
                self.check(state);
            }
            Done::Listed(Err(error)) => {
                tracing::debug!(error, "the records of the cluster cannot be read");
                state.following.not_listed();
                state.pause_until = now.after(PAUSE);
            }
            Done::Buried(id, record, written) => {
                if let Ok(seq) = written {
                    tracing::warn!(member = %id, "a member's lease is over; others get its partitions");
                    state.view.take(record, seq, now);
                    state.pause_until = now;
                } else {
                    self.missed(state, &written, now);
                }
            }
            Done::Acquired(written) => self.acquired(state, written, now),
            Done::Taken(partitions) => {
                let kept = state.holdings.taken(partitions);
                tracing::info!(partitions = %kept, "the sessions of partitions have been started");
            }
            Done::Left(partitions) => {
                for partition in state.holdings.left(partitions) {
                    self.tally.left.fetch_add(1, Relaxed);
                    self.release(state, partition, state.view.seq(partition));
                }
            }
            Done::Released(partition, written) => {
                state.holdings.released(partition.into());
                if let Ok(seq) = written {
                    let record = Record::Partition(partition, PartitionRecord::default());
                    state.view.take(record, seq, now);
                } else {
                    self.missed(state, &written, now);
                }
            }
            Done::Removed => {}
        }
        if self.end.is_cancelled() && state.holdings.is_empty() {
            // The last record.
            state.renew_at = now;
        }
    }

    /// Something else is in the stream than what is known here, or nothing can be written at the moment.
    fn missed(&self, state: &mut State, written: &Result<u64, NotWritten>, now: Moment) {
        match written {
            Ok(_) => {}
            Err(NotWritten::Conflict) => state.following.lose(),
            Err(NotWritten::Unclear(error)) => {
                tracing::debug!(error, "a record of the cluster was perhaps not written");
                state.following.lose();
                state.pause_until = now.after(PAUSE);
            }
        }
    }

    fn renewed(&self, state: &mut State, sent: Moment, over: Result<u64, NotWritten>, now: Moment) {
        state.is_renewing = false;
        match over {
            Ok(seq) => {
                self.tally.renewed.fetch_add(1, Relaxed);
                state.seq = seq;
                state.heard = now;
                state.renewal = Some(now.from(sent));
                if std::mem::take(&mut state.is_overdue) {
                    tracing::info!("nats-server confirms renewals of the lease again");
                }
                let until = sent.after(self.term.use_of());
                if state.written != Life::Gone && until > now {
                    self.shown.lease.set(until);
                }
                let record = Record::Member(self.me.id.clone(), self.own(state.written));
                state.view.take(record, seq, now);
                // The renewal before this one has not come back.
                state.following.expect(seq);
            }
            Err(NotWritten::Conflict) => {
                let (bucket, key) = (self.bucket.clone(), format!("member.{}", self.me.id));
                state.is_renewing = true;
                state.tasks.push(Box::pin(
                    async move { Done::ReadOwn(bucket.read(&key).await) },
                ));
            }
            Err(NotWritten::Unclear(error)) => {
                self.tally.not_renewed.fetch_add(1, Relaxed);
                // It is tried four times a second, for as long as this lasts.
                match std::mem::replace(&mut state.is_overdue, true) {
                    false => tracing::warn!(
                        error,
                        "nats-server has not confirmed the renewal of the lease"
                    ),
                    true => tracing::debug!(error, "nor the next one"),
                }
                state.renew_at = state.renew_at.min(now.after(PAUSE));
                if state.written == Life::Gone {
                    state.written = Life::Leaving;
                }
                if now.from(state.heard) > self.term.lease {
                    // A connection that nobody answers on: nothing else would end it for minutes.
                    state.heard = now;
                    self.bucket.reconnect();
                    self.asking.reconnect();
                }
            }
        }
    }

    /// The last record of this member is another than it thought.
    fn read_own(
        &self,
        state: &mut State,
        own: Result<Option<(Record, u64)>, Box<str>>,
        now: Moment,
    ) {
        state.is_renewing = false;
        state.renew_at = now;
        match own {
            // An earlier renewal, of which no answer came.
            Ok(Some((Record::Member(_, record), seq))) if record.may_hold() => state.seq = seq,
            Ok(other) => {
                // Buried; it comes again as if it were new. In a view of before, it may be alive.
                state.seq = other.map_or(0, |(_, seq)| seq);
                self.lose(
                    state,
                    Partitions::ALL,
                    "others have declared this member dead",
                );
                state.following.lose();
            }
            Err(error) => {
                self.tally.not_renewed.fetch_add(1, Relaxed);
                tracing::debug!(error, "this member's record cannot be read");
                state.renew_at = now.after(PAUSE);
            }
        }
    }

    fn acquired(
        &self,
        state: &mut State,
        written: Vec<(Partition, Result<u64, NotWritten>)>,
        now: Moment,
    ) {
        let asked: Partitions = written.iter().map(|(partition, _)| *partition).collect();
        let mut gained = Partitions::NONE;
        for (partition, written) in &written {
            self.missed(state, written, now);
            if let Ok(seq) = written {
                let holder = Some(self.me.id.clone());
                let record = Record::Partition(*partition, PartitionRecord { holder });
                // Unless a later record is known: then it is another's already.
                if state.view.take(record, *seq, now) || state.view.seq(*partition) == *seq {
                    gained.insert(*partition);
                }
            }
        }
        if self.shown.lease.is_over(now) {
            gained = Partitions::NONE;
        }
        state.holdings.acquired(asked, gained);
        if gained.is_empty() {
            return;
        }
        self.tally.gained.fetch_add(gained.len() as u64, Relaxed);
        let taking = self.sessions.take(gained);
        state.tasks.push(Box::pin(async move {
            taking.await;
            Done::Taken(gained)
        }));
    }

    pub(super) fn heard(&self, state: &mut State, heard: Heard) {
        match heard {
            Heard::Written(Written { seq, record }) => {
                state.following.saw(seq);
                if let Some(record) = record {
                    state.view.take(record, seq, Moment::now());
                }
                self.check(state);
            }
            // What was written meanwhile was not seen, and the others may not have been able to write at all.
            Heard::Connected | Heard::Lost => {
                state.following.lose();
                state.floor = Moment::now();
                state.heard = state.floor;
            }
        }
    }

    /// Whether somebody else has written down what this process uses.
    fn check(&self, state: &mut State) {
        let in_use = state.holdings.in_use().iter();
        let others = in_use.filter(|p| state.view.holder(*p) != Some(&self.me.id));
        let others: Partitions = others.collect();
        if !others.is_empty() {
            self.lose(state, others, "another member has taken them");
        }
        let own = state.view.members.get(&self.me.id);
        if let Some(own) = own
            && own.seq > state.seq
            && !own.record.may_hold()
            && !state.is_renewing
        {
            state.seq = own.seq;
            state.renew_at = Moment::now();
            self.lose(
                state,
                Partitions::ALL,
                "others have declared this member dead",
            );
        }
    }
}
