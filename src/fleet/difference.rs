//! What has to be done so that one setup becomes another: a pure decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::setup::{Member, SessionKey, Setup};
use crate::config::Connector;
use crate::device::DeviceId;
use crate::profile::Profile;

/// The steps from one setup to another. What is not named stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) sessions: BTreeMap<SessionKey, SessionStep>,
    pub(super) devices: BTreeMap<DeviceId, DeviceStep>,
}

/// What becomes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionStep {
    /// It is new.
    Open,
    /// Another connection takes the place of the one that it has.
    Replace,
    /// It changes, and keeps its connection.
    Adjust,
    /// Nobody needs it any more.
    Close,
}

/// What becomes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceStep {
    Add,
    Change,
    Remove,
}

/// The difference between two setups, or two parts of them: `used` tells whether devices in neither part use a session.
pub(super) fn difference(
    before: &Setup,
    after: &Setup,
    used: &dyn Fn(&SessionKey) -> bool,
) -> Difference {
    Difference {
        sessions: sessions(before, after, used),
        devices: devices(before, after),
    }
}

fn sessions(
    before: &Setup,
    after: &Setup,
    used: &dyn Fn(&SessionKey) -> bool,
) -> BTreeMap<SessionKey, SessionStep> {
    let (old, new) = (keys(before), keys(after));
    let mut steps = BTreeMap::new();
    for key in old.union(&new) {
        let used = used(key);
        let step = match (used || old.contains(key), used || new.contains(key)) {
            (false, _) => Some(SessionStep::Open),
            (_, false) => Some(SessionStep::Close),
            (true, true) => change(key, before, after),
        };
        if let Some(step) = step {
            steps.insert(key.clone(), step);
        }
    }
    steps
}

fn keys(setup: &Setup) -> BTreeSet<SessionKey> {
    let members = setup.devices.values();
    members
        .filter_map(|member| setup.session_of(&member.device))
        .collect()
}

/// What becomes of a session that there is before and after.
fn change(key: &SessionKey, before: &Setup, after: &Setup) -> Option<SessionStep> {
    let owner = |setup: &Setup| Some(setup.devices.get(key.owner.as_ref()?)?.clone());
    // All of a device that has a connection of its own may be part of that.
    let owners = match (owner(before), owner(after)) {
        (Some(old), Some(new)) => Arc::ptr_eq(&old, &new) || old.device == new.device,
        _ => true,
    };
    let connector = |setup: &Setup| setup.connectors.get(&key.connector).cloned();
    let (old, new) = (connector(before)?, connector(after)?);
    let same = Arc::ptr_eq(&old, &new);
    if !owners || !(same || is_same_connection(&old, &new)) {
        Some(SessionStep::Replace)
    } else if !same {
        Some(SessionStep::Adjust)
    } else {
        None
    }
}

/// Whether two connectors are reached in the same way, and as the same client.
fn is_same_connection(a: &Connector, b: &Connector) -> bool {
    // Named one by one, so that a new setting cannot be forgotten here.
    let Connector {
        name: _,
        profile,
        profile_name: _,
        url,
        ca,
        server_name,
        proxy,
        identity,
        mqtt_version,
        connect: _,
        secret,
        drain_rate: _,
        variables,
    } = a;
    let Profile {
        title: _,
        documentation: _,
        session,
        router: _,
        connect,
        token,
        uplink: _,
        downlinks: _,
        ack: _,
        variables: defaults,
    } = profile;
    *url == b.url
        && *ca == b.ca
        && *server_name == b.server_name
        && *proxy == b.proxy
        && *identity == b.identity
        && *mqtt_version == b.mqtt_version
        && *secret == b.secret
        && *variables == b.variables
        && *session == b.profile.session
        && *connect == b.profile.connect
        && *token == b.profile.token
        && *defaults == b.profile.variables
}

fn devices(before: &Setup, after: &Setup) -> BTreeMap<DeviceId, DeviceStep> {
    let mut steps = BTreeMap::new();
    for (id, old) in &before.devices {
        match after.devices.get(id) {
            None => {
                steps.insert(id.clone(), DeviceStep::Remove);
            }
            Some(new) if is_same(old, new, before, after) => {}
            Some(_) => {
                steps.insert(id.clone(), DeviceStep::Change);
            }
        }
    }
    for id in after.devices.keys() {
        if !before.devices.contains_key(id) {
            steps.insert(id.clone(), DeviceStep::Add);
        }
    }
    steps
}

fn is_same(old: &Arc<Member>, new: &Arc<Member>, before: &Setup, after: &Setup) -> bool {
    let connector = |setup: &Setup, member: &Member| {
        let connector = setup.connectors.get(&member.device.connector);
        connector.map(Arc::as_ptr)
    };
    (Arc::ptr_eq(old, new) || old == new) && connector(before, old) == connector(after, new)
}
