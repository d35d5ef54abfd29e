//! The topics that one device publishes on: one of its own, and those of sub-topics.

use std::collections::BTreeMap;

use super::render::BindError;
use super::template::{Scope, Template};
use crate::topic::{SubTopic, TopicName};

/// The topics that one device publishes on. The one without a sub-topic is rendered once, not per message.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkTopic {
    bare: TopicName,
    with_subtopic: Option<Template>,
    /// Topics of their own, by what their sub-topics begin with; the longest first.
    by_front: Vec<(Box<str>, Template)>,
}

impl UplinkTopic {
    /// Fills in a device's values. Whatever could only go wrong with a message is tried out here.
    pub(super) fn bind(
        topic: &Template,
        subtopics: &BTreeMap<String, Template>,
        values: &dyn Scope,
    ) -> Result<Self, BindError> {
        let bound = topic.bind(values);
        let bare = try_out("uplink.topic", &bound, None)?;
        if bound.uses("subtopic") {
            try_out("uplink.topic", &bound, Some("x"))?;
        }
        let mut by_front = Vec::with_capacity(subtopics.len());
        for (front, topic) in subtopics {
            let bound = topic.bind(values);
            try_out(
                "uplink.subtopics",
                &bound,
                bound.uses("subtopic").then_some("x"),
            )?;
            by_front.push((front.as_str().into(), bound));
        }
        by_front.sort_by_key(|(front, _): &(Box<str>, _)| std::cmp::Reverse(front.len()));
        Ok(Self {
            bare,
            with_subtopic: bound.uses("subtopic").then_some(bound),
            by_front,
        })
    }

    /// The topic for a sub-topic. `None` when the profile has no place for it, or the topic grows too long.
    pub fn of(&self, subtopic: Option<&SubTopic>) -> Option<TopicName> {
        let Some(subtopic) = subtopic.map(SubTopic::as_str) else {
            return Some(self.bare.clone());
        };
        for (front, topic) in &self.by_front {
            match subtopic.strip_prefix(&**front) {
                Some("") => return render(topic, None),
                Some(rest) if rest.starts_with('/') => {
                    let fits = topic.uses("subtopic");
                    return fits.then(|| render(topic, Some(&rest[1..])))?;
                }
                _ => {}
            }
        }
        render(self.with_subtopic.as_ref()?, Some(subtopic))
    }
}

fn render(topic: &Template, subtopic: Option<&str>) -> Option<TopicName> {
    TopicName::parse(&topic.render(&Rest(subtopic)).ok()?).ok()
}

fn try_out(
    key: &'static str,
    topic: &Template,
    subtopic: Option<&str>,
) -> Result<TopicName, BindError> {
    TopicName::parse(&topic.render(&Rest(subtopic))?)
        .map_err(|error| BindError::Topic { key, error })
}

/// What a message adds to a bound template.
struct Rest<'a>(Option<&'a str>);

impl Scope for Rest<'_> {
    fn value(&self, variable: &str) -> Option<&str> {
        self.0.filter(|_| variable == "subtopic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicError;

    struct Values(&'static str);
    impl Scope for Values {
        fn value(&self, variable: &str) -> Option<&str> {
            match variable {
                "device" => Some("a"),
                "tail" => Some(self.0),
                _ => None,
            }
        }
    }

    fn bind(
        topic: &str,
        subtopics: &[(&str, &str)],
        tail: &'static str,
    ) -> Result<UplinkTopic, BindError> {
        let template = |text: &str| Template::parse(text).unwrap();
        let subtopics = subtopics
            .iter()
            .map(|(front, text)| ((*front).to_owned(), template(text)));
        UplinkTopic::bind(&template(topic), &subtopics.collect(), &Values(tail))
    }

    #[test]
    fn the_longest_front_wins() {
        let fronts = [
            ("state", "/{device}/state"),
            ("rpc", "rpc/{device}[/{subtopic}]"),
            ("rpc/response", "rpc/response/{subtopic}"),
        ];
        let topic = bind("/{device}/events[/{subtopic}]", &fronts, "").unwrap();
        let of = |text: &str| {
            let subtopic = SubTopic::parse(text).unwrap();
            topic
                .of(Some(&subtopic))
                .map(|name| name.expose().to_owned())
        };
        let cases = [
            ("alerts/hot", Some("/a/events/alerts/hot")),
            ("state", Some("/a/state")),
            ("state/x", None),
            ("states", Some("/a/events/states")),
            ("rpc", Some("rpc/a")),
            ("rpc/x", Some("rpc/a/x")),
            ("rpc/response/7/8", Some("rpc/response/7/8")),
            ("rpc/response", None),
        ];
        for (subtopic, expected) in cases {
            assert_eq!(of(subtopic).as_deref(), expected, "{subtopic}");
        }
        assert_eq!(topic.of(None).unwrap().expose(), "/a/events");
    }

    #[test]
    fn a_wildcard_in_a_value_is_found_wherever_it_would_stand() {
        for (topic, fronts) in [
            ("a/{tail}", [("x", "x")]),
            ("a[/{tail}/{subtopic}]", [("x", "x")]),
            ("a", [("x", "{tail}")]),
            ("a", [("x", "x[/{subtopic}/{tail}]")]),
        ] {
            let refused = matches!(
                bind(topic, &fronts, "+"),
                Err(BindError::Topic {
                    error: TopicError::Wildcard,
                    ..
                })
            );
            assert!(refused, "{topic} {fronts:?}");
            assert!(bind(topic, &fronts, "b").is_ok());
        }
    }
}
