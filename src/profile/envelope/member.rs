//! The members of an envelope, and the checks that they must pass.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::check::ProfileError;
use super::super::json::{self, Kind, quoted};
use super::Envelope;

/// One member of an envelope.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The types that an array's elements may have; such an array has at least one. Default: any, and it may be empty.
    #[serde(default)]
    pub items: Vec<Kind>,
    /// Whether it must be there. Default no.
    #[serde(default)]
    pub required: bool,
    /// Of the members with the same word here, exactly one must be there. Default: it stands alone.
    #[serde(default)]
    pub one_of: Option<String>,
    /// The query parameter that gives its value: text, a number or a boolean. Default: none does.
    #[serde(default)]
    pub parameter: Option<String>,
    /// Whether the posted JSON is its value. Where it is an array, one element may be posted alone. Default no.
    #[serde(default)]
    pub body: bool,
    /// One line for the user. Default: none.
    #[serde(default)]
    pub about: Option<String>,
    /// A value for error messages, as it stands in a query or, for `body`, in JSON. Default: one of its type.
    #[serde(default)]
    pub example: Option<String>,
}

/// Query parameters of an uplink that mean something with every profile.
const RESERVED: [&str; 5] = ["qos", "retain", "expiry", "confirm", "wait"];

impl Member {
    fn check(&self) -> Result<(), &'static str> {
        let example = self.example_json();
        let example = json::value(example.as_bytes());
        if !self.items.is_empty() && self.kind != Kind::Array {
            return Err("items are an array's");
        }
        if self.required && self.one_of.is_some() {
            return Err("one_of says already that one of several is required");
        }
        if self.example.is_some() && !example.is_ok_and(|value| self.takes(value)) {
            return Err("the example is not of this type");
        }
        let Some(name) = &self.parameter else {
            return Ok(());
        };
        if self.body {
            return Err("its value is a parameter's or the body, not both");
        }
        if matches!(self.kind, Kind::Object | Kind::Array) {
            return Err("a parameter is text, a number or a boolean");
        }
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        {
            return Err("a parameter's name consists of a-z, 0-9 and _");
        }
        if RESERVED.contains(&name.as_str()) {
            return Err("qos, retain, expiry, confirm and wait are parameters of every uplink");
        }
        Ok(())
    }

    pub(super) fn takes(&self, value: &RawValue) -> bool {
        let elements = || json::elements(value).unwrap_or_default();
        let fits = |element: &&RawValue| self.items.iter().any(|kind| kind.takes(element));
        self.kind.takes(value)
            && (self.items.is_empty() || !elements().is_empty() && elements().iter().all(fits))
    }

    pub(super) fn takes_words(&self) -> String {
        let items: Vec<_> = self.items.iter().map(Kind::to_string).collect();
        match items.is_empty() {
            true => self.kind.to_string(),
            false => format!(
                "an array with at least one element, each {}",
                items.join(" or ")
            ),
        }
    }

    pub(super) fn about(&self) -> String {
        self.about
            .as_ref()
            .map(|about| format!(" ({about})"))
            .unwrap_or_default()
    }

    pub(super) fn example_text(&self) -> &str {
        self.example.as_deref().unwrap_or(match self.kind {
            Kind::String => "text",
            Kind::Integer | Kind::Number => "1",
            Kind::Boolean => "true",
            Kind::Object => "{}",
            Kind::Array => "[]",
        })
    }

    pub(super) fn example_json(&self) -> String {
        match self.kind {
            Kind::String => quoted(self.example_text()),
            _ => self.example_text().to_owned(),
        }
    }
}

impl TryFrom<BTreeMap<String, Member>> for Envelope {
    type Error = ProfileError;

    fn try_from(members: BTreeMap<String, Member>) -> Result<Self, ProfileError> {
        let wrong = |member: &str, problem| {
            Err(ProfileError::Form(format!(
                "uplink.envelope.{member}: {problem}"
            )))
        };
        let (mut parameters, mut body) = (BTreeMap::new(), None);
        for (member, rules) in &members {
            if let Err(problem) = rules.check() {
                return wrong(member, problem);
            }
            let parameter = rules.parameter.as_ref();
            if parameter.is_some_and(|name| parameters.insert(name, member).is_some()) {
                return wrong(member, "another member has the same parameter");
            }
            if rules.body && body.replace(member).is_some() {
                return wrong(member, "another member is the body already");
            }
        }
        let unfilled = members
            .iter()
            .find(|(_, rules)| rules.required && rules.parameter.is_none() && !rules.body);
        match (parameters.values().next(), body, unfilled) {
            (Some(_), Some(_), Some((member, _))) => wrong(
                member,
                "is required, but neither a parameter nor the body gives it a value",
            ),
            (Some(member), None, _) => wrong(
                member,
                "a parameter needs a member with body = true beside it",
            ),
            (None, Some(member), _) => wrong(
                member,
                "body = true needs a member with a parameter beside it",
            ),
            _ => Ok(Self(members)),
        }
    }
}
