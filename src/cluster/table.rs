//! Who there is, and who holds what.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "nats")]
use super::clock::{Lease, Moment};
use super::partition::{Partition, Partitions};

/// The longest id of a member that is taken, in bytes.
const MAX_ID: usize = 32;

/// A running process. Each start has another one: what was promised to the process before is not promised to this one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// A new one, with 80 random bits.
    pub fn random() -> Self {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let bits: u128 = rand::random();
        let letters = (0..16).map(|place| LETTERS[(bits >> (5 * place) & 31) as usize] as char);
        Self(letters.collect::<String>().into())
    }

    /// The id in a name or a message: 1 to 32 of the characters a-z and 0-9.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=MAX_ID).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        fits.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: MemberId,
    /// Its name for people: `cluster.name`. Two may have the same one.
    pub name: Arc<str>,
}

/// Where a partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this process, and its sessions have been started.
    Here,
    /// With this other member, as far as this process knows: it may have moved since.
    There(MemberId),
    /// With nobody, or on its way from one to another. The table changes when it arrives.
    Vacant,
}

/// The cluster as this process knows it at the moment. It is replaced as a whole when something changes.
#[derive(Debug, Clone)]
pub struct Table {
    me: MemberId,
    members: Arc<[Member]>,
    here: Partitions,
    owners: [Option<MemberId>; Partition::COUNT as usize],
    /// What is here is so only as long as this holds.
    #[cfg(feature = "nats")]
    lease: Option<Arc<Lease>>,
}

/// Whether they say the same, of whatever lease.
impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        (&self.me, &self.members, self.here, &self.owners)
            == (&other.me, &other.members, other.here, &other.owners)
    }
}

impl Table {
    /// A process that is alone and has everything.
    pub fn alone(me: Member) -> Self {
        Self {
            me: me.id.clone(),
            members: [me].into(),
            here: Partitions::ALL,
            owners: std::array::from_fn(|_| None),
            #[cfg(feature = "nats")]
            lease: None,
        }
    }

    /// `here`: what this process has a lease on, has taken, and does not leave. `owner`: who else has a lease.
    pub fn new(
        me: MemberId,
        mut members: Vec<Member>,
        here: Partitions,
        owner: impl Fn(Partition) -> Option<MemberId>,
    ) -> Self {
        members.sort_by(|one, other| one.id.cmp(&other.id));
        let owners = std::array::from_fn(|number| {
            let partition = Partition::new(number as u8)?;
            owner(partition).filter(|owner| *owner != me)
        });
        Self {
            me,
            members: members.into(),
            here,
            owners,
            #[cfg(feature = "nats")]
            lease: None,
        }
    }

    /// What is here is here until the end of this lease, even if nobody has noticed it yet.
    #[cfg(feature = "nats")]
    pub(super) fn under(self, lease: Arc<Lease>) -> Self {
        let lease = Some(lease);
        Self { lease, ..self }
    }

    /// Who this process is.
    pub fn me(&self) -> &MemberId {
        &self.me
    }

    /// All members that are alive, this process included, in the order of their ids.
    pub fn members(&self) -> &Arc<[Member]> {
        &self.members
    }

    /// The others.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.id != self.me)
    }

    /// Where a partition is.
    pub fn place(&self, partition: Partition) -> Place {
        if self.here().has(partition) {
            return Place::Here;
        }
        match &self.owners[usize::from(partition.number())] {
            Some(owner) => Place::There(owner.clone()),
            None => Place::Vacant,
        }
    }

    /// The partitions whose sessions run in this process.
    pub fn here(&self) -> Partitions {
        #[cfg(feature = "nats")]
        if let Some(lease) = &self.lease
            && lease.is_over(Moment::now())
        {
            return Partitions::NONE;
        }
        self.here
    }

    /// Those of another member.
    pub fn held_by(&self, member: &MemberId) -> Partitions {
        if *member == self.me {
            return self.here();
        }
        let all = Partitions::ALL.iter();
        all.filter(|partition| {
            let owner = &self.owners[usize::from(partition.number())];
            !self.here.has(*partition) && owner.as_ref() == Some(member)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str) -> Member {
        Member {
            id: MemberId::parse(id).unwrap(),
            name: id.into(),
        }
    }

    #[test]
    fn an_id_is_a_token_of_a_subject() {
        let (one, other) = (MemberId::random(), MemberId::random());
        assert_eq!(MemberId::parse(one.as_str()), Some(one.clone()));
        assert_ne!(one, other);
        for text in ["", "A", "a.b", "a*", ">", "\u{e4}", &"a".repeat(33)] {
            assert_eq!(MemberId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_partition_is_in_one_place() {
        let (me, other) = (member("a"), member("b"));
        let partition = |number| Partition::new(number).unwrap();
        let here = Partitions::from(partition(3));
        let owner = |p: Partition| match p.number() {
            // This process's lease, whose sessions do not run.
            1 => Some(me.id.clone()),
            2 | 3 => Some(other.id.clone()),
            _ => None,
        };
        let table = Table::new(me.id.clone(), vec![other.clone(), me.clone()], here, owner);
        let places = [0, 1, 2, 3].map(|number| table.place(partition(number)));
        let there = Place::There(other.id.clone());
        assert_eq!(places, [Place::Vacant, Place::Vacant, there, Place::Here]);
        assert_eq!(table.held_by(&other.id), partition(2).into());
        assert_eq!(table.held_by(&me.id), here);
        assert_eq!(table.members()[0], me);
        assert!(table.others().eq([&other]));
        let alone = Table::alone(me);
        assert!(
            Partitions::ALL
                .iter()
                .all(|p| alone.place(p) == Place::Here)
        );
    }
}
