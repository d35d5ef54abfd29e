//! A configuration file's text as a tree in which every value knows where it was written.

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::{Origin, Place, Report};

/// The entries of one section. Keys are in order, so that messages are too. A list and no tree: most sections have an entry
/// or two, and there are as many sections as devices.
#[derive(Debug)]
pub(super) struct Table(Vec<(String, Node)>);

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

impl Table {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Entries in any order.
    pub(super) fn of(mut entries: Vec<(String, Node)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.shrink_to_fit();
        Self(entries)
    }

    /// Whether a key stands there twice; in TOML, none does.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.windows(2).any(|pair| pair[0].0 == pair[1].0)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        let at = self.find(key).ok()?;
        Some(&self.0[at].1)
    }

    pub(super) fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// What stands at a key, which is put there if nothing does.
    pub(super) fn get_or_insert(&mut self, key: String, node: impl FnOnce() -> Node) -> &mut Node {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key, node()));
                at
            }
        };
        &mut self.0[at].1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.0.iter().map(|(key, node)| (key, node))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Where a key is, or would have to be.
    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(known, _)| known.as_str().cmp(key))
    }
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
        Ok(root) => Some(table(root.into_inner(), &lines)),
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

/// Takes the source apart on the way, so that there are never two whole trees.
fn table(source: DeTable<'_>, lines: &Lines) -> Table {
    let entries = source.into_iter().map(|(key, entry)| {
        let node = Node {
            origin: Origin::Line(lines.at(key.span().start)),
            value: value(entry.into_inner(), lines),
        };
        (key.into_inner().into_owned(), node)
    });
    Table::of(entries.collect())
}

fn value(source: DeValue<'_>, lines: &Lines) -> Value {
    match source {
        DeValue::String(text) => Value::Text(Zeroizing::new(text.into_owned())),
        // One that is too large for the type is outside any limit too.
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(i64::MAX))
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Value::Boolean(truth),
        DeValue::Datetime(time) => Value::Datetime(time),
        DeValue::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| value(item.into_inner(), lines))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: i64) -> Node {
        Node {
            origin: Origin::File,
            value: Value::Integer(number),
        }
    }

    #[test]
    fn a_table_is_in_the_order_of_its_keys_whatever_comes_when() {
        let entry = |key: &str, number| (key.to_owned(), node(number));
        let mut table = Table::of(vec![entry("c", 3), entry("a", 1)]);
        for (key, number) in [("b", 2), ("d", 4), ("", 0), ("b", 9)] {
            table.get_or_insert(key.to_owned(), || node(number));
        }
        let all = table.iter().map(|(key, node)| match node.value {
            Value::Integer(number) => format!("{key}{number}"),
            _ => panic!("{key}"),
        });
        assert_eq!(all.collect::<Vec<_>>(), ["0", "a1", "b2", "c3", "d4"]);
        assert!(table.contains_key("c") && table.get("e").is_none() && !table.is_ambiguous());
        assert!(Table::of(vec![entry("a", 1), entry("b", 1), entry("a", 2)]).is_ambiguous());
    }
}
