//! The first plan: all that is configured and registered is made, or refused as a whole, before anything runs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use super::error::PlanError;
use super::hold::Elsewhere;
use super::plan::{Plan, Tools, Workshops};
use super::reach::PlanWarning;
use super::setup::Setup;
use super::stored::{self, Composed, StoredDevices, compose};
use super::{Fleet, Parts, reload};
use crate::cluster::Partitions;
use crate::config::Config;
use crate::device::ConnectorName;
use crate::session::Shared;
use crate::tally::Tally;
use crate::vault::VaultError;

/// A fleet that does not run yet, and its first plan.
#[derive(Debug)]
pub struct Draft {
    fleet: Arc<Fleet>,
    plan: Plan,
    composed: Composed,
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
    let tools = Tools::to_examine(&tally, config.limits.queued_uplinks);
    let setup = Setup::of(config, &Setup::default());
    first_plan(&tools, &setup).map(|plan| plan.warnings)
}

pub(super) fn first_plan(tools: &Tools<'_>, setup: &Setup) -> Result<Plan, Vec<PlanError>> {
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
        let tools = Tools::to_examine(&tally, 1);
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
