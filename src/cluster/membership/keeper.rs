//! The member itself: keeps its lease, takes what is its own, gives back what is not.
//!
//! One loop, in which nothing waits: what takes time is a task whose end is an event. Whatever an event says, the lease is
//! looked at first, so that a process that was stopped does nothing before it has noticed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::asking::Asking;
use super::bucket::{Bucket, Heard, Listing, NotWritten};
use super::following::Following;
use super::holdings::Holdings;
use super::plan::{self, plan};
use super::record::{Life, MemberRecord, PartitionRecord, Record};
use super::showing::Shown;
use super::view::View;
use crate::cluster::clock::Moment;
use crate::cluster::partition::{Partition, Partitions};
use crate::cluster::sessions::Sessions;
use crate::cluster::table::{Member, MemberId};
use crate::tally::ClusterTally;

/// After something went wrong, before it is tried again.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// The longest time without a look at everything.
const LONGEST: Duration = Duration::from_secs(1);
/// Records of members that have ended are removed after so many leases.
const KEPT_LEASES: u32 = 10;

/// A member, and what it works with.
pub(super) struct Keeper {
    pub(super) bucket: Bucket,
    pub(super) asking: Asking,
    pub(super) me: Member,
    pub(super) term: Term,
    pub(super) sessions: Arc<dyn Sessions>,
    pub(super) shown: Arc<Shown>,
    pub(super) tally: Arc<ClusterTally>,
    pub(super) configuration: watch::Receiver<Arc<str>>,
    pub(super) end: CancellationToken,
}

/// How long a lease is, and what follows from that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    /// How long others wait.
    pub(super) lease: Duration,
}

impl Term {
    /// How long after sending a renewal this process uses what it has: a sixth less than the others wait, for clocks that
    /// do not run alike, and for the time that cutting connections takes.
    pub(super) fn use_of(self) -> Duration {
        self.lease - self.lease / 6
    }

    fn interval(self) -> Duration {
        self.lease / 3
    }

    /// For one request to nats-server.
    pub(super) fn patience(self) -> Duration {
        self.lease / 3
    }
}

/// What became of something that takes time.
pub(super) enum Done {
    Renewed {
        sent: Moment,
        over: Result<u64, NotWritten>,
    },
    ReadOwn(Result<Option<(Record, u64)>, Box<str>>),
    Listed(Result<Listing, Box<str>>),
    Buried(MemberId, Record, Result<u64, NotWritten>),
    Acquired(Vec<(Partition, Result<u64, NotWritten>)>),
    Taken(Partitions),
    Left(Partitions),
    Released(Partition, Result<u64, NotWritten>),
    Removed,
}

/// What the loop keeps in mind.
pub(super) struct State {
    pub(super) view: View,
    pub(super) following: Following,
    pub(super) holdings: Holdings,
    pub(super) tasks: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The place of this member's last record; 0: there is none.
    pub(super) seq: u64,
    pub(super) is_renewing: bool,
    pub(super) renew_at: Moment,
    /// Others' signs of life can have been seen since then.
    pub(super) floor: Moment,
    /// Nothing is tried before.
    pub(super) pause_until: Moment,
    /// When nats-server last answered.
    pub(super) heard: Moment,
    /// What its last record says.
    pub(super) written: Life,
    pub(super) renewal: Option<Duration>,
    /// Nobody needs to be told again that renewals are not confirmed.
    pub(super) is_overdue: bool,
    /// The names of those who were given something else, as it was last said.
    pub(super) unlike: Vec<Arc<str>>,
}

impl Keeper {
    /// Runs until `end`, and until everything has been given back then, as far as nats-server can be reached.
    pub(super) async fn run(self, mut heard: mpsc::UnboundedReceiver<Heard>) {
        let now = Moment::now();
        let mut state = State {
            view: View::default(),
            following: Following::default(),
            holdings: Holdings::default(),
            tasks: FuturesUnordered::new(),
            seq: 0,
            is_renewing: false,
            renew_at: now,
            floor: now,
            pause_until: now,
            heard: now,
            written: Life::Alive,
            renewal: None,
            is_overdue: false,
            unlike: Vec::new(),
        };
        loop {
            let is_ending = self.end.is_cancelled();
            self.work(&mut state, is_ending);
            self.compare(&mut state);
            self.show(&state);
            if is_ending && self.has_ended(&state) {
                break;
            }
            let wait = self.wait(&state);
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => self.look(&mut state),
                Some(done) = state.tasks.next() => {
                    self.look(&mut state);
                    self.done(&mut state, done);
                }
                Some(heard) = heard.recv() => {
                    self.look(&mut state);
                    self.heard(&mut state, heard);
                }
                () = self.end.cancelled(), if !is_ending => {
                    self.look(&mut state);
                    state.renew_at = Moment::now();
                }
            }
        }
        self.shown.lease.end();
        self.show(&state);
    }

    /// Whether the lease is over: then nothing is held any more, before anything else is done.
    fn look(&self, state: &mut State) {
        let now = Moment::now();
        if self.shown.lease.is_over(now) && !state.holdings.in_use().is_empty() {
            self.lose(state, Partitions::ALL, "the lease is over");
        }
    }

    pub(super) fn lose(&self, state: &mut State, partitions: Partitions, why: &str) {
        if partitions == Partitions::ALL {
            self.shown.lease.end();
        }
        let lost = state.holdings.lose(partitions);
        if lost.is_empty() {
            return;
        }
        self.sessions.lose(lost);
        self.tally.lost.fetch_add(lost.len() as u64, Relaxed);
        tracing::warn!(partitions = %lost, why, "partitions are lost; their sessions are cut");
        if partitions == Partitions::ALL {
            // Others were not listened to either, perhaps.
            state.floor = Moment::now();
        }
        self.show(state);
    }

    fn wait(&self, state: &State) -> Duration {
        let now = Moment::now();
        let mut next = now.after(LONGEST);
        if !state.holdings.in_use().is_empty() {
            next = next.min(self.shown.lease.until());
        }
        if !self.bucket.is_connected() {
            return next.min(now.after(PAUSE / 5)).from(now);
        }
        if !state.is_renewing && state.written != Life::Gone {
            next = next.min(state.renew_at);
        }
        if state.pause_until > now {
            next = next.min(state.pause_until);
        } else if let Some(burial) = plan::next_burial(&state.view, &self.me.id, state.floor)
            && burial > now
        {
            next = next.min(burial);
        }
        next.from(now)
    }

    /// Begins whatever can be begun.
    fn work(&self, state: &mut State, is_ending: bool) {
        let now = Moment::now();
        if !self.bucket.is_connected() {
            state.following.lose();
            if is_ending {
                self.leave(state, state.holdings.running());
            }
            return;
        }
        if !state.is_renewing && state.renew_at <= now && state.written != Life::Gone {
            self.renew(state, is_ending, now);
        }
        if now < state.pause_until {
            return;
        }
        if state.following.begin_listing() {
            let bucket = self.bucket.clone();
            state
                .tasks
                .push(Box::pin(async move { Done::Listed(bucket.list().await) }));
        }
        let has_lease = !self.shown.lease.is_over(now);
        if has_lease && state.following.is_whole() {
            self.follow_plan(state, is_ending, now);
        } else if has_lease && is_ending {
            // Without knowing what the others do, its own sessions can be ended.
            self.leave(state, state.holdings.running());
        }
    }

    /// What it writes of itself.
    pub(super) fn own(&self, life: Life) -> MemberRecord {
        let record = MemberRecord::new(&self.me.name, life, self.term.lease);
        record.configured(Arc::clone(&self.configuration.borrow()))
    }

    fn renew(&self, state: &mut State, is_ending: bool, now: Moment) {
        let life = match is_ending {
            false => Life::Alive,
            true if state.holdings.is_empty() && state.written == Life::Leaving => Life::Gone,
            true => Life::Leaving,
        };
        let record = Record::Member(self.me.id.clone(), self.own(life));
        state.is_renewing = true;
        state.written = life;
        state.renew_at = now.after(self.term.interval());
        let (bucket, over) = (self.bucket.clone(), state.seq);
        let sent = Moment::now();
        state.tasks.push(Box::pin(async move {
            let over = bucket.write(&record, over).await;
            Done::Renewed { sent, over }
        }));
    }

    fn follow_plan(&self, state: &mut State, is_ending: bool, now: Moment) {
        let own = state.holdings.own(is_ending);
        let plan = plan(&state.view, &self.me.id, own, state.floor, now);
        if !plan.bury.is_empty() {
            // Its outcome changes the plan; until then nobody is buried twice.
            state.pause_until = now.after(PAUSE);
        }
        for (id, over) in plan.bury {
            let known = state.view.members.get(&id);
            let dead = known.map_or_else(
                || MemberRecord::new(&"?".into(), Life::Dead, self.term.lease),
                |known| known.record.dead(),
            );
            let record = Record::Member(id.clone(), dead);
            let bucket = self.bucket.clone();
            state.tasks.push(Box::pin(async move {
                let written = bucket.write(&record, over).await;
                Done::Buried(id, record, written)
            }));
        }
        if !plan.acquire.is_empty() {
            let partitions = plan.acquire.iter().map(|(partition, _)| *partition);
            state.holdings.acquire(partitions.collect());
            let (bucket, holder) = (self.bucket.clone(), Some(self.me.id.clone()));
            state.tasks.push(Box::pin(async move {
                let writes = plan.acquire.into_iter().map(|(partition, over)| {
                    let record = PartitionRecord {
                        holder: holder.clone(),
                    };
                    let record = Record::Partition(partition, record);
                    let bucket = &bucket;
                    async move { (partition, bucket.write(&record, over).await) }
                });
                Done::Acquired(join_all(writes).await)
            }));
        }
        self.leave(state, plan.leave);
        for (partition, over) in plan.release {
            self.release(state, partition, over);
        }
        self.remove_one(state, now);
    }

    fn leave(&self, state: &mut State, partitions: Partitions) {
        state.holdings.leave(partitions);
        if !partitions.is_empty() {
            tracing::info!(%partitions, "partitions are handed over");
            // Nobody is told any more that they are here.
            self.show(state);
        }
        // One by one, so that one with much under way keeps none of the others here.
        for partition in partitions {
            let leaving = self.sessions.leave(partition.into());
            state.tasks.push(Box::pin(async move {
                leaving.await;
                Done::Left(partition.into())
            }));
        }
    }

    pub(super) fn release(&self, state: &mut State, partition: Partition, over: u64) {
        state.holdings.release(partition.into());
        let record = Record::Partition(partition, PartitionRecord::default());
        let bucket = self.bucket.clone();
        state.tasks.push(Box::pin(async move {
            let written = bucket.write(&record, over).await;
            Done::Released(partition, written)
        }));
    }

    /// Removes the record of a member that ended long ago. One at a time: there is no hurry.
    fn remove_one(&self, state: &mut State, now: Moment) {
        let held = |id: &MemberId| {
            Partitions::ALL
                .iter()
                .any(|p| state.view.holder(p) == Some(id))
        };
        let old = state.view.members.iter().find(|(id, known)| {
            let kept = known.record.lease() * KEPT_LEASES;
            !known.record.may_hold() && known.seen.after(kept) <= now && !held(id)
        });
        let Some((id, seq)) = old.map(|(id, known)| (id.clone(), known.seq)) else {
            return;
        };
        // All do it; only the first one finds it.
        state.view.members.remove(&id);
        let bucket = self.bucket.clone();
        state.tasks.push(Box::pin(async move {
            bucket.remove(seq).await;
            Done::Removed
        }));
    }

    /// Whether everything has been given back, or cannot be at the moment: then the others wait for the end of the lease.
    fn has_ended(&self, state: &State) -> bool {
        if !state.holdings.is_quiet() {
            return false;
        }
        let is_gone = state.written == Life::Gone && !state.is_renewing;
        let now = Moment::now();
        is_gone || !self.bucket.is_connected() || self.shown.lease.is_over(now)
    }
}
