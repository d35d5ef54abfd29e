//! One section while it is read: its keys, its place in the file, and what of it nobody asked for. Its values are read in
//! `values`.

use std::fmt::Display;

use super::error::{Origin, Place, Report};
use super::reference::Form;
use super::tree::{Node, Table, Value, join, to_toml};

/// One section while it is read. Whoever reads it ends with [`Section::finish`], which refuses what nobody asked for.
pub(super) struct Section<'a> {
    place: Place,
    table: &'a Table,
    known: Vec<&'static str>,
    report: &'a Report,
}

static EMPTY: Table = Table::new();

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a Table, report: &'a Report) -> Self {
        Self {
            place: Place::whole_file(),
            table,
            known: Vec::new(),
            report,
        }
    }

    /// Where messages go.
    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// Where this section begins.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Where a key of this section is, or would be.
    pub(super) fn place_of(&self, key: &str) -> Place {
        Place {
            key: join(&self.place.key, key),
            origin: match self.table.get(key) {
                Some(node) => node.origin.clone(),
                None => self.place.origin.clone(),
            },
        }
    }

    /// Where a key of a section in this one is; the section's place where it has no such key. Nothing is checked.
    pub(super) fn deepest_place(&self, path: &[&str]) -> Place {
        let mut place = self.place.clone();
        let mut table = self.table;
        for key in path {
            let Some(node) = table.get(key) else { break };
            place = Place {
                key: join(&place.key, key),
                origin: node.origin.clone(),
            };
            let Value::Table(inner) = &node.value else {
                break;
            };
            table = inner;
        }
        place
    }

    /// Reports an error at a key.
    pub(super) fn error(&self, key: &str, message: impl Display) {
        self.report.error(&self.place_of(key), message);
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there and comes from an environment variable.
    pub(super) fn is_override(&self, key: &str) -> bool {
        self.table
            .get(key)
            .is_some_and(|node| matches!(node.origin, Origin::Variable(_)))
    }

    /// A section of this one; an empty one where there is none.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let node = self.take(key, Form::section);
        let table = node.and_then(|node| self.as_table(key, node));
        self.open(key, table.unwrap_or(&EMPTY))
    }

    /// The sections of this one, whatever their names.
    pub(super) fn sections(self) -> impl Iterator<Item = (&'a str, Section<'a>)> {
        self.report
            .note(|| (self.place.key.clone(), Form::section()));
        self.table.iter().filter_map(move |(name, node)| {
            let table = self.as_table(name, node)?;
            Some((name.as_str(), self.open(name, table)))
        })
    }

    /// Everything in it, as it was written.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&'a String, &'a Node)> {
        self.table.iter()
    }

    /// This section for the `toml` crate.
    pub(super) fn to_toml(&self) -> toml::Table {
        to_toml(self.table)
    }

    /// Refuses the keys that were not asked for.
    pub(super) fn finish(mut self) {
        self.known.sort_unstable();
        self.known.dedup();
        for key in self.table.keys() {
            if !self.known.contains(&key.as_str()) {
                let known = self.known.join(", ");
                self.error(
                    key,
                    format_args!("there is no such key; there are: {known}"),
                );
            }
        }
    }

    /// A key's value, if it is there. The key is known from now on, with what its value may be.
    pub(super) fn take(
        &mut self,
        key: &'static str,
        form: impl FnOnce() -> Form,
    ) -> Option<&'a Node> {
        self.known.push(key);
        self.report.note(|| (join(&self.place.key, key), form()));
        self.table.get(key)
    }

    fn as_table(&self, key: &str, node: &'a Node) -> Option<&'a Table> {
        match &node.value {
            Value::Table(table) => Some(table),
            _ => {
                self.wrong_kind(key, node, "a section");
                None
            }
        }
    }

    fn open(&self, key: &str, table: &'a Table) -> Section<'a> {
        Section {
            place: self.place_of(key),
            table,
            known: Vec::new(),
            report: self.report,
        }
    }

    /// Reports that a key's value is of another kind.
    pub(super) fn wrong_kind(&self, key: &str, node: &Node, expected: &str) {
        let kind = node.value.kind();
        self.error(key, format_args!("must be {expected}, not {kind}"));
    }
}
