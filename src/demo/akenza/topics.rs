//! akenza's topics: `/up/device/id/{device}[/{sub}…]`, `/up/{secret}/id/{device}[/{sub}…]`, and the same with `/down`.

use crate::device::DeviceId;
use crate::topic::check_level;

/// The second level in the topics of device credentials; a connector's secret stands there otherwise.
pub(super) const DEVICE: &str = "device";

/// What akenza calls the topic of an uplink without a sub-topic.
const NO_SUBTOPIC: &str = "default";

/// An uplink's topic, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UplinkTopic<'a> {
    /// `device`, or a connector's secret.
    pub(super) credential: &'a str,
    pub(super) device: &'a str,
    /// What akenza stores: sub-topics joined by `_`.
    pub(super) stored_as: String,
}

/// `None` for a topic of another form.
pub(super) fn parse_uplink(topic: &str) -> Option<UplinkTopic<'_>> {
    let mut levels = topic.split('/');
    let ("", "up") = (levels.next()?, levels.next()?) else {
        return None;
    };
    let credential = levels.next()?;
    let ("id", device) = (levels.next()?, levels.next()?) else {
        return None;
    };
    let subtopics: Vec<_> = levels.collect();
    let valid = check_level(device).is_ok() && subtopics.iter().all(|s| check_level(s).is_ok());
    valid.then(|| UplinkTopic {
        credential,
        device,
        stored_as: match subtopics.as_slice() {
            [] => NO_SUBTOPIC.to_owned(),
            levels => levels.join("_"),
        },
    })
}

/// The credential and the device that a filter asks for the downlinks of. Neither is a wildcard when it is compared
/// with one that exists.
pub(super) fn parse_downlink_filter(filter: &str) -> Option<(&str, &str)> {
    let (credential, rest) = filter.strip_prefix("/down/")?.split_once('/')?;
    let (device, topic) = rest.strip_prefix("id/")?.split_once('/')?;
    (!topic.is_empty()).then_some((credential, device))
}

/// Where a downlink goes.
pub(super) fn downlink(credential: &str, device: &DeviceId, topic: &str) -> String {
    match topic {
        "" => format!("/down/{credential}/id/{device}/{NO_SUBTOPIC}"),
        topic => format!("/down/{credential}/id/{device}/{topic}"),
    }
}

/// A topic as it may be shown: what stands where a secret belongs is left out.
pub(super) fn shown(topic: &str) -> String {
    let mut levels: Vec<_> = topic.split('/').collect();
    // With or without the leading slash, which is easily forgotten.
    let secret = levels
        .iter()
        .position(|l| matches!(*l, "up" | "down"))
        .map(|at| at + 1);
    match secret.and_then(|at| levels.get_mut(at)) {
        Some(level) if *level != DEVICE => *level = "…",
        Some(_) => {}
        None => return "a topic that is not akenza's".to_owned(),
    }
    levels.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtopics_are_joined() {
        let stored = |topic| parse_uplink(topic).map(|t| t.stored_as);
        assert_eq!(stored("/up/device/id/a").as_deref(), Some("default"));
        assert_eq!(
            stored("/up/device/id/a/alerts/critical").as_deref(),
            Some("alerts_critical")
        );
        for bad in [
            "",
            "up/device/id/a",
            "/up/device/a",
            "/up/device/id/",
            "/up/device/id/a/",
            "/up/device/id/a//b",
            "/down/device/id/a",
        ] {
            assert_eq!(parse_uplink(bad), None, "{bad}");
        }
    }

    #[test]
    fn filters_name_their_device() {
        assert_eq!(
            parse_downlink_filter("/down/device/id/a/#"),
            Some(("device", "a"))
        );
        assert_eq!(
            parse_downlink_filter("/down/device/id/+/#"),
            Some(("device", "+"))
        );
        for bad in [
            "#",
            "/down/#",
            "/down/device/id/a",
            "/down/device/id/a/",
            "/up/device/id/a/b",
        ] {
            assert_eq!(parse_downlink_filter(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(shown("/up/s3cret/id/a/b"), "/up/…/id/a/b");
        assert_eq!(shown("up/s3cret/id/a"), "up/…/id/a");
        assert_eq!(shown("/up/device/id/a"), "/up/device/id/a");
        assert_eq!(shown("s3cret/x"), "a topic that is not akenza's");
    }
}
