//! What is to be done, from what is known: pure.

use std::time::Duration;

use super::record::Life;
use super::view::View;
use crate::cluster::clock::Moment;
use crate::cluster::partition::{self, Partition, Partitions};
use crate::cluster::table::MemberId;

/// What this process does with the partitions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Own {
    /// Their sessions run.
    pub(super) running: Partitions,
    /// Something is under way with them.
    pub(super) busy: Partitions,
    /// It gives everything back and ends.
    pub(super) is_ending: bool,
}

/// What is to be done now. Each step is written over the record with the number given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Members whose lease is over: to be declared dead.
    pub(super) bury: Vec<(MemberId, u64)>,
    /// Partitions that are free, and this process's to have.
    pub(super) acquire: Vec<(Partition, u64)>,
    /// Partitions whose sessions run here, and that another is to have.
    pub(super) leave: Partitions,
    /// Partitions that are written down as this process's, which it does not want.
    pub(super) release: Vec<(Partition, u64)>,
}

/// `floor`: since when this process has been able to see signs of life.
pub(super) fn plan(view: &View, me: &MemberId, own: Own, floor: Moment, now: Moment) -> Plan {
    let members = members(view, me, own.is_ending);
    let mut plan = Plan::default();
    for (id, known) in &view.members {
        let is_over = known.seen.max(floor).after(known.record.lease()) <= now;
        if id != me && known.record.may_hold() && is_over {
            plan.bury.push((id.clone(), known.seq));
        }
    }
    for partition in Partitions::ALL.without(own.busy) {
        let seq = view.seq(partition);
        let holder = view.holder(partition);
        let is_running = own.running.has(partition);
        match owner(members.iter().copied(), partition) {
            Some(owner) if owner == me => match holder {
                _ if is_running => {}
                None => plan.acquire.push((partition, seq)),
                // Left from before a loss, or an answer was lost: nobody else has taken it.
                Some(holder) if holder == me => plan.acquire.push((partition, seq)),
                Some(holder) => match view.members.get(holder) {
                    Some(known) if known.record.may_hold() => {}
                    Some(_) => plan.acquire.push((partition, seq)),
                    // Nobody knows it. It may not be gone before that is written down.
                    None if plan.bury.iter().all(|(id, _)| id != holder) => {
                        plan.bury.push((holder.clone(), 0));
                    }
                    None => {}
                },
            },
            other => {
                let is_there = other.is_none_or(|other| is_prompt(view, other, floor, now));
                if is_running && (own.is_ending || is_there && other.is_some()) {
                    plan.leave.insert(partition);
                } else if !is_running && holder == Some(me) {
                    plan.release.push((partition, seq));
                }
            }
        }
    }
    plan
}

/// When the first of the others' leases is over.
pub(super) fn next_burial(view: &View, me: &MemberId, floor: Moment) -> Option<Moment> {
    let others = view.members.iter();
    let others = others.filter(|(id, known)| *id != me && known.record.may_hold());
    let over = others.map(|(_, known)| known.seen.max(floor).after(known.record.lease()));
    over.min()
}

/// Those among whom the partitions are divided.
fn members<'a>(view: &'a View, me: &'a MemberId, is_ending: bool) -> Vec<&'a MemberId> {
    let alive = view.members.iter();
    let alive = alive.filter(|(id, known)| *id != me && known.record.life == Life::Alive);
    let own = (!is_ending).then_some(me);
    alive.map(|(id, _)| id).chain(own).collect()
}

/// Whether a member has given a sign of life lately: nothing is handed to one that may just have died.
fn is_prompt(view: &View, member: &MemberId, floor: Moment, now: Moment) -> bool {
    view.members.get(member).is_some_and(|known| {
        let half: Duration = known.record.lease() / 2;
        known.seen.max(floor).after(half) > now
    })
}

/// Who is to have a partition: rendezvous hashing. When a member comes, partitions move to it alone; when one goes, only its
/// own move.
fn owner<'a>(
    members: impl Iterator<Item = &'a MemberId>,
    partition: Partition,
) -> Option<&'a MemberId> {
    members.max_by_key(|member| {
        let bytes = member.as_str().bytes().chain([partition.number()]);
        (partition::hash(bytes), *member)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::record::{MemberRecord, PartitionRecord, Record};
    use super::*;

    const LEASE: Duration = Duration::from_secs(6);
    const NOW: Moment = Moment(100_000);

    /// A stream with nobody else in it.
    #[derive(Default, Clone)]
    struct World {
        view: View,
        seq: u64,
    }

    impl World {
        fn member(&mut self, id: &MemberId, life: Life, seen: Moment) {
            self.seq += 1;
            let record = MemberRecord::new(&id.as_str().into(), life, LEASE);
            let record = Record::Member(id.clone(), record);
            self.view.take(record, self.seq, seen);
        }

        fn hold(&mut self, partition: Partition, holder: Option<&MemberId>) {
            self.seq += 1;
            let holder = holder.cloned();
            let record = Record::Partition(partition, PartitionRecord { holder });
            self.view.take(record, self.seq, NOW);
        }

        fn held_by(&self, member: &MemberId) -> Partitions {
            let all = Partitions::ALL.iter();
            all.filter(|p| self.view.holder(*p) == Some(member))
                .collect()
        }

        fn plan(&self, me: &MemberId, is_ending: bool) -> Plan {
            let own = Own {
                running: self.held_by(me),
                busy: Partitions::NONE,
                is_ending,
            };
            plan(&self.view, me, own, Moment(0), NOW)
        }

        /// All do what they plan until nobody plans anything.
        fn settle(&mut self, members: &BTreeSet<MemberId>) {
            for round in 0.. {
                assert!(round < 5, "it never ends");
                let plans: Vec<_> = members.iter().map(|m| (m, self.plan(m, false))).collect();
                if plans.iter().all(|(_, plan)| *plan == Plan::default()) {
                    break;
                }
                let mut taken = Partitions::NONE;
                for (member, plan) in plans {
                    for (partition, seq) in plan.acquire {
                        let holder = self.view.holder(partition);
                        let is_live = holder.is_some_and(|holder| members.contains(holder));
                        assert!(!is_live, "taken from who is alive");
                        assert_eq!(seq, self.view.seq(partition));
                        assert!(!taken.has(partition), "taken by two");
                        taken.insert(partition);
                        self.hold(partition, Some(member));
                    }
                    for partition in plan.leave {
                        self.hold(partition, None);
                    }
                    assert!(plan.release.is_empty() && plan.bury.is_empty());
                }
            }
            let all = members.iter().map(|member| self.held_by(member));
            assert_eq!(all.clone().map(Partitions::len).sum::<usize>(), 64);
            assert_eq!(all.fold(Partitions::NONE, Partitions::and), Partitions::ALL);
        }
    }

    fn ids() -> impl Strategy<Value = BTreeSet<MemberId>> {
        let id = "[a-z0-9]{16}".prop_map(|text| MemberId::parse(&text).unwrap());
        prop::collection::btree_set(id, 1..8)
    }

    proptest! {
        #[test]
        fn everything_is_held_once_and_only_what_must_move_moves(
            mut members in ids(),
            newcomer in "[a-z0-9]{15}".prop_map(|text| MemberId::parse(&text).unwrap()),
        ) {
            let mut world = World::default();
            for member in &members {
                world.member(member, Life::Alive, NOW);
            }
            world.settle(&members);
            let before = world.clone();

            members.insert(newcomer.clone());
            world.member(&newcomer, Life::Alive, NOW);
            world.settle(&members);
            for partition in Partitions::ALL {
                let (was, is) = (before.view.holder(partition), world.view.holder(partition));
                prop_assert!(was == is || is == Some(&newcomer));
            }

            members.remove(&newcomer);
            world.member(&newcomer, Life::Dead, NOW);
            world.settle(&members);
            for partition in Partitions::ALL {
                prop_assert_eq!(before.view.holder(partition), world.view.holder(partition));
            }
        }

        #[test]
        fn the_shares_are_about_equal(members in ids()) {
            let mut world = World::default();
            for member in &members {
                world.member(member, Life::Alive, NOW);
            }
            world.settle(&members);
            let most = members.iter().map(|m| world.held_by(m).len()).max().unwrap();
            // Of so few partitions, chance gives some members more.
            prop_assert!(most <= 64 / members.len() + 24, "{}", most);
        }
    }

    fn id(text: &str) -> MemberId {
        MemberId::parse(text).unwrap()
    }

    #[test]
    fn whoever_is_late_is_buried_before_anything_is_taken_from_it() {
        let (me, other) = (id("a"), id("b"));
        let mut world = World::default();
        world.member(&me, Life::Alive, NOW);
        world.member(&other, Life::Alive, Moment(NOW.0 - 5999));
        let seq = world.seq;
        for partition in Partitions::ALL {
            world.hold(partition, Some(&other));
        }
        assert_eq!(world.plan(&me, false), Plan::default());
        let late = Moment(NOW.0 + 1);
        let plan_at = |floor| plan(&world.view, &me, Own::default(), floor, late);
        let bury = vec![(other.clone(), seq)];
        assert_eq!(
            plan_at(Moment(0)),
            Plan {
                bury,
                ..Plan::default()
            }
        );
        // Whoever could not hear it does not know whether it was silent.
        assert_eq!(plan_at(Moment(NOW.0 - 3000)), Plan::default());
        let burial = next_burial(&world.view, &me, Moment(0));
        assert_eq!(burial, Some(late));
        world.member(&other, Life::Dead, NOW);
        assert_eq!(world.plan(&me, false).acquire.len(), 64);
        assert_eq!(next_burial(&world.view, &me, Moment(0)), None);
    }

    #[test]
    fn a_holder_whom_nobody_knows_is_written_down_as_dead_first() {
        let (me, other) = (id("a"), id("b"));
        let mut world = World::default();
        world.member(&me, Life::Alive, NOW);
        for partition in Partitions::ALL {
            world.hold(partition, Some(&other));
        }
        let bury = vec![(other, 0)];
        assert_eq!(
            world.plan(&me, false),
            Plan {
                bury,
                ..Plan::default()
            }
        );
    }

    #[test]
    fn whoever_ends_leaves_everything_and_gets_nothing() {
        let (me, other) = (id("a"), id("b"));
        let mut world = World::default();
        world.member(&me, Life::Alive, NOW);
        for partition in Partitions::ALL {
            world.hold(partition, Some(&me));
        }
        // Even without anybody who could have it.
        let ending = world.plan(&me, true);
        assert_eq!((ending.leave, ending.acquire.len()), (Partitions::ALL, 0));
        world.member(&other, Life::Alive, NOW);
        world.member(&me, Life::Leaving, NOW);
        assert_eq!(world.plan(&other, false), Plan::default());
        for partition in Partitions::ALL {
            world.hold(partition, None);
        }
        assert_eq!(world.plan(&other, false).acquire.len(), 64);
        assert_eq!(world.plan(&me, true), Plan::default());
    }

    #[test]
    fn what_is_written_down_but_does_not_run_is_taken_again_or_given_back() {
        let (me, other) = (id("a"), id("b"));
        let mut world = World::default();
        world.member(&me, Life::Alive, NOW);
        world.member(&other, Life::Alive, NOW);
        for partition in Partitions::ALL {
            world.hold(partition, Some(&me));
        }
        let plan_of = |own| plan(&world.view, &me, own, Moment(0), NOW);
        let lost = plan_of(Own::default());
        assert_eq!(lost.acquire.len() + lost.release.len(), 64);
        assert!(!lost.acquire.is_empty() && !lost.release.is_empty());
        let busy = Own {
            busy: Partitions::ALL,
            ..Own::default()
        };
        assert_eq!(plan_of(busy), Plan::default());
    }

    #[test]
    fn nothing_is_handed_to_who_may_just_have_died() {
        let (me, other) = (id("a"), id("b"));
        let mut world = World::default();
        world.member(&me, Life::Alive, NOW);
        world.member(&other, Life::Alive, Moment(NOW.0 - 3000));
        for partition in Partitions::ALL {
            world.hold(partition, Some(&me));
        }
        assert_eq!(world.plan(&me, false), Plan::default());
        world.member(&other, Life::Alive, Moment(NOW.0 - 2999));
        assert!(!world.plan(&me, false).leave.is_empty());
    }
}
