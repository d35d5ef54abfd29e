//! Which device a downlink is for, and what of its topic a listener sees.

use std::collections::HashMap;

use crate::device::DeviceId;
use crate::profile::DownlinkRoute;
use crate::topic::TopicFilter;

/// The downlink topics of a session's devices. Topics may contain a secret, so `Debug` shows none.
#[derive(Default)]
pub struct Routes {
    filters: Vec<TopicFilter>,
    by_prefix: HashMap<Box<str>, DeviceId>,
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
}
