//! A device's JSON as the same tree that the configuration file becomes, so that both are read by the same code.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::error::{Origin, Place, Report};
use super::tree::{Node, Table, Value};

/// Parses one JSON object. A text that is none gives one error and nothing else.
pub(super) fn parse(json: &str, report: &Report) -> Option<Table> {
    let problem = match serde_json::from_str(json) {
        Ok(Json(Value::Table(table))) => return Some(table),
        Ok(Json(other)) => format!("must be a JSON object, not {}", other.kind()),
        // Names the place and what is wrong there, and repeats none of the text.
        Err(error) => format!("not JSON: {error}"),
    };
    report.error(&Place::whole_file(), problem);
    None
}

struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue).map(Self)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Boolean(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some((key, Json(value))) = entries.next_entry::<String, _>()? {
            let origin = Origin::File;
            found.push((key, Node { origin, value }));
        }
        let table = Table::of(found);
        if table.is_ambiguous() {
            return Err(A::Error::custom("the same key stands there twice"));
        }
        Ok(Value::Table(table))
    }
}
