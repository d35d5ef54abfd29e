//! MQTT topics: sub-topics that come from a request, topic names to publish on, filters to subscribe to.
//!
//! A topic may contain a connector's secret (akenza's uplink secrets do), so neither [`TopicName`] nor
//! [`TopicFilter`] prints itself.

use std::fmt;
use std::sync::Arc;

use crate::device::MAX_NAME_BYTES;

/// The longest sub-topic that is taken, in bytes, slashes included.
pub const MAX_SUBTOPIC_BYTES: usize = 1024;

/// The longest topic MQTT can carry (MQTT 5 §1.5.4: a UTF-8 string's length is a two-byte integer).
pub const MAX_TOPIC_BYTES: usize = 65_535;

/// Why one level of a topic was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// Nothing between two slashes.
    #[error("is empty or has an empty level")]
    Empty,
    /// More than [`MAX_NAME_BYTES`] bytes.
    #[error(
        "is too long: a level has at most {MAX_NAME_BYTES} bytes, a sub-topic {MAX_SUBTOPIC_BYTES}"
    )]
    TooLong,
    /// `+` or `#`.
    #[error("contains '+' or '#', which MQTT reserves for subscriptions")]
    Wildcard,
    /// A slash, plain or percent-encoded, inside one level.
    #[error("contains '/' inside a level (also as %2F)")]
    Slash,
    /// NUL or another control character.
    #[error("contains a control character")]
    Control,
    /// `.` or `..`, which HTTP clients rewrite before they send.
    #[error("has a level '.' or '..', which HTTP clients resolve as a path")]
    Dots,
    /// A leading `$`, which MQTT reserves for the broker (MQTT 5 §4.7.2).
    #[error("begins with '$', which MQTT reserves for the broker")]
    Dollar,
    /// Percent-encoding that does not decode to UTF-8.
    #[error("is not UTF-8 text in percent-encoding")]
    Encoding,
}

/// Checks one level of a topic as a client may name it.
pub fn check_level(level: &str) -> Result<(), LevelError> {
    if level.is_empty() {
        return Err(LevelError::Empty);
    }
    if level.len() > MAX_NAME_BYTES {
        return Err(LevelError::TooLong);
    }
    if level == "." || level == ".." {
        return Err(LevelError::Dots);
    }
    for c in level.chars() {
        match c {
            '+' | '#' => return Err(LevelError::Wildcard),
            '/' => return Err(LevelError::Slash),
            c if c.is_control() => return Err(LevelError::Control),
            _ => {}
        }
    }
    Ok(())
}

/// What follows the device in an uplink's topic: one or more levels, `alerts/critical`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SubTopic(Box<str>);

impl SubTopic {
    /// Takes decoded levels joined by `/`.
    pub fn parse(text: &str) -> Result<Self, LevelError> {
        if text.len() > MAX_SUBTOPIC_BYTES {
            return Err(LevelError::TooLong);
        }
        if text.starts_with('$') {
            return Err(LevelError::Dollar);
        }
        text.split('/').try_for_each(check_level)?;
        Ok(Self(text.into()))
    }

    /// Levels joined by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a rendered topic cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Empty, or longer than MQTT can carry.
    #[error("a topic has 1 to {MAX_TOPIC_BYTES} bytes")]
    Length,
    /// A wildcard in a topic to publish on, or one that is not a whole level of a filter.
    #[error(
        "'+' and '#' stand alone in a level, '#' only at the end, and neither in a topic to publish on"
    )]
    Wildcard,
    /// NUL or another control character.
    #[error("a topic has no control characters")]
    Control,
}

/// A topic to publish on: no wildcards. It may contain a secret, so it does not print itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Takes a whole topic.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_topic(text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::Wildcard);
        }
        Ok(Self(text.into()))
    }

    /// The topic, secrets included: for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A filter to subscribe to. It may contain a secret, so it does not print itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Takes a whole filter (MQTT 5 §4.7.1).
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_topic(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let wild = level.contains(['+', '#']);
            if wild && (level.len() != 1 || (level == "#" && levels.peek().is_some())) {
                return Err(TopicError::Wildcard);
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter, secrets included: for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `topic` is one that this filter subscribes to (MQTT 5 §4.7).
    pub fn matches(&self, topic: &str) -> bool {
        let mut levels = topic.split('/');
        for filter in self.0.split('/') {
            match (filter, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (literal, Some(level)) if literal == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

fn check_topic(text: &str) -> Result<(), TopicError> {
    if text.is_empty() || text.len() > MAX_TOPIC_BYTES {
        return Err(TopicError::Length);
    }
    if text.chars().any(char::is_control) {
        return Err(TopicError::Control);
    }
    Ok(())
}

macro_rules! redacted {
    ($type:ident) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({} bytes)"), self.0.len())
            }
        }
    };
}
redacted!(TopicName);
redacted!(TopicFilter);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_match_as_the_specification_says() {
        let cases = [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+/c", "a/b/c", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a", false),
            ("/a", "a", false),
            ("+/a", "/a", true),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
        ];
        for (filter, topic, expected) in cases {
            let matches = TopicFilter::parse(filter).map(|f| f.matches(topic));
            assert_eq!(matches, Ok(expected), "{filter} against {topic}");
        }
    }

    #[test]
    fn misplaced_wildcards_are_refused() {
        for bad in ["a+", "a/#/b", "##", "a/b+/c", ""] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad:?} was taken");
        }
        assert!(TopicName::parse("a/+/b").is_err());
    }

    #[test]
    fn topics_do_not_print_themselves() {
        let topic = TopicName::parse("/up/s3cret/id/a").map(|t| format!("{t:?}"));
        assert_eq!(topic, Ok("TopicName(15 bytes)".to_owned()));
    }

    proptest! {
        #[test]
        fn a_subtopic_is_kept_as_it_is_and_never_a_wildcard(text in "\\PC{0,40}") {
            if let Ok(sub) = SubTopic::parse(&text) {
                prop_assert_eq!(sub.as_str(), &text);
                prop_assert!(TopicName::parse(sub.as_str()).is_ok());
            }
        }
    }
}
