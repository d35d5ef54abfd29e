//! A profile with one connector's and one device's values filled in: what the session and the uplink road use.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::check::ProfileError;
use super::rules::{Downlink, KidTemplate, Profile};
use super::template::{Scope, Template, TemplateError};
use super::uplink_topic::UplinkTopic;
use crate::device::{ConnectorName, DeviceId};
use crate::secret::Secret;
use crate::topic::{TopicError, TopicFilter};

/// The values that a connector and a device give to a profile's variables.
#[derive(Debug, Clone, Copy)]
pub struct ScopeValues<'a> {
    /// The connector's name.
    pub connector: &'a ConnectorName,
    /// The broker's host.
    pub host: &'a str,
    /// The device; absent when a connection for all devices of a connector is rendered.
    pub device: Option<&'a DeviceId>,
    /// The device's secret, or else the connector's.
    pub secret: Option<&'a Secret>,
    /// The connector's values for the profile's own variables.
    pub connector_variables: &'a BTreeMap<String, String>,
    /// The device's, which go before.
    pub device_variables: &'a BTreeMap<String, String>,
}

/// One subscription with its values filled in.
#[derive(Debug, Clone)]
pub struct DownlinkRoute {
    /// What is subscribed to.
    pub filter: TopicFilter,
    /// What is cut off the front of a topic; the whole filter where it has no wildcard.
    pub prefix: TopicFilter,
}

/// Renders a profile's templates for one set of values.
#[derive(Debug)]
pub struct Binding<'a> {
    profile: &'a Profile,
    values: ScopeValues<'a>,
    /// Values of the profile's own variables: given ones, or else rendered defaults.
    own: BTreeMap<&'a str, String>,
}

impl<'a> Binding<'a> {
    /// Refuses values for variables that the profile does not have, and a variable without value or default.
    pub fn new(profile: &'a Profile, values: ScopeValues<'a>) -> Result<Self, BindError> {
        for given in values
            .connector_variables
            .keys()
            .chain(values.device_variables.keys())
        {
            if !profile.variables.contains_key(given) {
                let known = profile
                    .variables
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(BindError::NoSuchVariable {
                    variable: given.clone(),
                    known,
                });
            }
        }
        let mut own = BTreeMap::new();
        for (name, variable) in &profile.variables {
            let given = values
                .device_variables
                .get(name)
                .or_else(|| values.connector_variables.get(name));
            let value = match (given, &variable.default) {
                (Some(given), _) => given.clone(),
                (None, Some(default)) => match default.render(&values) {
                    Ok(value) => value,
                    // A default that speaks of the device has no value where a connection for all is rendered.
                    Err(TemplateError::Unknown { .. }) => continue,
                    Err(error) => return Err(error.into()),
                },
                (None, None) => {
                    return Err(BindError::ValueNeeded {
                        variable: name.clone(),
                        about: variable.about.clone(),
                    });
                }
            };
            own.insert(name.as_str(), value);
        }
        Ok(Self {
            profile,
            values,
            own,
        })
    }

    /// MQTT client id.
    pub fn client_id(&self) -> Result<String, BindError> {
        let id = self.profile.connect.client_id.render(self)?;
        if id.is_empty() {
            Err(BindError::EmptyClientId)
        } else {
            Ok(id)
        }
    }

    /// MQTT user name, if one is sent.
    pub fn username(&self) -> Result<Option<String>, BindError> {
        let Some(template) = &self.profile.connect.username else {
            return Ok(None);
        };
        Ok(Some(template.render(self)?).filter(|name| !name.is_empty()))
    }

    /// The token's audience, extra claims, and literal `kid`.
    pub fn token(&self) -> Result<Option<TokenText>, BindError> {
        let Some(token) = &self.profile.token else {
            return Ok(None);
        };
        Ok(Some(TokenText {
            audience: token.audience.render(self)?,
            claims: token.claims.render(self)?,
            literal_kid: match &token.kid {
                KidTemplate::Literal(literal) => Some(literal.render(self)?),
                _ => None,
            },
        }))
    }

    /// The topics that the device publishes on.
    pub fn uplink_topic(&self) -> Result<UplinkTopic, BindError> {
        let uplink = &self.profile.uplink;
        UplinkTopic::bind(&uplink.topic, &uplink.subtopics, self)
    }

    /// The device's subscriptions.
    pub fn downlinks(&self) -> Result<Vec<DownlinkRoute>, BindError> {
        let rules = self.profile.downlinks.iter();
        rules.map(|rule| self.downlink(rule)).collect()
    }

    /// The topic of the platform's answers to the device's uplinks, where there are any: a filter without wildcards.
    pub fn ack_filter(&self) -> Result<Option<TopicFilter>, BindError> {
        let Some(ack) = &self.profile.ack else {
            return Ok(None);
        };
        let filter = self.filter("ack.filter", &ack.filter)?;
        if filter.expose().contains(['+', '#']) {
            let error = TopicError::Wildcard;
            return Err(BindError::Topic {
                key: "ack.filter",
                error,
            });
        }
        Ok(Some(filter))
    }

    fn downlink(&self, rule: &Downlink) -> Result<DownlinkRoute, BindError> {
        let filter = self.filter("downlink.filter", &rule.filter)?;
        let prefix = match &rule.prefix {
            Some(prefix) => self.filter("downlink.prefix", prefix)?,
            None => filter.clone(),
        };
        // Otherwise a topic would arrive of which nobody can tell whose it is.
        let cut = prefix.expose();
        let begins = filter.expose().starts_with(cut) && cut.ends_with('/');
        if cut.contains(['+', '#']) || !(begins || filter == prefix) {
            return Err(BindError::Prefix);
        }
        Ok(DownlinkRoute { filter, prefix })
    }

    fn filter(&self, key: &'static str, template: &Template) -> Result<TopicFilter, BindError> {
        TopicFilter::parse(&template.render(self)?).map_err(|error| BindError::Topic { key, error })
    }
}

/// The texts of a token that come from templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenText {
    /// The `aud` claim.
    pub audience: String,
    /// Further claims.
    pub claims: Map<String, Value>,
    /// The `kid`, where the profile writes it down.
    pub literal_kid: Option<String>,
}

/// Why a profile does not fit a connector's or a device's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// A template could not be rendered.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The profile is not valid.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A value for a variable that the profile does not have.
    #[error("the profile has no variable {variable:?}; it has: {known}")]
    NoSuchVariable {
        /// The variable that was given a value.
        variable: String,
        /// Those that exist.
        known: String,
    },
    /// A variable without a value and without a default.
    #[error("the profile needs a value for {variable:?} ({about}); write it under variables")]
    ValueNeeded {
        /// The variable.
        variable: String,
        /// What it is.
        about: String,
    },
    /// The client id rendered to nothing.
    #[error("the MQTT client id is empty")]
    EmptyClientId,
    /// A topic that MQTT does not allow, because of a value in it.
    #[error("{key}: {error}")]
    Topic {
        /// The template's key.
        key: &'static str,
        /// What is wrong; the topic itself is not shown, as it may contain a secret.
        error: TopicError,
    },
    /// A downlink's prefix with which no topic of its filter could be told to be the device's.
    #[error(
        "downlink.prefix: with these values it is not the beginning of downlink.filter that ends with a '/' before its wildcard"
    )]
    Prefix,
}

impl Scope for ScopeValues<'_> {
    fn value(&self, variable: &str) -> Option<&str> {
        match variable {
            "connector" => Some(self.connector.as_str()),
            "host" => Some(self.host),
            "device" => self.device.map(DeviceId::as_str),
            "secret" => self.secret.map(Secret::expose),
            _ => None,
        }
    }
}

impl Scope for Binding<'_> {
    fn value(&self, variable: &str) -> Option<&str> {
        self.values
            .value(variable)
            .or_else(|| self.own.get(variable).map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::builtin;
    use crate::topic::SubTopic;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn with<T>(
        profile: &str,
        connector_variables: &BTreeMap<String, String>,
        run: impl FnOnce(Result<Binding<'_>, BindError>) -> T,
    ) -> T {
        let profile = Profile::parse(builtin(profile).unwrap()).unwrap();
        let values = ScopeValues {
            connector: &ConnectorName::parse("cloud").unwrap(),
            host: "mqtt.example",
            device: Some(&DeviceId::parse("pump-1").unwrap()),
            secret: Some(&Secret::new("s3cret")),
            connector_variables,
            device_variables: &BTreeMap::new(),
        };
        run(Binding::new(&profile, values))
    }

    #[test]
    fn akenza_device_renders_as_documented() {
        with("akenza-device", &BTreeMap::new(), |binding| {
            let binding = binding.unwrap();
            assert_eq!(binding.client_id().unwrap(), "pump-1");
            assert_eq!(binding.username().unwrap().as_deref(), Some("unused"));
            assert_eq!(
                binding.token().unwrap().unwrap().audience,
                "https://akenza.io/devices/pump-1"
            );
            let topic = binding.uplink_topic().unwrap();
            assert_eq!(topic.of(None).unwrap().expose(), "/up/device/id/pump-1");
            let sub = SubTopic::parse("alerts/critical").unwrap();
            assert_eq!(
                topic.of(Some(&sub)).unwrap().expose(),
                "/up/device/id/pump-1/alerts/critical"
            );
            assert_eq!(
                binding.downlinks().unwrap()[0].filter.expose(),
                "/down/device/id/pump-1/#"
            );
        });
    }

    #[test]
    fn akenza_secret_renders_as_documented_and_hides_the_secret() {
        with(
            "akenza-secret",
            &variables(&[("connector_id", "abc")]),
            |binding| {
                let binding = binding.unwrap();
                assert_eq!(binding.client_id().unwrap(), "causeway-cloud-abc");
                assert_eq!(binding.username().unwrap().as_deref(), Some("abc"));
                let topic = binding.uplink_topic().unwrap();
                assert_eq!(topic.of(None).unwrap().expose(), "/up/s3cret/id/pump-1");
                assert_eq!(
                    binding.downlinks().unwrap()[0].prefix.expose(),
                    "/down/s3cret/id/pump-1/"
                );
                assert!(
                    !format!("{topic:?} {:?}", binding.downlinks().unwrap()).contains("s3cret")
                );
            },
        );
    }

    #[test]
    fn plain_has_defaults_and_takes_values() {
        with("plain", &BTreeMap::new(), |binding| {
            let binding = binding.unwrap();
            assert_eq!(binding.client_id().unwrap(), "causeway-cloud");
            assert_eq!(binding.username().unwrap(), None);
            assert_eq!(
                binding.uplink_topic().unwrap().of(None).unwrap().expose(),
                "devices/pump-1/up"
            );
        });
        with("plain", &variables(&[("uplink_prefix", "+/")]), |binding| {
            assert!(matches!(
                binding.unwrap().uplink_topic(),
                Err(BindError::Topic { .. })
            ));
        });
    }

    #[test]
    fn variables_are_checked_both_ways() {
        with("akenza-secret", &BTreeMap::new(), |binding| {
            assert!(
                matches!(binding, Err(BindError::ValueNeeded { variable, .. }) if variable == "connector_id")
            );
        });
        with("plain", &variables(&[("usrname", "x")]), |binding| {
            assert!(
                matches!(binding, Err(BindError::NoSuchVariable { variable, .. }) if variable == "usrname")
            );
        });
    }
}
