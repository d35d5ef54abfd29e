//! What the rest of the process sees of the cluster.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::keeper::{Keeper, State};
use super::record::{Life, MemberRecord};
use crate::cluster::clock::{Lease, Moment};
use crate::cluster::partition::Partitions;
use crate::cluster::report::{MemberReport, MemberState, Report};
use crate::cluster::table::{Member, MemberId, Table};

/// The last state of everything.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) table: watch::Sender<Arc<Table>>,
    report: Mutex<(Moment, Report)>,
    pub(super) lease: Arc<Lease>,
}

impl Shown {
    /// Before this process is a member.
    pub(super) fn new(me: Member) -> Self {
        let nobody = |_| None;
        let table = Table::new(me.id.clone(), vec![me], Partitions::NONE, nobody);
        let report = Report {
            is_member: false,
            ..Report::of(&table)
        };
        Self {
            table: watch::Sender::new(Arc::new(table)),
            report: Mutex::new((Moment::now(), report)),
            lease: Arc::default(),
        }
    }

    /// The report, with what has passed of the leases since it was made.
    pub(super) fn report(&self) -> Report {
        let (at, mut report) = self.lock().clone();
        let now = Moment::now();
        for member in &mut report.members {
            member.lease_left = member.lease_left.saturating_sub(now.from(at));
        }
        if self.lease.is_over(now) {
            report.is_member = false;
            report.running = Partitions::NONE;
        }
        report
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Moment, Report)> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    pub(super) fn show(&self, state: &State) {
        let now = Moment::now();
        let table = self.table(state, now);
        self.shown.table.send_if_modified(|shown| {
            let is_new = **shown != table;
            if is_new {
                *shown = Arc::new(table);
            }
            is_new
        });
        *self.shown.lock() = (now, self.report(state, now));
    }

    /// Says so when others have another configuration, and when they have the same one again.
    pub(super) fn compare(&self, state: &mut State) {
        let own = self.configuration.borrow();
        let others = state.view.members.iter();
        // What it has written of itself may be from before.
        let others = others.filter(|(id, _)| **id != self.me.id);
        let other = |record: &&MemberRecord| {
            let given = record.configuration.as_ref();
            record.may_hold() && given.is_some_and(|given| *given != *own)
        };
        let unlike = others.map(|(_, known)| &known.record).filter(other);
        let unlike = unlike.map(|record| &record.name);
        if unlike.clone().eq(&state.unlike) {
            return;
        }
        state.unlike = unlike.cloned().collect();
        match &state.unlike[..] {
            [] => tracing::info!("all replicas have the same configuration again"),
            names => tracing::warn!(
                replicas = names.join(", "),
                "these have other connectors, devices or access configured than this replica: give all the same file"
            ),
        }
    }

    fn table(&self, state: &State, now: Moment) -> Table {
        let here = match self.shown.lease.is_over(now) {
            true => Partitions::NONE,
            false => state.holdings.running(),
        };
        let view = &state.view;
        let others = view.members.iter();
        let others = others.filter(|(id, known)| **id != self.me.id && known.record.may_hold());
        let others = others.map(|(id, known)| Member {
            id: id.clone(),
            name: Arc::clone(&known.record.name),
        });
        let members = others.chain([self.me.clone()]).collect();
        let owner = |partition| {
            let holder = view.holder(partition)?;
            let may_hold = view.members.get(holder)?.record.may_hold();
            may_hold.then(|| holder.clone())
        };
        let table = Table::new(self.me.id.clone(), members, here, owner);
        table.under(Arc::clone(&self.shown.lease))
    }

    fn report(&self, state: &State, now: Moment) -> Report {
        let view = &state.view;
        let held = |id: &MemberId| -> Partitions {
            let all = Partitions::ALL.iter();
            all.filter(|partition| view.holder(*partition) == Some(id))
                .collect()
        };
        let is_ending = self.end.is_cancelled();
        let own = MemberReport {
            member: self.me.clone(),
            state: match self.shown.lease.is_over(now) {
                true => MemberState::Late,
                false if is_ending => MemberState::Leaving,
                false => MemberState::Alive,
            },
            partitions: held(&self.me.id),
            configuration: Some(Arc::clone(&self.configuration.borrow())),
            lease: self.term.lease,
            lease_left: self.shown.lease.until().from(now),
        };
        let others = view.members.iter();
        let others = others.filter(|(id, known)| **id != self.me.id && known.record.may_hold());
        let others = others.map(|(id, known)| {
            let lease = known.record.lease();
            let lease_left = known.seen.max(state.floor).after(lease).from(now);
            MemberReport {
                member: Member {
                    id: id.clone(),
                    name: Arc::clone(&known.record.name),
                },
                state: match known.record.life {
                    _ if lease_left < lease / 2 => MemberState::Late,
                    Life::Leaving => MemberState::Leaving,
                    _ => MemberState::Alive,
                },
                partitions: held(id),
                configuration: known.record.configuration.clone(),
                lease,
                lease_left,
            }
        });
        let mut members: Vec<_> = others.chain([own]).collect();
        members.sort_by(|one, other| one.member.id.cmp(&other.member.id));
        let taken = members.iter().map(|member| member.partitions);
        let taken = taken.fold(Partitions::NONE, Partitions::and);
        Report {
            me: self.me.id.clone(),
            is_member: !self.shown.lease.is_over(now),
            members,
            running: state.holdings.running(),
            moving: state.holdings.moving(),
            vacant: Partitions::ALL.without(taken),
            is_connected: self.bucket.is_connected(),
            renewal: state.renewal,
            behind: state.following.behind(),
        }
    }
}
