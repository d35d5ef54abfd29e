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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use DeviceStep::{Add, Change, Remove};
    use SessionStep::{Adjust, Close, Open, Replace};

    const PLANT: &str = r#"
[connectors.plant]
profile = "plain"
url = "mqtt://localhost"
override.session = "device"
override.connect.client_id = "plant-{device}"
[connectors.shared]
profile = "akenza-secret"
url = "mqtts://mqtt.akenza.io"
secret = "s"
variables = { connector_id = "abc" }
[connectors.sap]
profile = "sap-iot"
url = "mqtts://sap"
override.connect.tls_identity = "optional"
[devices]
pump = { connector = "plant" }
valve = { connector = "plant", secret = "v" }
a = { connector = "shared" }
router = { connector = "sap" }
behind = { connector = "sap", via = "router" }
"#;

    fn setup(text: &str, before: &Setup) -> Setup {
        let config = Config::from_text(text, "causeway.toml", ".".as_ref(), []);
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        Setup::of(&config, before)
    }

    type Named = (Vec<(String, SessionStep)>, Vec<(String, DeviceStep)>);

    /// The steps from the plant to what it is with one thing replaced, as text: `connector` or `connector/owner`.
    fn steps(from: &str, to: &str) -> Named {
        assert!(PLANT.contains(from), "{from}");
        let before = setup(PLANT, &Setup::default());
        let after = setup(&PLANT.replace(from, to), &before);
        let Difference { sessions, devices } = difference(&before, &after, &|_| false);
        let name = |key: SessionKey| match key.owner {
            Some(owner) => format!("{}/{owner}", key.connector),
            None => key.connector.to_string(),
        };
        (
            sessions
                .into_iter()
                .map(|(k, step)| (name(k), step))
                .collect(),
            devices
                .into_iter()
                .map(|(id, step)| (id.to_string(), step))
                .collect(),
        )
    }

    fn assert_steps(
        from: &str,
        to: &str,
        sessions: &[(&str, SessionStep)],
        devices: &[(&str, DeviceStep)],
    ) {
        let owned = |(name, step): &(&str, SessionStep)| ((*name).to_owned(), *step);
        let sessions: Vec<_> = sessions.iter().map(owned).collect();
        let owned = |(name, step): &(&str, DeviceStep)| ((*name).to_owned(), *step);
        let devices: Vec<_> = devices.iter().map(owned).collect();
        assert_eq!(steps(from, to), (sessions, devices), "{from} -> {to}");
    }

    #[test]
    fn the_same_text_is_no_difference() {
        assert_steps("[devices]", "[devices]  # a comment", &[], &[]);
    }

    #[test]
    fn devices_with_a_connection_of_their_own() {
        let pump = "pump = { connector = \"plant\" }\n";
        assert_steps(pump, "", &[("plant/pump", Close)], &[("pump", Remove)]);
        let two = "pump = { connector = \"plant\" }\nsump = { connector = \"plant\" }\n";
        assert_steps(pump, two, &[("plant/sump", Open)], &[("sump", Add)]);
        assert_steps(
            "secret = \"v\"",
            "secret = \"w\"",
            &[("plant/valve", Replace)],
            &[("valve", Change)],
        );
    }

    #[test]
    fn devices_on_a_shared_connection_come_and_go_without_it() {
        let a = "a = { connector = \"shared\" }\n";
        assert_steps(
            a,
            "a = { connector = \"shared\" }\nb = { connector = \"shared\" }\n",
            &[],
            &[("b", Add)],
        );
        assert_steps(a, "", &[("shared", Close)], &[("a", Remove)]);
        assert_steps(
            "behind = {",
            "other = {",
            &[],
            &[("behind", Remove), ("other", Add)],
        );
        assert_steps(
            "secret = \"s\"",
            "secret = \"t\"",
            &[("shared", Replace)],
            &[("a", Change)],
        );
    }

    #[test]
    fn a_device_that_goes_on_elsewhere_leaves_one_session_for_another() {
        assert_steps(
            "pump = { connector = \"plant\" }",
            "pump = { connector = \"shared\" }",
            &[("plant/pump", Close)],
            &[("pump", Change)],
        );
        assert_steps(
            ", via = \"router\"",
            "",
            &[("sap/behind", Open)],
            &[("behind", Change)],
        );
    }

    #[test]
    fn what_a_connection_has_no_part_in_does_not_close_it() {
        let url = "url = \"mqtt://localhost\"";
        let both = [("pump", Change), ("valve", Change)];
        for soft in [
            "drain_rate = 7",
            "connect = \"eager\"",
            "override.uplink.max_qos = 0\noverride.uplink.default_qos = 0",
        ] {
            let to = format!("{url}\n{soft}");
            assert_steps(
                url,
                &to,
                &[("plant/pump", Adjust), ("plant/valve", Adjust)],
                &both,
            );
        }
        for hard in [
            "mqtt_version = \"5\"",
            "secret = \"x\"",
            "override.connect.keep_alive = \"30s\"",
        ] {
            let to = format!("{url}\n{hard}");
            assert_steps(
                url,
                &to,
                &[("plant/pump", Replace), ("plant/valve", Replace)],
                &both,
            );
        }
    }

    #[test]
    fn a_part_knows_of_what_is_outside_of_it() {
        let (nothing, all) = (Setup::default(), setup(PLANT, &Setup::default()));
        let only = |id: &str| {
            let mut part = all.clone();
            part.devices.retain(|known, _| known.as_str() == id);
            part
        };
        let mut before = only("a");
        before.devices.clear();
        let used = difference(&before, &only("a"), &|_| true);
        assert!(used.sessions.is_empty() && used.devices.len() == 1);
        let unused = difference(&before, &only("a"), &|_| false);
        assert_eq!(unused.sessions.into_values().collect::<Vec<_>>(), [Open]);
        assert_eq!(
            difference(&nothing, &nothing, &|_| true),
            Difference::default()
        );
    }
}
