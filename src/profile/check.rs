//! The checks that a profile must pass when it is read, before there are values for its variables.

use super::rules::{KidTemplate, PasswordSource, Profile, SessionScope};
use super::template::{Template, TemplateError};
use crate::broker::MqttVersion;
use crate::topic::SubTopic;

/// Why a profile was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not the form of a profile.
    #[error("{0}")]
    Form(String),
    /// A template that cannot be rendered.
    #[error("{key}: {error}")]
    Template {
        /// The key of the template.
        key: &'static str,
        /// What is wrong with it.
        error: TemplateError,
    },
    /// A value outside its limits, or one that contradicts another.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Variables that are always there: the connector's name, its broker's host, and its or the device's secret.
const ALWAYS: [&str; 3] = ["connector", "host", "secret"];

impl Profile {
    pub(super) fn check(&self) -> Result<(), ProfileError> {
        let value = |key, problem| Err(ProfileError::Value { key, problem });
        self.check_templates()?;
        self.check_topics()?;
        if !(5..=65_535).contains(&self.connect.keep_alive.as_secs()) {
            return value("connect.keep_alive", "from 5 s to 65535 s");
        }
        // RFC 7301 §3.1.
        if !(self.connect.alpn.iter()).all(|name| (1..=255).contains(&name.len())) {
            return value("connect.alpn", "a protocol's name has 1 to 255 bytes");
        }
        match (&self.token, self.connect.password) {
            (None, PasswordSource::Jwt) => {
                return value("connect.password", "\"jwt\" needs a [token] section");
            }
            (Some(_), PasswordSource::Jwt) | (None, _) => {}
            (Some(_), _) => {
                return value(
                    "token",
                    "a token is only used with connect.password = \"jwt\"",
                );
            }
        }
        if let Some(token) = &self.token {
            if !(10..=86_400).contains(&token.lifetime.as_secs()) {
                return value("token.lifetime", "from 10 s to 24 h");
            }
            if self.session != SessionScope::Device {
                return value(
                    "session",
                    "\"jwt\" authenticates one device: session must be \"device\"",
                );
            }
            if token
                .claims
                .names()
                .any(|claim| matches!(claim, "iat" | "exp" | "aud"))
            {
                return value("token.claims", "iat, exp and aud are set by the bridge");
            }
        }
        let no_username = self.connect.username.is_none();
        if no_username
            && self.connect.mqtt_version == Some(MqttVersion::V311)
            && self.connect.password != PasswordSource::None
        {
            return value(
                "connect.username",
                "MQTT 3.1.1 has no password without a user name (§3.1.2.9)",
            );
        }
        if self.router && self.session != SessionScope::Device {
            return value(
                "router",
                "only with session = \"device\": with \"connector\" all devices share a connection",
            );
        }
        if self.uplink.default_qos > self.uplink.max_qos {
            return value("uplink.default_qos", "is above uplink.max_qos");
        }
        Ok(())
    }

    fn check_topics(&self) -> Result<(), ProfileError> {
        let value = |key, problem| Err(ProfileError::Value { key, problem });
        let wild = |topic: &Template| topic.text_contains(&['+', '#']);
        if wild(&self.uplink.topic) {
            return value("uplink.topic", "a topic to publish on has no wildcards");
        }
        for (front, topic) in &self.uplink.subtopics {
            if wild(topic) {
                return value("uplink.subtopics", "a topic to publish on has no wildcards");
            }
            if SubTopic::parse(front).is_err() {
                return value(
                    "uplink.subtopics",
                    "a key is one or more levels of a topic, without wildcards",
                );
            }
        }
        for downlink in &self.downlinks {
            match &downlink.prefix {
                None if wild(&downlink.filter) => {
                    return value(
                        "downlink.prefix",
                        "a filter with a wildcard needs one: the filter up to the wildcard",
                    );
                }
                Some(prefix) if wild(prefix) => {
                    return value("downlink.prefix", "what is cut off has no wildcards");
                }
                _ => {}
            }
            let shared = self.router || self.session == SessionScope::Connector;
            let cut = downlink.prefix.as_ref().unwrap_or(&downlink.filter);
            // A variable of the profile's own may have another value for every device.
            if shared
                && !cut
                    .variables()
                    .any(|v| v == "device" || self.variables.contains_key(v))
            {
                return value(
                    "downlink",
                    "devices share a connection, so a filter and its prefix need {device}: it tells whom a message is for",
                );
            }
        }
        if self.ack.as_ref().is_some_and(|ack| wild(&ack.filter)) {
            return value("ack.filter", "one topic per device, without wildcards");
        }
        Ok(())
    }

    fn check_templates(&self) -> Result<(), ProfileError> {
        let own: Vec<&str> = self.variables.keys().map(String::as_str).collect();
        let known = |extra: &[&'static str]| [&ALWAYS[..], &own[..], extra].concat();
        let at = |key| move |error| ProfileError::Template { key, error };

        for variable in self.variables.values() {
            if let Some(default) = &variable.default {
                default
                    .check(&["connector", "host", "device"])
                    .map_err(at("variables"))?;
            }
        }
        let connection = match self.session {
            SessionScope::Device => known(&["device"]),
            SessionScope::Connector => known(&[]),
        };
        self.connect
            .client_id
            .check(&connection)
            .map_err(at("connect.client_id"))?;
        if let Some(username) = &self.connect.username {
            username
                .check(&connection)
                .map_err(at("connect.username"))?;
        }
        let device = known(&["device"]);
        if let Some(token) = &self.token {
            token
                .audience
                .check(&device)
                .map_err(at("token.audience"))?;
            for claim in token.claims.values() {
                claim.check(&device).map_err(at("token.claims"))?;
            }
            if let KidTemplate::Literal(literal) = &token.kid {
                literal.check(&device).map_err(at("token.kid"))?;
            }
        }
        self.uplink
            .topic
            .check(&known(&["device", "subtopic"]))
            .map_err(at("uplink.topic"))?;
        for topic in self.uplink.subtopics.values() {
            topic
                .check(&known(&["device", "subtopic"]))
                .map_err(at("uplink.subtopics"))?;
        }
        if let Some(ack) = &self.ack {
            ack.filter.check(&device).map_err(at("ack.filter"))?;
        }
        for downlink in &self.downlinks {
            downlink
                .filter
                .check(&device)
                .map_err(at("downlink.filter"))?;
            if let Some(prefix) = &downlink.prefix {
                prefix.check(&device).map_err(at("downlink.prefix"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::profile::{builtin, merge};

    fn changed(name: &str, over: &str) -> Result<Profile, ProfileError> {
        let mut table: toml::Table = toml::from_str(builtin(name).unwrap()).unwrap();
        merge(&mut table, toml::from_str(over).unwrap());
        Profile::from_table(table)
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_read() {
        let cases = [
            (
                "akenza-device",
                "uplink.topic = \"/up/{devcie}\"",
                "{devcie}",
            ),
            (
                "akenza-device",
                "uplink.topic = \"/up/+/{device}\"",
                "no wildcards",
            ),
            ("akenza-device", "session = \"connector\"", "{device}"),
            ("akenza-device", "token.lifetime = \"2s\"", "from 10 s"),
            (
                "akenza-device",
                "token.claims.exp = \"1\"",
                "set by the bridge",
            ),
            (
                "akenza-device",
                "connect.password = \"none\"",
                "only used with",
            ),
            ("akenza-device", "colour = \"red\"", "colour"),
            ("akenza-device", "token.claims.a = [inf]", "finite"),
            (
                "akenza-device",
                "token.claims.acl = [\"{devcie}\"]",
                "{devcie}",
            ),
            (
                "akenza-device",
                "uplink.subtopics.a = \"+\"",
                "no wildcards",
            ),
            (
                "akenza-device",
                "uplink.subtopics.\"a/#\" = \"b\"",
                "without wildcards",
            ),
            ("akenza-device", "uplink.subtopics.a = \"{b}\"", "{b}"),
            (
                "akenza-device",
                "downlink = [{ filter = \"a/#\" }]",
                "needs one",
            ),
            (
                "akenza-device",
                "downlink = [{ filter = \"a/#\", prefix = \"+/\" }]",
                "no wildcards",
            ),
            (
                "akenza-secret",
                "downlink = [{ filter = \"a\" }]",
                "need {device}",
            ),
            ("akenza-secret", "router = true", "only with session"),
            (
                "sap-iot",
                "downlink = [{ filter = \"a\" }]",
                "need {device}",
            ),
            (
                "sap-iot",
                "connect.password = \"secret\"",
                "without a user name",
            ),
            ("sap-iot", "connect.mqtt_version = \"4\"", "3.1.1"),
            ("sap-iot", "ack.filter = \"ack/+\"", "without wildcards"),
            ("sap-iot", "ack.filter = \"ack/{devcie}\"", "{devcie}"),
            ("sap-iot", "ack.success = [\"2xx\"]", "200-299"),
            (
                "sap-iot",
                "uplink.envelope.timestamp.parameter = \"qos\"",
                "uplink.envelope.timestamp",
            ),
            ("plain", "connect.password = \"jwt\"", "[token]"),
            ("plain", "connect.keep_alive = \"1s\"", "from 5 s"),
            ("plain", "connect.alpn = [\"\"]", "1 to 255 bytes"),
            ("plain", "connect.tls_identity = \"yes\"", "optional"),
            ("plain", "uplink.default_qos = 2", "above"),
            ("plain", "uplink.max_qos = 3", "0, 1 or 2"),
        ];
        for (name, over, expected) in cases {
            let error = changed(name, over).expect_err(over).to_string();
            assert!(error.contains(expected), "{over}: {error}");
        }
    }

    #[test]
    fn an_override_changes_one_key_and_leaves_the_rest() {
        let profile = changed("akenza-device", "token.lifetime = \"20s\"").unwrap();
        let token = profile.token.unwrap();
        assert_eq!(token.lifetime, Duration::from_secs(20));
        assert_eq!(
            token.audience.source(),
            "https://{audience_host}/devices/{device}"
        );
    }
}
