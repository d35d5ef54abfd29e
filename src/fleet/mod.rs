//! Which sessions run, and how devices come, change and go while the bridge runs.
//!
//! ```text
//! setup ─► difference ─► plan ─► making ─► transition
//!  data     decision    made, or  changed   waited for
//!                       refused
//! ```
//!
//! - [`Fleet`]: what others call; [`Draft`]: before it runs
//! - `setup`: what is to run, as plain data
//! - `difference`: the steps from one setup to another
//! - `plan`, `workshop`, `reach`, [`token_source`]: what these steps need, made before anything is changed
//! - `making`, `state`: the steps taken; what runs
//! - `change`: the same for one device
//! - `registration`, `departure`, `stored`: devices of the HTTP interface, and where they are kept
//! - `reload`: another configuration
//! - `adopt`: what another process has changed of the registered devices
//! - [`Share`], `hold`: where several processes share a store, which sessions are this one's, and how they come and go
//! - `patient`: what `causeway doctor` examines where no fleet runs
//! - `transition`: uplinks wait until those before them have left for the broker, or are back in the store
//!
//! A session that is not named in a difference keeps its connection. One that becomes another one is told so, and sends
//! what was not confirmed again, first and in its order. Only where a device goes on to *another* session, or to other
//! topics, its lane is held meanwhile.

mod adopt;
mod change;
mod departure;
mod difference;
mod draft;
mod error;
mod hold;
mod making;
mod patient;
mod plan;
mod reach;
mod registration;
mod reload;
mod setup;
mod share;
mod state;
mod stored;
mod token;
mod transition;
mod turns;
mod workshop;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub use departure::Gone;
pub use draft::{Draft, DraftError, verify};
pub use error::{ChangeError, PlanError};
pub use hold::{Holder, Whereabouts};
pub use patient::{patient, patients};
pub use reach::PlanWarning;
pub(crate) use reach::read as read_identity;
pub use registration::Put;
pub use reload::{Changes, Prepared};
pub use share::Share;
pub use stored::Farewell;
pub use token::token_source;

use crate::device::DeviceId;
use crate::downlink::Hub;
use crate::keyring::Keyring;
use crate::registry::Registry;
use crate::session::Shared;
use crate::store::Engine;
use crate::tally::Tally;
use crate::uplink::Uplinks;
use crate::vault::Vault;
use making::Crew;
use plan::Tools;
use state::State;
use stored::StoredDevices;
use turns::Turns;

/// All sessions and the devices on them.
pub struct Fleet {
    registry: Arc<Registry>,
    share: Arc<Share>,
    uplinks: Uplinks,
    hub: Arc<Hub>,
    store: Option<Arc<dyn Engine>>,
    vault: Option<Arc<Vault>>,
    keyring: Option<Arc<Keyring>>,
    tally: Arc<Tally>,
    queue: usize,
    turns: Turns,
    state: Mutex<State>,
    tasks: TaskTracker,
    ending: CancellationToken,
    /// How often sessions were lost whose uplinks have not left them yet.
    losing: watch::Sender<usize>,
    /// What sessions share; gone when the program ends, so that what it leads to can end.
    shared: Mutex<Option<Shared>>,
}

/// What a fleet works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where requests find the devices.
    pub registry: Arc<Registry>,
    /// Which sessions are this process's.
    pub share: Arc<Share>,
    /// The road out.
    pub uplinks: Uplinks,
    /// The road in.
    pub hub: Arc<Hub>,
    /// What survives a restart; without one, no device can be registered.
    pub store: Option<Arc<dyn Engine>>,
    /// Its records with secrets.
    pub vault: Option<Arc<Vault>>,
    /// Keys that are made and kept there.
    pub keyring: Option<Arc<Keyring>>,
}

impl Fleet {
    fn new(parts: Parts, shared: Shared, queue: usize, stored: StoredDevices) -> Self {
        let Parts {
            registry,
            share,
            uplinks,
            hub,
            store,
            vault,
            keyring,
        } = parts;
        let made = share.held();
        Self {
            registry,
            share,
            uplinks,
            hub,
            store,
            vault,
            keyring,
            tally: Arc::clone(&shared.tally),
            queue,
            turns: Turns::default(),
            state: Mutex::new(State {
                made,
                stored,
                ..State::default()
            }),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
            losing: watch::channel(0).0,
            shared: Mutex::new(Some(shared)),
        }
    }

    /// One that knows of no connector and no device, and runs nothing.
    #[cfg(test)]
    pub(crate) fn empty(parts: Parts, shared: Shared) -> Arc<Self> {
        Arc::new(Self::new(parts, shared, 1, StoredDevices::new()))
    }

    /// Why a device that is registered is not there: what of it does not fit the configuration.
    pub fn unfit(&self, id: &DeviceId) -> Option<String> {
        lock(&self.state).unfit.get(id).cloned()
    }

    /// Ends all sessions: they settle what is in flight and disconnect, within `limit`. Nothing is changed after that.
    pub async fn end(&self, limit: Duration) {
        self.ending.cancel();
        if let Some(shared) = lock(&self.shared).take() {
            shared.shutdown.cancel();
        }
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait())
            .await
            .is_err()
        {
            warn!("some sessions were still open after {limit:?}");
        }
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            tally: &self.tally,
            keyring: self.keyring.as_ref(),
            queue: self.queue,
            thorough: false,
        }
    }

    /// Changes what runs, unless the program ends.
    fn with_crew<T>(
        &self,
        change: impl FnOnce(&mut State, &Crew<'_>) -> Result<T, ChangeError>,
    ) -> Result<T, ChangeError> {
        let shared = lock(&self.shared).clone().ok_or(ChangeError::Ending)?;
        let crew = Crew {
            registry: &self.registry,
            share: &self.share,
            shared: &shared,
            tasks: &self.tasks,
        };
        change(&mut lock(&self.state), &crew)
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = lock(&self.state);
        write!(f, "Fleet({} sessions)", state.sessions.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
