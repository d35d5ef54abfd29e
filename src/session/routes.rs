//! Which device a message is for: a platform's answer to an uplink, or a downlink, and what of its topic a listener sees.

use std::collections::HashMap;

use crate::device::DeviceId;
use crate::profile::DownlinkRoute;
use crate::topic::TopicFilter;

/// The topics of a session's devices that something arrives on. Topics may contain a secret, so `Debug` shows none.
#[derive(Default)]
pub struct Routes {
    filters: Vec<TopicFilter>,
    by_prefix: HashMap<Box<str>, DeviceId>,
    acks: HashMap<Box<str>, DeviceId>,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Routes({} filters)", self.filters.len())
    }
}

impl Routes {
    /// Adds a device's subscriptions.
    pub fn add(&mut self, device: &DeviceId, routes: Vec<DownlinkRoute>) {
        for route in routes {
            self.filters.push(route.filter);
            self.by_prefix
                .insert(route.prefix.expose().into(), device.clone());
        }
    }

    /// Adds the topic of the platform's answers to a device's uplinks: a filter without wildcards.
    pub fn add_ack(&mut self, device: &DeviceId, filter: TopicFilter) {
        self.acks.insert(filter.expose().into(), device.clone());
        self.filters.push(filter);
    }

    /// The device whose uplinks are answered on this very topic.
    pub(super) fn find_ack(&self, topic: &str) -> Option<&DeviceId> {
        self.acks.get(topic)
    }

    /// What to subscribe to.
    pub(super) fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// The device that a topic belongs to, and what follows the prefix. Costs a look-up for each level of the topic,
    /// however many devices share the session.
    pub(super) fn find<'a>(&self, topic: &'a str) -> Option<(&DeviceId, &'a str)> {
        if let Some(device) = self.by_prefix.get(topic) {
            return Some((device, ""));
        }
        // `a/b/#` also matches `a/b` itself (MQTT 5 §4.7.1.2), whose prefix is `a/b/`.
        let ends = topic.rmatch_indices('/').map(|(at, _)| at + 1);
        for end in ends {
            if let Some(device) = self.by_prefix.get(&topic[..end]) {
                return Some((device, &topic[end..]));
            }
        }
        self.by_prefix
            .get(&*format!("{topic}/"))
            .map(|device| (device, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(filter: &str, prefix: &str) -> DownlinkRoute {
        DownlinkRoute {
            filter: TopicFilter::parse(filter).unwrap(),
            prefix: TopicFilter::parse(prefix).unwrap(),
        }
    }

    #[test]
    fn topics_find_their_device() {
        let mut routes = Routes::default();
        let (a, b) = (DeviceId::parse("a").unwrap(), DeviceId::parse("b").unwrap());
        routes.add(&a, vec![route("/down/id/a/#", "/down/id/a/")]);
        routes.add(
            &b,
            vec![
                route("commands/b", "commands/b"),
                route("rpc/b/+", "rpc/b/"),
            ],
        );
        assert_eq!(routes.find("/down/id/a/x/y"), Some((&a, "x/y")));
        assert_eq!(routes.find("/down/id/a"), Some((&a, "")));
        assert_eq!(routes.find("/down/id/a/"), Some((&a, "")));
        assert_eq!(routes.find("commands/b"), Some((&b, "")));
        assert_eq!(routes.find("rpc/b/7"), Some((&b, "7")));
        assert_eq!(routes.find("/down/id/c/x"), None);
        assert_eq!(routes.find(""), None);
    }

    #[test]
    fn answers_are_told_from_downlinks_by_their_very_topic() {
        let mut routes = Routes::default();
        let a = DeviceId::parse("a").unwrap();
        routes.add(&a, vec![route("a/#", "a/")]);
        routes.add_ack(&a, TopicFilter::parse("a/ack").unwrap());
        assert_eq!(routes.find_ack("a/ack"), Some(&a));
        assert_eq!(routes.find_ack("a/ack/x"), None);
        assert_eq!(routes.find_ack("a/acks"), None);
        assert_eq!(routes.filters().len(), 2);
    }
}
