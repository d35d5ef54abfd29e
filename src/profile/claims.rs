//! A token's further claims: any JSON, with a template wherever there is text.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::template::{Scope, Template, TemplateError};

/// Claims by name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Claims(BTreeMap<String, Claim>);

/// The value of a claim.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "toml::Value")]
enum Claim {
    Text(Template),
    /// A number, a boolean or a date.
    Fixed(Value),
    List(Vec<Self>),
    Table(BTreeMap<String, Self>),
}

impl Claims {
    /// The claims' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Every template in the claims' values.
    pub fn values(&self) -> impl Iterator<Item = &Template> {
        let mut found = Vec::new();
        self.0.values().for_each(|claim| claim.collect(&mut found));
        found.into_iter()
    }

    /// The claims with their variables' values.
    pub(super) fn render(&self, scope: &dyn Scope) -> Result<Map<String, Value>, TemplateError> {
        render_table(&self.0, scope)
    }
}

impl Claim {
    fn collect<'a>(&'a self, found: &mut Vec<&'a Template>) {
        match self {
            Self::Text(template) => found.push(template),
            Self::Fixed(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.collect(found)),
            Self::Table(table) => table.values().for_each(|claim| claim.collect(found)),
        }
    }

    fn render(&self, scope: &dyn Scope) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::Text(template) => Value::String(template.render(scope)?),
            Self::Fixed(value) => value.clone(),
            Self::List(items) => {
                let items = items.iter().map(|item| item.render(scope));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Table(table) => Value::Object(render_table(table, scope)?),
        })
    }
}

fn render_table(
    table: &BTreeMap<String, Claim>,
    scope: &dyn Scope,
) -> Result<Map<String, Value>, TemplateError> {
    table
        .iter()
        .map(|(name, claim)| Ok((name.clone(), claim.render(scope)?)))
        .collect()
}

/// Why a TOML value cannot be a claim.
#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("a number in JSON is finite")]
    Infinite,
}

impl TryFrom<toml::Value> for Claim {
    type Error = ClaimError;

    fn try_from(value: toml::Value) -> Result<Self, ClaimError> {
        use toml::Value as Toml;
        Ok(match value {
            Toml::String(text) => Self::Text(Template::parse(&text)?),
            Toml::Integer(number) => Self::Fixed(number.into()),
            Toml::Float(number) if number.is_finite() => Self::Fixed(number.into()),
            Toml::Boolean(truth) => Self::Fixed(truth.into()),
            Toml::Array(items) => {
                let items = items.into_iter().map(Self::try_from);
                Self::List(items.collect::<Result<_, _>>()?)
            }
            Toml::Table(table) => {
                let table = table
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::try_from(value)?)));
                Self::Table(table.collect::<Result<_, ClaimError>>()?)
            }
            // JSON has no dates: one is text, as it was written.
            Toml::Datetime(date) => Self::Fixed(date.to_string().into()),
            Toml::Float(_) => return Err(ClaimError::Infinite),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Device;
    impl Scope for Device {
        fn value(&self, variable: &str) -> Option<&str> {
            (variable == "device").then_some("a\"b")
        }
    }

    #[test]
    fn claims_are_any_json_with_templates_in_their_texts() {
        let claims: Claims = toml::from_str(
            "sub = \"{device}\"\nut = 3\nday = 2024-01-01\nratio = 0.5\nadmin = false\n\
             acl = { pub = [\"up/{device}\"], sub = [\"down/{device}/#\"] }",
        )
        .unwrap();
        let sources: Vec<_> = claims.values().map(Template::source).collect();
        assert_eq!(sources, ["up/{device}", "down/{device}/#", "{device}"]);
        let rendered = Value::Object(claims.render(&Device).unwrap());
        let expected = serde_json::json!({
            "sub": "a\"b", "ut": 3, "day": "2024-01-01", "ratio": 0.5, "admin": false,
            "acl": { "pub": ["up/a\"b"], "sub": ["down/a\"b/#"] },
        });
        assert_eq!(rendered, expected);
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        for bad in ["a = inf", "a = [{ b = nan }]", "a = \"{\""] {
            assert!(toml::from_str::<Claims>(bad).is_err(), "{bad} was taken");
        }
    }
}
