//! Which device a message is for: a platform's answer to an uplink, or a downlink, and what of its topic a listener sees.
//! Devices join and leave a session while it runs, and what that means for its subscriptions is decided here.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::device::DeviceId;
use crate::mqtt::reason::Reason;
use crate::profile::DownlinkRoute;
use crate::topic::TopicFilter;

/// The topics of a session's devices that something arrives on. Topics may contain a secret, so `Debug` shows none.
#[derive(Default)]
pub struct Routes {
    devices: BTreeMap<DeviceId, DeviceRoutes>,
    /// How many devices need a subscription.
    needed: HashMap<TopicFilter, usize>,
    /// Of several devices with one prefix, the last one gets what arrives.
    by_prefix: HashMap<Box<str>, Vec<DeviceId>>,
    acks: HashMap<Box<str>, Vec<DeviceId>>,
}

/// The topics of one device that something arrives on.
#[derive(Debug, Clone, Default)]
pub struct DeviceRoutes {
    /// Its subscriptions.
    pub downlinks: Vec<DownlinkRoute>,
    /// The topic of the platform's answers to its uplinks: a filter without wildcards.
    pub ack: Option<TopicFilter>,
}

impl DeviceRoutes {
    /// All that is subscribed to for the device.
    pub fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        let downlinks = self.downlinks.iter().map(|route| &route.filter);
        downlinks.chain(&self.ack)
    }
}

/// What a broker has to be told so that it sends what the routes say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RouteChange {
    pub(super) subscribe: Vec<TopicFilter>,
    pub(super) unsubscribe: Vec<TopicFilter>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Routes({} filters)", self.needed.len())
    }
}

impl Routes {
    /// Adds a device, or changes what it had.
    pub fn carry(&mut self, device: &DeviceId, routes: DeviceRoutes) {
        self.change(device, routes);
    }

    /// The same, and what to tell the broker.
    pub(super) fn change(&mut self, device: &DeviceId, routes: DeviceRoutes) -> RouteChange {
        let mut subscribe = Vec::new();
        // The new ones first: what stays is not unsubscribed.
        for filter in routes.filters() {
            let needed = self.needed.entry(filter.clone()).or_default();
            *needed += 1;
            if *needed == 1 {
                subscribe.push(filter.clone());
            }
        }
        let unsubscribe = self.remove(device);
        for route in &routes.downlinks {
            let owners = self.by_prefix.entry(route.prefix.expose().into());
            owners.or_default().push(device.clone());
        }
        if let Some(ack) = &routes.ack {
            let owners = self.acks.entry(ack.expose().into());
            owners.or_default().push(device.clone());
        }
        self.devices.insert(device.clone(), routes);
        RouteChange {
            subscribe,
            unsubscribe,
        }
    }

    /// Takes a device out, and tells the subscriptions that nobody needs any more.
    pub(super) fn remove(&mut self, device: &DeviceId) -> Vec<TopicFilter> {
        let Some(routes) = self.devices.remove(device) else {
            return Vec::new();
        };
        for route in &routes.downlinks {
            disown(&mut self.by_prefix, route.prefix.expose(), device);
        }
        if let Some(ack) = &routes.ack {
            disown(&mut self.acks, ack.expose(), device);
        }
        let mut unsubscribe = Vec::new();
        for filter in routes.filters() {
            let Some(needed) = self.needed.get_mut(filter) else {
                continue;
            };
            *needed -= 1;
            if *needed == 0 {
                self.needed.remove(filter);
                unsubscribe.push(filter.clone());
            }
        }
        unsubscribe
    }

    /// What has to be told to a broker that sends what these routes say, so that it sends what others say.
    pub(super) fn change_to(&self, others: &Self) -> RouteChange {
        let missing = |of: &Self, from: &Self| {
            let missing = of.filters().into_iter();
            missing.filter(|filter| !from.needs(filter)).collect()
        };
        RouteChange {
            subscribe: missing(others, self),
            unsubscribe: missing(self, others),
        }
    }

    /// The device whose uplinks are answered on this very topic.
    pub(super) fn find_ack(&self, topic: &str) -> Option<&DeviceId> {
        self.acks.get(topic)?.last()
    }

    /// What to subscribe to, in the order of the devices.
    pub(super) fn filters(&self) -> Vec<TopicFilter> {
        let mut seen = HashSet::with_capacity(self.needed.len());
        let filters = self.devices.values().flat_map(DeviceRoutes::filters);
        let filters = filters.filter(|filter| seen.insert(*filter));
        filters.cloned().collect()
    }

    /// The devices that need one of these filters, each with what stands beside the first that it needs.
    pub(super) fn devices_with(
        &self,
        filters: &HashMap<TopicFilter, Reason>,
    ) -> BTreeMap<DeviceId, Reason> {
        let with = |(device, routes): (&DeviceId, &DeviceRoutes)| {
            let found = routes.filters().find_map(|filter| filters.get(filter));
            Some((device.clone(), *found?))
        };
        self.devices.iter().filter_map(with).collect()
    }

    /// Whether a subscription is needed.
    pub(super) fn needs(&self, filter: &TopicFilter) -> bool {
        self.needed.contains_key(filter)
    }

    /// The device that a topic belongs to, and what follows the prefix. Costs a look-up for each level of the topic,
    /// however many devices share the session.
    pub(super) fn find<'a>(&self, topic: &'a str) -> Option<(&DeviceId, &'a str)> {
        if let Some(device) = self.owner(topic) {
            return Some((device, ""));
        }
        // `a/b/#` also matches `a/b` itself (MQTT 5 §4.7.1.2), whose prefix is `a/b/`.
        let ends = topic.rmatch_indices('/').map(|(at, _)| at + 1);
        for end in ends {
            if let Some(device) = self.owner(&topic[..end]) {
                return Some((device, &topic[end..]));
            }
        }
        self.owner(&format!("{topic}/")).map(|device| (device, ""))
    }

    fn owner(&self, prefix: &str) -> Option<&DeviceId> {
        self.by_prefix.get(prefix)?.last()
    }
}

fn disown(owners: &mut HashMap<Box<str>, Vec<DeviceId>>, of: &str, device: &DeviceId) {
    if let Some(all) = owners.get_mut(of) {
        if let Some(at) = all.iter().rposition(|owner| owner == device) {
            all.remove(at);
        }
        if all.is_empty() {
            owners.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    fn routes(downlinks: &[(&str, &str)], ack: Option<&str>) -> DeviceRoutes {
        let downlinks = downlinks.iter().map(|(text, prefix)| DownlinkRoute {
            filter: filter(text),
            prefix: filter(prefix),
        });
        DeviceRoutes {
            downlinks: downlinks.collect(),
            ack: ack.map(filter),
        }
    }

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[test]
    fn topics_find_their_device() {
        let mut all = Routes::default();
        let (a, b) = (id("a"), id("b"));
        all.carry(&a, routes(&[("/down/id/a/#", "/down/id/a/")], None));
        all.carry(
            &b,
            routes(&[("commands/b", "commands/b"), ("rpc/b/+", "rpc/b/")], None),
        );
        assert_eq!(all.find("/down/id/a/x/y"), Some((&a, "x/y")));
        assert_eq!(all.find("/down/id/a"), Some((&a, "")));
        assert_eq!(all.find("/down/id/a/"), Some((&a, "")));
        assert_eq!(all.find("commands/b"), Some((&b, "")));
        assert_eq!(all.find("rpc/b/7"), Some((&b, "7")));
        assert_eq!(all.find("/down/id/c/x"), None);
        assert_eq!(all.find(""), None);
    }

    #[test]
    fn answers_are_told_from_downlinks_by_their_very_topic() {
        let mut all = Routes::default();
        let a = id("a");
        all.carry(&a, routes(&[("a/#", "a/")], Some("a/ack")));
        assert_eq!(all.find_ack("a/ack"), Some(&a));
        assert_eq!(all.find_ack("a/ack/x"), None);
        assert_eq!(all.find_ack("a/acks"), None);
        assert_eq!(all.filters().len(), 2);
    }

    #[test]
    fn the_broker_is_told_what_changes_and_nothing_else() {
        let mut all = Routes::default();
        let (a, b) = (id("a"), id("b"));
        let both = [("all/#", "all/"), ("a/#", "a/")];
        let change = all.change(&a, routes(&both, Some("a/ack")));
        assert_eq!(change.subscribe, ["all/#", "a/#", "a/ack"].map(filter));
        assert_eq!(change.unsubscribe, []);
        // One that is there already is needed twice, and subscribed to once.
        let change = all.change(&b, routes(&[("all/#", "all/")], None));
        assert_eq!(change, RouteChange::default());
        let change = all.change(&a, routes(&[("all/#", "all/"), ("new/a", "new/a")], None));
        assert_eq!(change.subscribe, [filter("new/a")]);
        assert_eq!(change.unsubscribe, ["a/#", "a/ack"].map(filter));
        assert_eq!(all.find("a/x"), None);
        assert_eq!(all.find_ack("a/ack"), None);

        assert_eq!(all.find("all/x"), Some((&a, "x")), "the last one to join");
        assert_eq!(all.remove(&a), [filter("new/a")]);
        assert_eq!(all.find("all/x"), Some((&b, "x")));
        assert_eq!(all.remove(&a), []);
        assert_eq!(all.remove(&b), [filter("all/#")]);
        assert!(all.filters().is_empty() && all.by_prefix.is_empty() && all.acks.is_empty());
    }

    #[test]
    fn the_devices_of_a_filter_are_found() {
        let mut all = Routes::default();
        all.carry(&id("a"), routes(&[("a/#", "a/")], Some("a/ack")));
        all.carry(&id("b"), routes(&[("b/#", "b/")], None));
        let refused = HashMap::from([(filter("a/ack"), Reason::NOT_AUTHORIZED)]);
        let found = all.devices_with(&refused);
        assert_eq!(found, BTreeMap::from([(id("a"), Reason::NOT_AUTHORIZED)]));
    }

    #[test]
    fn one_set_of_routes_takes_the_place_of_another() {
        let (mut before, mut after) = (Routes::default(), Routes::default());
        before.carry(&id("a"), routes(&[("a/#", "a/"), ("x", "x")], None));
        after.carry(&id("b"), routes(&[("b/#", "b/"), ("x", "x")], None));
        let change = before.change_to(&after);
        assert_eq!(change.subscribe, [filter("b/#")]);
        assert_eq!(change.unsubscribe, [filter("a/#")]);
    }
}
