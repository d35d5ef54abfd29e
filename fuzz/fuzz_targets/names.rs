//! Device ids, sub-topics, topics and filters: what is taken can do no harm in a topic.
#![no_main]

use causeway::device::DeviceId;
use causeway::topic::{SubTopic, TopicFilter, TopicName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let is_safe_level = |level: &str| {
        !level.is_empty() && !level.contains(['+', '#', '/']) && !level.contains(char::is_control)
    };
    if let Ok(device) = DeviceId::parse(text) {
        assert_eq!(device.as_str(), text);
        assert!(is_safe_level(text) && !text.starts_with('$'), "{text:?}");
        let whole = format!("/up/device/id/{device}");
        let filter = TopicFilter::parse(&whole).expect("a device id has no wildcards");
        assert!(filter.matches(&whole));
        assert!(!filter.matches(&format!("{whole}/more")));
    }
    if let Ok(subtopic) = SubTopic::parse(text) {
        assert_eq!(subtopic.as_str(), text);
        assert!(text.split('/').all(is_safe_level), "{text:?}");
        let whole = format!("up/a/{subtopic}");
        assert!(TopicName::parse(&whole).is_ok());
        assert!(TopicFilter::parse("up/a/#").unwrap().matches(&whole));
        assert!(!TopicFilter::parse("up/b/#").unwrap().matches(&whole));
    }
    if TopicName::parse(text).is_ok() {
        let filter = TopicFilter::parse(text).expect("a topic is a filter for itself");
        // MQTT 5 §4.7.2 keeps topics with a leading `$` from wildcards only.
        assert!(filter.matches(text));
    }
});
