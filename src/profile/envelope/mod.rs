//! Envelopes as data: the JSON object that a platform expects around a measure. A client posts it whole, or posts the
//! measure alone and names the rest in query parameters.

mod error;
mod member;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Kind, Members, ObjectError, quoted};

pub use error::EnvelopeError;
pub use member::Member;

/// `[uplink.envelope]`: the members of the object by name. Members of other names are passed on unseen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Member>")]
pub struct Envelope(BTreeMap<String, Member>);

/// A query parameter that an uplink may carry.
#[derive(Debug, Clone, Copy)]
pub struct Parameter<'a> {
    /// Its name.
    pub name: &'a str,
    /// The member of the envelope that it gives a value to.
    pub member: &'a str,
    /// What the profile says of that member.
    pub rules: &'a Member,
}

impl Envelope {
    /// The query parameters that an uplink may carry.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.0.iter().filter_map(|(member, rules)| {
            let name = rules.parameter.as_deref()?;
            Some(Parameter {
                name,
                member,
                rules,
            })
        })
    }

    /// The body to publish. With parameters, they and the posted JSON become the members of the envelope; without any,
    /// the body is an envelope already, is checked and stays as it is. No number changes on the way.
    pub fn wrap(
        &self,
        parameters: &BTreeMap<String, String>,
        body: &Bytes,
    ) -> Result<Bytes, EnvelopeError> {
        if parameters.is_empty() {
            self.check_whole(body)?;
            return Ok(body.clone());
        }
        self.check_names(parameters)?;
        let posted = json::value(body).map_err(EnvelopeError::NotJson)?;
        self.check_not_whole(body)?;
        let mut out = String::with_capacity(body.len() + 160);
        for (name, rules) in &self.0 {
            let given = rules
                .parameter
                .as_ref()
                .and_then(|p| parameters.get_key_value(p));
            let value = match given {
                Some((parameter, text)) => self.parameter_value(parameter, rules, text)?,
                None if rules.body => self.body_value(name, rules, posted)?,
                None => continue,
            };
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(&quoted(name));
            out.push(':');
            out.push_str(&value);
        }
        out.push('}');
        Ok(out.into())
    }

    fn check_names(&self, parameters: &BTreeMap<String, String>) -> Result<(), EnvelopeError> {
        let known: Vec<_> = self.parameters().map(|parameter| parameter.name).collect();
        if let Some(unknown) = parameters
            .keys()
            .find(|name| !known.contains(&name.as_str()))
        {
            return Err(EnvelopeError::NoSuchParameter {
                parameter: unknown.clone(),
                known: known.join(", "),
            });
        }
        for parameter in self.parameters() {
            if parameter.rules.required && !parameters.contains_key(parameter.name) {
                return Err(EnvelopeError::ParameterMissing {
                    parameter: parameter.name.to_owned(),
                    about: parameter.rules.about(),
                    example: self.query(),
                });
            }
        }
        self.each_group(|group| {
            let named = |(_, rules): &(&str, &Member)| rules.parameter.clone();
            let names: Vec<_> = group.iter().filter_map(named).collect();
            let there = names
                .iter()
                .filter(|name| parameters.contains_key(*name))
                .count();
            if there == 1 {
                return Ok(());
            }
            Err(EnvelopeError::ParametersOneOf {
                parameters: names.join(" or "),
                example: self.query(),
            })
        })
    }

    fn parameter_value(
        &self,
        parameter: &str,
        rules: &Member,
        text: &str,
    ) -> Result<String, EnvelopeError> {
        let value = match rules.kind {
            Kind::String if !text.is_empty() => Some(quoted(text)),
            Kind::Integer => text.parse::<i64>().ok().map(|number| number.to_string()),
            kind => json::value(text.as_bytes())
                .ok()
                .filter(|value| kind != Kind::String && kind.takes(value))
                .map(|value| value.get().to_owned()),
        };
        value.ok_or_else(|| EnvelopeError::ParameterType {
            parameter: parameter.to_owned(),
            kind: rules.kind,
            about: rules.about(),
            example: self.query(),
        })
    }

    fn body_value(
        &self,
        name: &str,
        rules: &Member,
        posted: &RawValue,
    ) -> Result<String, EnvelopeError> {
        if rules.takes(posted) {
            return Ok(posted.get().to_owned());
        }
        let element = rules.items.is_empty() || rules.items.iter().any(|kind| kind.takes(posted));
        let no_list = !json::elements(posted).is_some_and(|elements| elements.is_empty());
        if rules.kind == Kind::Array && element && no_list {
            return Ok(format!("[{}]", posted.get()));
        }
        Err(EnvelopeError::BodyType {
            member: name.to_owned(),
            takes: match rules.kind {
                Kind::Array => format!("{}, or one such element alone", rules.takes_words()),
                _ => rules.takes_words(),
            },
            example: rules.example_json(),
        })
    }

    /// Both the parameters and the whole envelope: the measure in it would be an envelope itself.
    fn check_not_whole(&self, body: &[u8]) -> Result<(), EnvelopeError> {
        let Ok(members) = Members::read(body) else {
            return Ok(());
        };
        let mut required = self.0.iter().filter(|(_, rules)| rules.required).peekable();
        if required.peek().is_some() && required.all(|(name, _)| members.has(name)) {
            return Err(EnvelopeError::AlreadyWhole {
                query: self.query(),
            });
        }
        Ok(())
    }

    fn check_whole(&self, body: &[u8]) -> Result<(), EnvelopeError> {
        let members = Members::read(body).map_err(|error| match error {
            ObjectError::Syntax(error) => EnvelopeError::NotJson(error),
            ObjectError::Kind => EnvelopeError::NotObject {
                example: self.ways(),
            },
        })?;
        for (name, rules) in &self.0 {
            let mut values = members.all(name);
            let value = values.next();
            if values.next().is_some() {
                return Err(EnvelopeError::MemberTwice {
                    member: name.clone(),
                });
            }
            match value {
                Some(value) if !rules.takes(value) => {
                    return Err(EnvelopeError::MemberType {
                        member: name.clone(),
                        takes: rules.takes_words(),
                        example: rules.example_json(),
                    });
                }
                None if rules.required => {
                    return Err(EnvelopeError::MemberMissing {
                        member: name.clone(),
                        takes: rules.takes_words(),
                        example: self.ways(),
                    });
                }
                _ => {}
            }
        }
        self.each_group(|group| {
            if group.iter().filter(|(name, _)| members.has(name)).count() == 1 {
                return Ok(());
            }
            let names: Vec<_> = group.iter().map(|(name, _)| *name).collect();
            Err(EnvelopeError::MembersOneOf {
                members: names.join(" or "),
                example: self.ways(),
            })
        })
    }

    fn each_group(
        &self,
        mut check: impl FnMut(&[(&str, &Member)]) -> Result<(), EnvelopeError>,
    ) -> Result<(), EnvelopeError> {
        let words: BTreeSet<_> = self
            .0
            .values()
            .filter_map(|rules| rules.one_of.as_ref())
            .collect();
        for word in words {
            let members = self
                .0
                .iter()
                .filter(|(_, rules)| rules.one_of.as_ref() == Some(word));
            let group: Vec<_> = members
                .map(|(name, rules)| (name.as_str(), rules))
                .collect();
            check(&group)?;
        }
        Ok(())
    }

    /// The members that a message shows: those that are required, and one of every group.
    fn shown(&self) -> impl Iterator<Item = (&str, &Member)> {
        let mut words = BTreeSet::new();
        self.0
            .iter()
            .filter(move |(_, rules)| {
                rules.required || rules.one_of.as_ref().is_some_and(|word| words.insert(word))
            })
            .map(|(name, rules)| (name.as_str(), rules))
    }

    /// `?capability=weather&sensor=roof`
    fn query(&self) -> String {
        let pairs = self.shown().filter_map(|(_, rules)| {
            rules
                .parameter
                .as_ref()
                .map(|parameter| format!("{parameter}={}", rules.example_text()))
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    }

    /// The two ways to post, each with an example.
    fn ways(&self) -> String {
        let members = self
            .shown()
            .map(|(name, rules)| format!("{}: {}", quoted(name), rules.example_json()));
        let whole = members.collect::<Vec<_>>().join(", ");
        match self.parameters().next() {
            Some(_) => format!(
                "post {{{whole}}}, or the measure alone with {}",
                self.query()
            ),
            None => format!("post {{{whole}}}"),
        }
    }
}
