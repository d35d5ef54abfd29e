//! Several members in one process: what one asks another goes from memory to memory, and can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::bridge::Bridge;
use crate::access::Access;
use crate::cluster::{
    Answerer, AskError, Member, MemberId, Partition, Partitions, Peers, Place, Places, Table,
};
use crate::device::DeviceId;
use crate::http::Members;
use crate::message::{Qos, Uplink, UplinkId};
use crate::session::Detached;
use crate::store::StoreError;
use crate::store::records::ReceiptStatus;
use crate::uplink::{Accepted, Fallback, Receipt, UplinkError, Wishes};

/// Members `a`, `b` and so on.
pub(super) struct Cluster {
    pub(super) bridges: Vec<Bridge>,
    pub(super) net: Arc<Net>,
}

/// What is wrong between the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody listens.
    Nobody,
    /// What is asked does not arrive, and nobody says so.
    Deaf,
    /// What is asked is done, and the answer does not arrive.
    Mute,
    /// It has another version.
    Foreign,
    /// No message may have more bytes.
    Narrow(usize),
}

/// How long a member keeps what it has when nobody hears of it.
const LEASE: Duration = Duration::from_millis(300);

/// All that the members share.
#[derive(Default)]
pub(super) struct Net {
    members: Mutex<BTreeMap<MemberId, Seat>>,
    /// Whom the partitions belong to.
    owners: Mutex<BTreeMap<u8, MemberId>>,
    /// Every device that there is.
    pub(super) devices: Mutex<BTreeSet<DeviceId>>,
    /// What was stored by members that could not reach an owner.
    pub(super) shelf: Mutex<Vec<(Uplink, Wishes)>>,
    /// The store is away.
    pub(super) no_store: Mutex<bool>,
    /// Who was asked, in the order of the questions.
    pub(super) asked: Mutex<Vec<String>>,
}

struct Seat {
    table: watch::Sender<Arc<Table>>,
    answerer: Option<Arc<dyn Answerer>>,
    fault: Option<Fault>,
    gone: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn member(index: usize) -> MemberId {
    MemberId::parse(&char::from(b'a' + index as u8).to_string()).unwrap()
}

fn id(device: &str) -> DeviceId {
    DeviceId::parse(device).unwrap()
}

impl Cluster {
    /// So many members, of which the first one has all partitions.
    pub(super) async fn start(count: usize) -> Self {
        Self::start_for(count, Access::open).await
    }

    pub(super) async fn start_for(count: usize, access: impl Fn() -> Access) -> Self {
        let net = Arc::new(Net::default());
        for index in 0..count {
            let alone = Table::alone(Member {
                id: member(index),
                name: "x".into(),
            });
            let seat = Seat {
                table: watch::Sender::new(Arc::new(alone)),
                answerer: None,
                fault: None,
                gone: false,
            };
            lock(&net.members).insert(member(index), seat);
        }
        *lock(&net.owners) = (0..Partition::COUNT).map(|p| (p, member(0))).collect();
        net.tell();
        let mut bridges = Vec::new();
        for index in 0..count {
            let bridge = Bridge::start_member(access(), net.members_of(index)).await;
            let answerer = bridge.answerer.clone();
            lock(&net.members).get_mut(&member(index)).unwrap().answerer = answerer;
            bridges.push(bridge);
        }
        Self { bridges, net }
    }

    /// A device of a member, whose partition it gets.
    pub(super) fn device(&self, device: &str, at: usize) -> Detached {
        let session = self.bridges[at].gets(device);
        lock(&self.net.devices).insert(id(device));
        self.place(device, Some(at));
        session
    }

    /// A device goes to another member, which plays its session from now on.
    pub(super) fn moves(&self, device: &str, from: usize, to: usize) -> Detached {
        self.place(device, None);
        self.bridges[from].loses(device);
        let session = self.bridges[to].gets(device);
        self.place(device, Some(to));
        session
    }

    /// The partition of a device belongs to a member, or to nobody. All others stay where they are.
    pub(super) fn place(&self, device: &str, at: Option<usize>) {
        let partition = Partition::of(device).number();
        match at {
            Some(at) => lock(&self.net.owners).insert(partition, member(at)),
            None => lock(&self.net.owners).remove(&partition),
        };
        self.net.tell();
    }

    /// What one member believes, whoever has the device.
    pub(super) fn believes(&self, at: usize, device: &str, owner: Option<usize>) {
        let mut owners = lock(&self.net.owners).clone();
        let partition = Partition::of(device).number();
        match owner {
            Some(owner) => owners.insert(partition, member(owner)),
            None => owners.remove(&partition),
        };
        let members = lock(&self.net.members);
        let seat = &members[&member(at)];
        let table = self.net.table_of(&member(at), &members, &owners);
        seat.table.send_replace(Arc::new(table));
    }

    pub(super) fn fault(&self, at: usize, fault: Option<Fault>) {
        lock(&self.net.members).get_mut(&member(at)).unwrap().fault = fault;
    }

    /// A member is gone, and everybody knows.
    pub(super) fn goes(&self, at: usize) {
        lock(&self.net.members).get_mut(&member(at)).unwrap().gone = true;
        lock(&self.net.owners).retain(|_, owner| *owner != member(at));
        self.net.tell();
    }

    /// What a member answers to these bytes.
    pub(super) async fn ask(&self, at: usize, bytes: Bytes) -> Bytes {
        let answerer = self.bridges[at].answerer.as_ref().unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), answerer.answer(bytes));
        answer.await.expect("it answers")
    }

    /// How many at a member watch where everybody is.
    pub(super) fn watchers(&self, at: usize) -> usize {
        lock(&self.net.members)[&member(at)].table.receiver_count()
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.net.asked))
    }

    pub(super) fn shelf(&self) -> Vec<String> {
        let shelf = lock(&self.net.shelf);
        let text =
            |(uplink, _): &(Uplink, Wishes)| String::from_utf8_lossy(&uplink.payload).into_owned();
        shelf.iter().map(text).collect()
    }
}

impl Net {
    /// What one member sees of the others.
    pub(super) fn members_of(self: &Arc<Self>, index: usize) -> Members {
        let chair = Arc::new(Chair {
            me: member(index),
            net: Arc::clone(self),
        });
        Members {
            peers: chair.clone(),
            places: chair.clone(),
            fallback: chair,
            lease: LEASE,
        }
    }

    fn tell(&self) {
        let members = lock(&self.members);
        let owners = lock(&self.owners).clone();
        for (id, seat) in &*members {
            let table = self.table_of(id, &members, &owners);
            seat.table.send_replace(Arc::new(table));
        }
    }

    fn table_of(
        &self,
        me: &MemberId,
        members: &BTreeMap<MemberId, Seat>,
        owners: &BTreeMap<u8, MemberId>,
    ) -> Table {
        let alive = members.iter().filter(|(_, seat)| !seat.gone);
        let alive = alive.map(|(id, _)| Member {
            id: id.clone(),
            name: id.as_str().into(),
        });
        let mine = |partition: &Partition| owners.get(&partition.number()) == Some(me);
        let here = Partitions::ALL.iter().filter(mine).collect();
        Table::new(me.clone(), alive.collect(), here, |partition| {
            owners.get(&partition.number()).cloned()
        })
    }
}

/// What one member sees of the others.
struct Chair {
    me: MemberId,
    net: Arc<Net>,
}

impl std::fmt::Debug for Chair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Chair({})", self.me)
    }
}

impl Peers for Chair {
    fn changed(&self) -> watch::Receiver<Arc<Table>> {
        lock(&self.net.members)[&self.me].table.subscribe()
    }

    fn ask(
        &self,
        member: &MemberId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, AskError>> {
        lock(&self.net.asked).push(member.as_str().to_owned());
        let members = lock(&self.net.members);
        let seat = &members[member];
        let answerer = seat.answerer.clone().unwrap();
        let silent = async move {
            // As long as it may take, in a time that is short for a test.
            tokio::time::sleep(within.min(Duration::from_millis(200))).await;
            Err(AskError::TimedOut)
        };
        match seat.fault {
            _ if seat.gone => silent.boxed(),
            None => async move { Ok(answerer.answer(request).await) }.boxed(),
            Some(Fault::Nobody) => async { Err(AskError::Nobody) }.boxed(),
            Some(Fault::Deaf) => silent.boxed(),
            Some(Fault::Mute) => async move {
                drop(answerer.answer(request).await);
                Err(AskError::Lost)
            }
            .boxed(),
            Some(Fault::Foreign) => async move {
                let other = [&[99], &request[1..]].concat();
                Ok(answerer.answer(other.into()).await)
            }
            .boxed(),
            Some(Fault::Narrow(limit)) if request.len() > limit => {
                async move { Err(AskError::TooLarge { limit }) }.boxed()
            }
            Some(Fault::Narrow(limit)) => async move {
                let answer = answerer.answer(request).await;
                match answer.len() > limit {
                    true => Err(AskError::AnswerTooLarge),
                    false => Ok(answer),
                }
            }
            .boxed(),
        }
    }

    fn owner(
        &self,
        partition: Partition,
    ) -> BoxFuture<'static, Result<Option<MemberId>, Box<str>>> {
        let owner = lock(&self.net.owners).get(&partition.number()).cloned();
        let gone = |owner: &MemberId| lock(&self.net.members)[owner].gone;
        let owner = owner.filter(|owner| !gone(owner));
        std::future::ready(Ok(owner)).boxed()
    }
}

impl Places for Chair {
    fn place(&self, device: &DeviceId) -> Place {
        self.table().place(Partition::of(device.as_str()))
    }

    fn partition(&self, device: &DeviceId) -> Partition {
        Partition::of(device.as_str())
    }

    fn knows(&self, device: &DeviceId) -> bool {
        lock(&self.net.devices).contains(device)
    }
}

impl Fallback for Chair {
    fn store(
        &self,
        uplink: Uplink,
        wishes: Wishes,
    ) -> BoxFuture<'static, Result<Accepted, UplinkError>> {
        let net = Arc::clone(&self.net);
        Box::pin(async move {
            if *lock(&net.no_store) {
                return Err(UplinkError::Store(StoreError::Unavailable {
                    cause: "it is away".into(),
                }));
            }
            if !lock(&net.devices).contains(&uplink.device) {
                return Err(UplinkError::UnknownDevice(uplink.device));
            }
            let receipt = Receipt {
                id: UplinkId::new(),
                device: uplink.device.clone(),
                status: ReceiptStatus::Queued,
                reason: None,
                detail: None,
                qos: Qos::AtLeastOnce,
                attempts: 0,
                accepted_at: SystemTime::now(),
                completed_at: None,
                platform: None,
            };
            lock(&net.shelf).push((uplink, wishes));
            Ok(Accepted {
                receipt,
                replayed: false,
            })
        })
    }
}
