//! One device's keys at work: changes are on disk before they count, and a session signs with the active key.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::error::KeyringError;
use super::pair::KeyPair;
use super::reports::{Reports, Verdict};
use super::ring::{Ring, RingError};
use super::{Core, record};
use crate::device::DeviceId;
use crate::identity::{Algorithm, SigningKey, TokenSpec};
use crate::session::{TokenKey, TokenKid, TokenSource};
use crate::store::records::RecordKind;

/// That a key is in use is written this seldom; in between, it is in memory alone.
const USE_WRITTEN: Duration = Duration::from_secs(3600);

/// The keys of one device. Every change is on disk when it resolves, and goes on when nobody waits for it any more.
pub struct DeviceKeys {
    device: DeviceId,
    core: Arc<Core>,
    ring: Mutex<Ring>,
    /// The key that signs, for the device's session.
    pub(super) active: watch::Sender<Option<TokenKey>>,
    /// Counts what the broker has said.
    said: watch::Sender<u64>,
    /// One write at a time, so that the last one is the newest.
    writing: tokio::sync::Mutex<Written>,
    /// There is more in memory than on disk.
    behind: AtomicBool,
}

/// What is on disk.
#[derive(Debug, Default)]
struct Written {
    /// Up to when it is known that the keys were in use.
    used: Option<SystemTime>,
    /// A digest of what this process wrote last.
    own: Option<Digest>,
    /// The device was deleted: nothing is written any more.
    is_gone: bool,
}

impl Written {
    fn is_own(&self, content: &[u8]) -> bool {
        let own = self.own.as_ref().map(Digest::as_ref);
        own == Some(digest(&SHA256, content).as_ref())
    }
}

impl DeviceKeys {
    pub(super) fn new(device: DeviceId, ring: Ring, core: Arc<Core>) -> Self {
        let active = ring.active().map(token_key);
        let used = ring.keys().iter().filter_map(|key| key.last_used_at).max();
        Self {
            device,
            core,
            ring: Mutex::new(ring),
            active: watch::channel(active).0,
            said: watch::channel(0).0,
            writing: tokio::sync::Mutex::new(Written {
                used,
                ..Written::default()
            }),
            behind: AtomicBool::new(false),
        }
    }

    /// The device.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The keys at this moment.
    pub fn ring(&self) -> Ring {
        self.lock().clone()
    }

    /// What a session signs with: always the active key, also when another one becomes it.
    pub fn source(self: &Arc<Self>, spec: TokenSpec, kid: TokenKid) -> TokenSource {
        let reports = Arc::new(Reports(Arc::clone(self)));
        TokenSource::new(spec, kid, self.active.subscribe(), reports)
    }

    /// What a session would tell.
    #[cfg(test)]
    pub(crate) fn reports(self: &Arc<Self>) -> Arc<dyn crate::session::KeyReports> {
        Arc::new(Reports(Arc::clone(self)))
    }

    /// Makes a key pair, which signs nothing yet.
    pub async fn make(self: &Arc<Self>, algorithm: Algorithm) -> Result<KeyPair, KeyringError> {
        // Looked at first: a key takes its time.
        if self.lock().keys().len() >= super::MAX_KEYS {
            return Err(RingError::Full.into());
        }
        let _turn = self.core.making.acquire().await;
        let made = tokio::task::spawn_blocking(move || {
            KeyPair::new(SigningKey::new(algorithm)?, SystemTime::now())
        });
        let key = made.await.map_err(|_| KeyringError::Closing)??;
        self.add(key).await
    }

    /// Adds a key pair that was made elsewhere, which signs nothing yet.
    pub async fn add(self: &Arc<Self>, key: KeyPair) -> Result<KeyPair, KeyringError> {
        self.change(move |ring| {
            ring.add(key.clone())?;
            Ok(key.clone())
        })
        .await
    }

    /// Lets a key sign from now on; a session that is connected connects anew with it.
    pub async fn activate(self: &Arc<Self>, kid: &str) -> Result<(), KeyringError> {
        let kid: Box<str> = kid.into();
        self.change(move |ring| ring.activate(&kid)).await
    }

    /// Deletes a key that is neither active nor needed to go back to.
    pub async fn delete(self: &Arc<Self>, kid: &str) -> Result<(), KeyringError> {
        let kid: Box<str> = kid.into();
        self.change(move |ring| ring.delete(&kid)).await
    }

    /// What became of a key that was activated, as soon as that is known; what is known by then otherwise.
    pub async fn verdict(&self, kid: &str, until: Instant) -> Verdict {
        let mut said = self.said.subscribe();
        loop {
            said.mark_unchanged();
            let verdict = Verdict::of(&self.lock(), kid);
            if verdict != Verdict::Open {
                return verdict;
            }
            if tokio::time::timeout_at(until, said.changed())
                .await
                .is_err()
            {
                return Verdict::Open;
            }
        }
    }

    /// Writes what is in memory alone.
    pub(super) async fn flush(&self) {
        if !self.behind.load(Ordering::Acquire) {
            return;
        }
        let mut written = self.writing.lock().await;
        if written.is_gone {
            return;
        }
        self.behind.store(false, Ordering::Release);
        let ring = self.ring();
        if let Err(error) = self.write(&ring, &mut written).await {
            self.behind.store(true, Ordering::Release);
            warn!(device = %self.device, "the use of a key cannot be noted: {error}");
        }
    }

    /// Makes a change on disk, then in memory.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl Fn(&mut Ring) -> Result<T, RingError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        let keys = Arc::clone(self);
        // Not the request's own task: a client that goes away must not leave the two apart.
        let changing = self.core.tasks.spawn(async move {
            let mut written = keys.writing.lock().await;
            let (mut next, said) = keys.snapshot();
            change(&mut next)?;
            keys.write(&next, &mut written).await?;
            let done = keys.install(&change, said);
            drop(written);
            // What the broker said meanwhile.
            keys.flush().await;
            done
        });
        changing.await.unwrap_or(Err(KeyringError::Closing))
    }

    /// The keys at this moment, and how often the broker had said something.
    fn snapshot(&self) -> (Ring, u64) {
        let ring = self.lock();
        (ring.clone(), *self.said.borrow())
    }

    /// Makes a change that is on disk already. What the broker has said since then stays.
    fn install<T>(
        &self,
        change: impl Fn(&mut Ring) -> Result<T, RingError>,
        said: u64,
    ) -> Result<T, KeyringError> {
        let mut ring = self.lock();
        if *self.said.borrow() != said {
            self.behind.store(true, Ordering::Release);
        }
        let done = change(&mut ring)?;
        self.publish(&ring);
        Ok(done)
    }

    /// Becomes what another process has written.
    pub(super) async fn reload(&self) -> Result<(), KeyringError> {
        // Nothing is written from here meanwhile, so what is read is neither behind what is in memory nor before it.
        let written = self.writing.lock().await;
        let (kind, key) = (RecordKind::Key, self.device.as_str());
        let content = self.core.vault.get(kind, key).await?;
        let ring = match &content {
            // What the broker has said since then is in memory alone.
            Some(content) if written.is_own(content) => return Ok(()),
            Some(content) => record::decode(content).map_err(|error| KeyringError::Record {
                device: key.into(),
                error,
            })?,
            None => Ring::default(),
        };
        let mut known = self.lock();
        *known = ring;
        self.publish(&known);
        self.said.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Deletes all keys, for good: their device is gone.
    pub(super) async fn delete_all(&self) -> Result<(), KeyringError> {
        let mut written = self.writing.lock().await;
        let (kind, key) = (RecordKind::Key, self.device.as_str());
        self.core.vault.delete(kind, key).await?;
        written.is_gone = true;
        Ok(())
    }

    async fn write(&self, ring: &Ring, written: &mut Written) -> Result<(), KeyringError> {
        if written.is_gone {
            return Err(KeyringError::Gone);
        }
        written.used = Some(SystemTime::now());
        let content = record::encode(ring);
        // What is written without an answer is found as if it were another's.
        written.own = None;
        let vault = &self.core.vault;
        vault
            .put(RecordKind::Key, self.device.as_str(), &content)
            .await?;
        written.own = Some(digest(&SHA256, &content));
        Ok(())
    }

    /// Gives the active key to the session, if it is another one.
    fn publish(&self, ring: &Ring) {
        let active = ring.active();
        self.active.send_if_modified(|known| {
            let is_known = known.as_ref().map(|key| &*key.id) == active.map(|key| &*key.kid);
            if !is_known {
                *known = active.map(token_key);
            }
            !is_known
        });
    }

    /// Notes what the broker said of a key. It is written soon when it changes what a key is for; that a key was `used`
    /// is written now and then.
    pub(super) fn hear(self: &Arc<Self>, used: bool, hear: impl FnOnce(&mut Ring) -> bool) {
        let matters = {
            let mut ring = self.lock();
            let matters = hear(&mut ring);
            self.publish(&ring);
            self.said.send_modify(|count| *count += 1);
            matters
        };
        self.behind.store(true, Ordering::Release);
        if !matters && !used {
            return;
        }
        let keys = Arc::clone(self);
        self.core.tasks.spawn(async move {
            let used = keys.writing.lock().await.used;
            let age = used.and_then(|used| used.elapsed().ok());
            if matters || age.is_none_or(|age| age >= USE_WRITTEN) {
                keys.flush().await;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKeys({:?}, {:?})", self.device, self.lock().keys())
    }
}

fn token_key(key: &KeyPair) -> TokenKey {
    TokenKey {
        id: Arc::clone(&key.kid),
        key: Arc::clone(&key.signs),
    }
}
