//! A configuration file's text as a tree in which every value knows where it was written.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::{Origin, Place, Report};

/// The entries of one section. Keys are in order, so that messages are too.
pub(super) type Table = BTreeMap<String, Node>;

/// One value and where it was written.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value. Text is cleared from memory when dropped, as any of it may be a secret.
pub(super) enum Value {
    Text(Zeroizing<String>),
    /// An environment variable's text, which is a number, a truth value or text, as its reader asks for.
    Untyped(Zeroizing<String>),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(toml::value::Datetime),
    Array(Vec<Value>),
    Table(Table),
    /// JSON's; TOML has none.
    Null,
}

impl Value {
    /// What it is, for a message that must not show it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "text",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::Array(_) => "an array",
            Self::Table(_) => "a section",
            Self::Null => "null",
        }
    }

    /// The value for the `toml` crate. An untyped text becomes a number or truth value where it reads as one.
    pub(super) fn to_toml(&self) -> toml::Value {
        match self {
            Self::Text(text) => toml::Value::String(text.to_string()),
            Self::Untyped(text) => scalar(text),
            Self::Integer(number) => toml::Value::Integer(*number),
            Self::Float(number) => toml::Value::Float(*number),
            Self::Boolean(truth) => toml::Value::Boolean(*truth),
            Self::Datetime(time) => toml::Value::Datetime(*time),
            Self::Array(items) => toml::Value::Array(items.iter().map(Self::to_toml).collect()),
            Self::Table(table) => toml::Value::Table(to_toml(table)),
            Self::Null => toml::Value::String(String::new()),
        }
    }
}

/// Shows the kind alone: any text may be a secret.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

/// A section for the `toml` crate.
pub(super) fn to_toml(table: &Table) -> toml::Table {
    table
        .iter()
        .map(|(key, node)| (key.clone(), node.value.to_toml()))
        .collect()
}

/// Parses a file. A text that is not TOML gives one error and nothing else.
pub(super) fn parse(text: &str, report: &Report) -> Option<Table> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(root) => Some(table(root.get_ref(), &lines)),
        Err(error) => {
            let place = Place {
                key: String::new(),
                origin: match error.span() {
                    Some(span) => Origin::Line(lines.at(span.start)),
                    None => Origin::File,
                },
            };
            // The error's own Display would repeat the line, which may contain a secret.
            report.error(&place, format_args!("not TOML: {}", error.message()));
            None
        }
    }
}

/// A key as it stands behind its section's: quoted where TOML demands it.
pub(super) fn join(section: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let dot = if section.is_empty() { "" } else { "." };
    if bare {
        format!("{section}{dot}{key}")
    } else {
        format!("{section}{dot}{key:?}")
    }
}

fn table(source: &DeTable<'_>, lines: &Lines) -> Table {
    source
        .iter()
        .map(|(key, entry)| {
            let node = Node {
                origin: Origin::Line(lines.at(key.span().start)),
                value: value(entry.get_ref(), lines),
            };
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn value(source: &DeValue<'_>, lines: &Lines) -> Value {
    match source {
        DeValue::String(text) => Value::Text(Zeroizing::new(text.to_string())),
        // One that is too large for the type is outside any limit too.
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| value(item.get_ref(), lines))
                .collect(),
        ),
        DeValue::Table(entries) => Value::Table(table(entries, lines)),
    }
}

fn scalar(text: &str) -> toml::Value {
    use toml::Value::{Boolean, Float, Integer};
    if let Ok(number) = text.parse() {
        Integer(number)
    } else if let Ok(truth) = text.parse() {
        Boolean(truth)
    } else if let (Ok(number), true) = (
        text.parse::<f64>(),
        text.starts_with(|c: char| c.is_ascii_digit() || c == '-'),
    ) {
        Float(number)
    } else {
        toml::Value::String(text.to_owned())
    }
}

/// Where lines begin, so that a line's number is a binary search and not a count from the top.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let behind_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(behind_newlines).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}
