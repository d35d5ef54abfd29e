//! Listeners of devices whose session is elsewhere: whoever has it is told, and told again when it moves.
//!
//! Some sessions connect only when somebody needs them, and a listener does. What arrives reaches every member by way of
//! the store, so that the listener stays where it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::ask::Ask;
use super::reach::{READ, ask, wait_for_change};
use super::{Forward, Members};
use crate::cluster::{MemberId, Place};
use crate::device::DeviceId;
use crate::registry::Registry;

/// How often everybody is told again, as a session may be another one by now.
const AGAIN: Duration = Duration::from_secs(30);
/// How soon those are told again who could not be told.
const RETRY: Duration = Duration::from_millis(500);
/// Devices of one message.
const CHUNK: usize = 500;

/// All that are listened to here.
#[derive(Debug)]
pub(super) struct Listeners {
    members: Members,
    all: Mutex<Listened>,
}

#[derive(Debug, Default)]
struct Listened {
    devices: BTreeMap<DeviceId, Ears>,
    /// Somebody follows the table.
    followed: bool,
}

#[derive(Debug, Default)]
struct Ears {
    count: usize,
    /// Who was told last.
    told: Option<Place>,
}

/// Somebody listens to these devices, for as long as this is there.
#[derive(Debug)]
pub(in crate::http) struct Ear {
    listeners: Arc<Listeners>,
    devices: Vec<DeviceId>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut all = self.listeners.lock();
        for device in &self.devices {
            if let Some(ears) = all.devices.get_mut(device) {
                ears.count -= 1;
                if ears.count == 0 {
                    all.devices.remove(device);
                }
            }
        }
    }
}

impl Forward {
    /// Somebody listens to these devices. Gives back when those who have them were told, and their sessions have
    /// connected, but not later than `within`.
    pub(in crate::http) async fn listen(
        &self,
        registry: &Arc<Registry>,
        devices: Vec<DeviceId>,
        within: Duration,
        shutdown: &CancellationToken,
    ) -> Ear {
        let listeners = &self.listeners;
        let begins = listeners.add(&devices);
        let ear = Ear {
            listeners: Arc::clone(listeners),
            devices,
        };
        // One that is here is seen to by whoever listens.
        let elsewhere = |device: &&DeviceId| self.is_elsewhere(device);
        let elsewhere: Vec<_> = ear.devices.iter().filter(elsewhere).cloned().collect();
        if !elsewhere.is_empty() {
            let told = listeners.tell(registry, elsewhere, within);
            let _ = tokio::time::timeout(within, told).await;
        }
        if begins {
            let (listeners, registry) = (Arc::clone(listeners), Arc::clone(registry));
            let shutdown = shutdown.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = listeners.follow(&registry) => {}
                }
            });
        }
        ear
    }
}

#[cfg(test)]
impl Forward {
    /// How many devices are listened to.
    pub(in crate::http) fn listened_to(&self) -> usize {
        self.listeners.lock().devices.len()
    }
}

impl Listeners {
    pub(super) fn new(members: Members) -> Self {
        Self {
            members,
            all: Mutex::default(),
        }
    }

    /// `true` where nobody follows the table yet: the caller does.
    fn add(&self, devices: &[DeviceId]) -> bool {
        let mut all = self.lock();
        for device in devices {
            all.devices.entry(device.clone()).or_default().count += 1;
        }
        !std::mem::replace(&mut all.followed, true)
    }

    /// Tells whoever gets a device that is listened to, until nothing is.
    async fn follow(&self, registry: &Registry) {
        let mut changed = self.members.peers.changed();
        let mut all_again = Instant::now() + AGAIN;
        loop {
            changed.borrow_and_update();
            if Instant::now() >= all_again {
                all_again = Instant::now() + AGAIN;
                let mut all = self.lock();
                all.devices.values_mut().for_each(|ears| ears.told = None);
            }
            let Some(news) = self.news() else {
                return;
            };
            let untold = self.tell(registry, news, Duration::ZERO).await;
            let until = match untold {
                true => all_again.min(Instant::now() + RETRY),
                false => all_again,
            };
            wait_for_change(&mut changed, until).await;
        }
    }

    /// The devices whose place is another one than was told; `None` when there are no devices.
    fn news(&self) -> Option<Vec<DeviceId>> {
        let mut all = self.lock();
        if all.devices.is_empty() {
            all.followed = false;
            return None;
        }
        let is_news = |(device, ears): &(&DeviceId, &Ears)| {
            ears.told.as_ref() != Some(&self.members.places.place(device))
        };
        let news = all.devices.iter().filter(is_news);
        Some(news.map(|(device, _)| device.clone()).collect())
    }

    /// Tells those who have these devices; `true` where some could not be told.
    async fn tell(&self, registry: &Registry, devices: Vec<DeviceId>, within: Duration) -> bool {
        let mut untold = false;
        let mut there: BTreeMap<MemberId, Vec<DeviceId>> = BTreeMap::new();
        for device in devices {
            match self.members.places.place(&device) {
                Place::Here => {
                    if let Some(registered) = registry.get(&device) {
                        registered.session.wake();
                    }
                    self.told([&device], &Place::Here);
                }
                Place::There(member) => there.entry(member).or_default().push(device),
                // The table changes when somebody has it.
                Place::Vacant => {}
            }
        }
        let chunks = there.iter().flat_map(|(member, devices)| {
            let chunks = devices.chunks(CHUNK);
            chunks.map(move |chunk| (member, chunk))
        });
        let asked = chunks.map(async |(member, chunk)| {
            let question = Ask::listen(chunk, within);
            let answer = ask(&*self.members.peers, member, question, within + READ).await;
            let Ok(Answer::Absent(absent)) = answer else {
                return true;
            };
            let told = chunk.iter().filter(|device| !absent.contains(device));
            self.told(told, &Place::There(member.clone()));
            !absent.is_empty()
        });
        for failed in join_all(asked).await {
            untold |= failed;
        }
        untold
    }

    fn told<'a>(&self, devices: impl IntoIterator<Item = &'a DeviceId>, place: &Place) {
        let mut all = self.lock();
        for device in devices {
            if let Some(ears) = all.devices.get_mut(device) {
                ears.told = Some(place.clone());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listened> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
