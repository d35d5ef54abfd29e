//! The form of a profile file, and the checks that a file of this form must pass.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::ack::AckRules;
use super::check::ProfileError;
use super::claims::Claims;
use super::envelope::Envelope;
use super::template::Template;
use crate::broker::MqttVersion;
use crate::message::{ContentType, Qos};

/// A platform: what its broker expects of a client. An unknown key is an error.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// One line for `causeway profile list`.
    pub title: String,
    /// Where the platform documents this.
    #[serde(default)]
    pub documentation: Option<String>,
    /// Whether each device has a connection of its own.
    pub session: SessionScope,
    /// Whether a device's connection may also carry devices behind it, which have no credentials of their own: a
    /// router device, which they name. Only where each device has a connection. Default no.
    #[serde(default)]
    pub router: bool,
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
    /// How the platform itself answers uplinks. Default: it does not.
    #[serde(default)]
    pub ack: Option<AckRules>,
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// MQTT client id.
    pub client_id: Template,
    /// MQTT user name; none is sent when it is absent or renders to nothing.
    #[serde(default)]
    pub username: Option<Template>,
    /// Where the MQTT password comes from.
    pub password: PasswordSource,
    /// The protocol version, where the connector names none. Default: 5, and 3.1.1 where the broker refuses 5.
    #[serde(default, deserialize_with = "mqtt_version")]
    pub mqtt_version: Option<MqttVersion>,
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
    /// None is sent, which brokers take for an empty one.
    None,
    /// The device's secret, or else the connector's; one of them must be configured.
    Secret,
    /// The same, but nothing is sent when neither is configured.
    OptionalSecret,
    /// A token signed with the device's private key, fresh for every CONNECT.
    Jwt,
}

/// The token that serves as password (RFC 7519).
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    /// Further claims: text with variables, numbers, booleans, lists and tables. Default: none.
    #[serde(default)]
    pub claims: Claims,
}

/// How a token names the key that it is signed with.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The topic; a sub-topic is refused where the template has no `{subtopic}`.
    pub topic: Template,
    /// Topics of their own for sub-topics that are, or begin with, these levels; `{subtopic}` is what follows them.
    /// The longest goes first. Default: none.
    #[serde(default)]
    pub subtopics: BTreeMap<String, Template>,
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
    /// The JSON object that the platform expects. Default: the body is published as it is.
    #[serde(default)]
    pub envelope: Option<Envelope>,
}

/// One subscription.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downlink {
    /// The filter.
    pub filter: Template,
    /// What is cut off the front of a topic before a listener sees it: a beginning of the filter that ends with `/`
    /// before its first wildcard. Default: the whole topic, of a filter without wildcards.
    #[serde(default)]
    pub prefix: Option<Template>,
}

/// A variable that a connector or a device gives a value to.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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

    /// The templates of a connection: client id, user name, token.
    pub fn connection_templates(&self) -> impl Iterator<Item = &Template> {
        let token = self.token.iter().flat_map(|token| {
            let kid = match &token.kid {
                KidTemplate::Literal(literal) => Some(literal),
                _ => None,
            };
            std::iter::once(&token.audience)
                .chain(token.claims.values())
                .chain(kid)
        });
        std::iter::once(&self.connect.client_id)
            .chain(&self.connect.username)
            .chain(token)
    }

    /// The templates of one device's topics, on whosever connection: uplinks, downlinks, acks.
    pub fn device_templates(&self) -> impl Iterator<Item = &Template> {
        let downlinks = self
            .downlinks
            .iter()
            .flat_map(|downlink| std::iter::once(&downlink.filter).chain(&downlink.prefix));
        std::iter::once(&self.uplink.topic)
            .chain(self.uplink.subtopics.values())
            .chain(downlinks)
            .chain(self.ack.iter().map(|ack| &ack.filter))
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

fn mqtt_version<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<MqttVersion>, D::Error> {
    let parsed = String::deserialize(deserializer)?.parse();
    parsed.map(Some).map_err(serde::de::Error::custom)
}

fn optional_content_type<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ContentType>, D::Error> {
    ContentType::parse(&String::deserialize(deserializer)?)
        .map(Some)
        .map_err(serde::de::Error::custom)
}
