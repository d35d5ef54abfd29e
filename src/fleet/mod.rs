//! Which sessions run, and how devices come, change and go while the bridge runs.
//!
//! ```text
//! setup ─► difference ─► plan ─► making ─► transition
//!  data     decision    made, or  changed   waited for
//!                       refused
//! ```
//!
//! - [`Fleet`]: what others call
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

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

pub use departure::Gone;
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

use crate::cluster::Partitions;
use crate::config::Config;
use crate::device::{ConnectorName, DeviceId};
use crate::downlink::Hub;
use crate::keyring::Keyring;
use crate::registry::Registry;
use crate::session::Shared;
use crate::store::Engine;
use crate::tally::Tally;
use crate::uplink::Uplinks;
use crate::vault::{Vault, VaultError};
use hold::Elsewhere;
use making::Crew;
use plan::{Plan, Tools, Workshops};
use setup::Setup;
use state::State;
use stored::{Composed, StoredDevices, compose};
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

/// A fleet that does not run yet, and its first plan.
#[derive(Debug)]
pub struct Draft {
    fleet: Arc<Fleet>,
    plan: Plan,
    composed: Composed,
}

impl Draft {
    /// How many devices each connector has.
    pub fn devices(&self) -> BTreeMap<ConnectorName, usize> {
        let mut devices = BTreeMap::new();
        for member in self.composed.setup.devices.values() {
            *devices.entry(member.device.connector.clone()).or_default() += 1;
        }
        devices
    }
}

/// Why there is no first plan.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The configuration cannot be run.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Plan(Vec<PlanError>),
    /// The registered devices cannot be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Fleet {
    /// Plans what a configuration describes, together with the devices that are registered in the store. Nothing runs yet.
    pub async fn plan(config: &Config, parts: Parts, shared: Shared) -> Result<Draft, DraftError> {
        let stored = match &parts.vault {
            Some(vault) => stored::load(vault).await?,
            None => StoredDevices::new(),
        };
        let composed = compose(config, &stored, &Setup::default());
        reload::report_unfit(&composed.unfit);
        let fleet = Self::new(parts, shared, config.limits.queued_uplinks, stored);
        let tools = fleet.tools();
        let (plan, warnings) = match composed.setup.held(fleet.share.held()) {
            Cow::Borrowed(all) => first_plan(&tools, all).map(|mut plan| {
                let warnings = std::mem::take(&mut plan.warnings);
                (plan, warnings)
            }),
            // All of it is looked at, to find what is wrong. What is made is what is held by now.
            Cow::Owned(part) => examine(&tools, &composed.setup)
                .and_then(|warnings| Ok((first_plan(&tools, &part)?, warnings))),
        }
        .map_err(DraftError::Plan)?;
        for warning in &warnings {
            warn!("{warning}");
        }
        Ok(Draft {
            fleet: Arc::new(fleet),
            plan,
            composed,
        })
    }

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

impl Draft {
    /// The fleet, as it will be.
    pub fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet)
    }

    /// Opens the sessions, and lets requests find the devices.
    pub async fn run(self) -> Arc<Fleet> {
        let Self {
            fleet,
            plan,
            composed,
        } = self;
        let made = fleet.with_crew(|state, crew| {
            let Composed { setup, unfit } = composed;
            let held = crew.share.held();
            let transition = crew.carry_out(state, plan, &setup.held(held));
            crew.share.learn(&setup);
            state.made = held;
            state.setup = setup;
            state.unfit = unfit;
            Ok(transition)
        });
        if let Ok(transition) = made {
            transition.finish(&fleet.uplinks).await;
        }
        if fleet.share.held() != Partitions::ALL {
            let elsewhere = Elsewhere(Arc::downgrade(&fleet));
            fleet.uplinks.know_away(Arc::new(elsewhere));
        }
        fleet.resume_departures();
        fleet
    }
}

/// Builds everything that a configuration describes and lets it go again: finds what only shows when it is used.
/// Gives what works, but should be seen to.
pub fn verify(config: &Config) -> Result<Vec<PlanWarning>, Vec<PlanError>> {
    let tally = Tally::default();
    let tools = Tools {
        tally: &tally,
        keyring: None,
        queue: config.limits.queued_uplinks,
        thorough: true,
    };
    let setup = Setup::of(config, &Setup::default());
    first_plan(&tools, &setup).map(|plan| plan.warnings)
}

fn first_plan(tools: &Tools<'_>, setup: &Setup) -> Result<Plan, Vec<PlanError>> {
    let nothing = Setup::default();
    tools.plan(&nothing, setup, &Workshops::new(), &|_| false)
}

/// Plans everything and lets it go again, one part after the other: memory that was needed once for all devices is hardly
/// ever given back to the system.
fn examine(tools: &Tools<'_>, setup: &Setup) -> Result<Vec<PlanWarning>, Vec<PlanError>> {
    let nothing = Setup::default();
    let examined = first_plan(tools, &setup.part(BTreeMap::new())).and_then(|connectors| {
        let Plan {
            workshops,
            mut warnings,
            ..
        } = connectors;
        for part in setup.parts() {
            let plan = tools.plan(&nothing, &part, &workshops, &|_| false)?;
            warnings.extend(plan.warnings);
        }
        Ok(warnings)
    });
    // All that is wrong is told at once, and in its order.
    examined.or_else(|_| first_plan(tools, setup).map(|plan| plan.warnings))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with these devices, examined in parts, and planned whole.
    fn examined(devices: &str) -> [Vec<String>; 2] {
        let text = format!(
            "[connectors.own]\nprofile = \"akenza-device\"\nurl = \"mqtt://own\"\n[devices]\n{devices}"
        );
        let config = Config::from_text(&text, "causeway.toml", ".".as_ref(), []);
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        let setup = Setup::of(&config, &Setup::default());
        let tally = Tally::default();
        let tools = Tools {
            tally: &tally,
            keyring: None,
            queue: 1,
            thorough: true,
        };
        let texts = |errors: Vec<PlanError>| errors.iter().map(ToString::to_string).collect();
        let parts = examine(&tools, &setup).err().unwrap_or_default();
        let whole = first_plan(&tools, &setup).err().unwrap_or_default();
        [texts(parts), texts(whole)]
    }

    #[test]
    fn what_is_wrong_with_a_device_is_found_in_whatever_part_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let bad = file(
            "bad.pem",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        );
        let devices = |wrong: std::ops::Range<usize>| {
            let device = |number| match wrong.contains(&number) {
                true => {
                    format!("d{number} = {{ connector = \"own\", private_key_file = {bad:?} }}\n")
                }
                false => format!("d{number} = {{ connector = \"own\" }}\n"),
            };
            (0..40).map(device).collect::<String>()
        };
        for number in 0..40 {
            let [parts, whole] = examined(&devices(number..number + 1));
            assert_eq!((parts.len(), &parts), (1, &whole));
        }
        let [parts, whole] = examined(&devices(3..20));
        assert_eq!((parts.len(), &parts), (17, &whole));
        assert_eq!(examined(&devices(0..0)), [[""; 0]; 2]);
    }
}
