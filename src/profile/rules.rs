//! The form of a profile file, and the checks that a file of this form must pass.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::template::{Template, TemplateError};
use crate::message::{ContentType, Qos};

/// A platform: what its broker expects of a client. An unknown key is an error.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// One line for `causeway profile list`.
    pub title: String,
    /// Where the platform documents this.
    #[serde(default)]
    pub documentation: Option<String>,
    /// Whether each device has a connection of its own.
    pub session: SessionScope,
    /// How a connection is opened.
    pub connect: Connect,
    /// The token that serves as password; with `password = "jwt"`.
    #[serde(default)]
    pub token: Option<Token>,
    /// What may be published, and where.
    pub uplink: Uplink,
    /// What is subscribed to. A platform without downlinks has none.
    #[serde(default, rename = "downlink")]
    pub downlinks: Vec<Downlink>,
    /// Variables that a connector or a device gives values to, beside the built-in ones.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
}

/// How devices share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionScope {
    /// One connection per device, authenticated as that device.
    Device,
    /// One connection carries all devices of the connector.
    Connector,
}

/// How a connection is opened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// MQTT client id.
    pub client_id: Template,
    /// MQTT user name; none is sent when it is absent or renders to nothing.
    #[serde(default)]
    pub username: Option<Template>,
    /// Where the MQTT password comes from.
    pub password: PasswordSource,
    /// Keep-alive interval, whole seconds, 5 s to 18 h. Default 60 s.
    #[serde(default = "default_keep_alive", deserialize_with = "duration")]
    pub keep_alive: Duration,
    /// How long the broker keeps the session while the bridge is away, so that downlinks sent meanwhile arrive
    /// (MQTT 5 §3.1.2.11.2; with 3.1.1 any value but zero asks for a persistent session). Default 0: a clean start.
    #[serde(default, deserialize_with = "duration")]
    pub session_expiry: Duration,
    /// Whether the client names itself in the TLS handshake. Default `optional`.
    #[serde(default)]
    pub tls_identity: TlsIdentity,
    /// Protocols that are offered in the TLS handshake, the preferred one first (ALPN, RFC 7301), for platforms that
    /// have MQTT on port 443 among others: `["x-amzn-mqtt-ca"]`. Needs TLS. Default: none, and nothing is offered.
    #[serde(default)]
    pub alpn: Vec<String>,
}

/// Whether the client presents a certificate in the TLS handshake, of the device or, where one connection carries all
/// devices, of the connector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsIdentity {
    /// There is no use for one.
    None,
    /// One may be configured.
    #[default]
    Optional,
    /// One must be configured.
    Required,
}

/// Where the MQTT password comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordSource {
    /// None is sent.
    None,
    /// The device's secret, or else the connector's; one of them must be configured.
    Secret,
    /// The same, but nothing is sent when neither is configured.
    OptionalSecret,
    /// A token signed with the device's private key, fresh for every CONNECT.
    Jwt,
}

/// The token that serves as password (RFC 7519).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The `aud` claim.
    pub audience: Template,
    /// From `iat` to `exp`; the connection is renewed before. 10 s to 24 h. Default 20 min.
    #[serde(default = "default_lifetime", deserialize_with = "duration")]
    pub lifetime: Duration,
    /// The header's `kid`. Default `spki-sha256`.
    #[serde(default)]
    pub kid: KidTemplate,
    /// Further claims, text only.
    #[serde(default)]
    pub claims: BTreeMap<String, Template>,
}

/// How a token names the key that it is signed with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KidTemplate {
    /// Lower-case hex SHA-256 of the public key's SubjectPublicKeyInfo in DER.
    #[default]
    SpkiSha256,
    /// Lower-case hex SHA-1 of the certificate in DER.
    CertSha1,
    /// No `kid`.
    None,
    /// This text: `kid = { literal = "{device}-1" }`.
    Literal(Template),
}

/// What may be published, and where.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The topic; a sub-topic is refused where the template has no `{subtopic}`.
    pub topic: Template,
    /// What a body without a content type is taken for. Default: nothing is assumed and nothing is sent.
    #[serde(default, deserialize_with = "optional_content_type")]
    pub default_content_type: Option<ContentType>,
    /// Content types that MQTT 5 carries there. Default: any.
    #[serde(default = "any_content_type")]
    pub content_types: Vec<ContentTypeRule>,
    /// Content types that are taken with MQTT 3.1.1, which carries the payload alone. Default: any.
    #[serde(default = "any_content_type")]
    pub content_types_v3: Vec<ContentTypeRule>,
    /// Quality of service of an uplink that names none. Default 1.
    #[serde(default = "at_least_once", deserialize_with = "qos")]
    pub default_qos: Qos,
    /// The highest quality of service that is taken. Default 1.
    #[serde(default = "at_least_once", deserialize_with = "qos")]
    pub max_qos: Qos,
    /// Whether an uplink may be retained. Default yes.
    #[serde(default = "yes")]
    pub retain: bool,
}

/// One subscription.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downlink {
    /// The filter.
    pub filter: Template,
    /// What is cut off the front of a topic before a listener sees it: the filter up to its wildcard.
    /// Default: nothing stays.
    #[serde(default)]
    pub prefix: Option<Template>,
}

/// A variable that a connector or a device gives a value to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// One line for the user.
    pub about: String,
    /// The value where none is given: a template of built-in variables. Without it, a value must be given.
    #[serde(default)]
    pub default: Option<Template>,
}

/// A content type that a platform takes: `type/subtype`, or `*/*` for any.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct ContentTypeRule(Box<str>);

impl From<String> for ContentTypeRule {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl ContentTypeRule {
    /// Whether this rule takes any type.
    pub fn is_any(&self) -> bool {
        &*self.0 == "*/*"
    }

    /// Whether this rule takes a type.
    pub fn takes(&self, content_type: &ContentType) -> bool {
        self.is_any() || content_type.is(&self.0)
    }

    /// The rule as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
    /// Reads a profile from its text.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let table: toml::Table =
            toml::from_str(text).map_err(|e| ProfileError::Form(e.to_string()))?;
        Self::from_table(table)
    }

    /// Reads a profile from a table: a file's, with a connector's `override` merged into it (see [`merge`]).
    pub fn from_table(table: toml::Table) -> Result<Self, ProfileError> {
        let profile: Self = table
            .try_into()
            .map_err(|e: toml::de::Error| ProfileError::Form(e.message().to_owned()))?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let value = |key, problem| Err(ProfileError::Value { key, problem });
        self.check_templates()?;
        if self.uplink.topic.text_contains(&['+', '#']) {
            return value("uplink.topic", "a topic to publish on has no wildcards");
        }
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
                .keys()
                .any(|claim| matches!(claim.as_str(), "iat" | "exp" | "aud"))
            {
                return value("token.claims", "iat, exp and aud are set by the bridge");
            }
        }
        if self.uplink.default_qos > self.uplink.max_qos {
            return value("uplink.default_qos", "is above uplink.max_qos");
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

/// Lays `over` on `base`: tables are merged key by key, everything else is replaced.
pub fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn default_keep_alive() -> Duration {
    Duration::from_secs(60)
}

fn default_lifetime() -> Duration {
    Duration::from_secs(20 * 60)
}

fn at_least_once() -> Qos {
    Qos::AtLeastOnce
}

fn any_content_type() -> Vec<ContentTypeRule> {
    vec![ContentTypeRule("*/*".into())]
}

fn yes() -> bool {
    true
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn qos<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Qos, D::Error> {
    Qos::from_level(u8::deserialize(deserializer)?).ok_or(serde::de::Error::custom("0, 1 or 2"))
}

fn optional_content_type<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ContentType>, D::Error> {
    ContentType::parse(&String::deserialize(deserializer)?)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::builtin;

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
