//! Environment variables laid over the file: `CAUSEWAY__SECTION__KEY`.
//!
//! `__` separates keys, which are lower-cased. Where the file has a key that differs in case only (a device's id),
//! that one is meant. A variable that names no key is found as any unknown key is, and reported under its own name.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::{Origin, Place, Report};
use super::tree::{Node, Table, Value, join};

const PREFIX: &str = "CAUSEWAY__";

/// The variable that Rust programs share; it goes before the file's `log.level`.
pub(super) const RUST_LOG: &str = "RUST_LOG";

/// This process's environment. Bytes that are not UTF-8 become U+FFFD, so that no variable is lost on the way.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

/// Lays the variables that are meant for this program over the tree.
pub(super) fn apply(
    tree: &mut Table,
    env: impl IntoIterator<Item = (String, String)>,
    report: &Report,
) {
    let mut overrides = Vec::new();
    for (name, value) in env {
        if let Some(path) = name.strip_prefix(PREFIX) {
            let path = path.split("__").map(str::to_ascii_lowercase).collect();
            overrides.push((Arc::from(name), path, Zeroizing::new(value)));
        } else if name == RUST_LOG && !value.is_empty() {
            let path: Vec<_> = ["log", "level"].map(str::to_owned).into();
            overrides.push((Arc::from(name), path, Zeroizing::new(value)));
        }
    }
    // By name: messages come in one order, and RUST_LOG, which is replaced by CAUSEWAY__LOG__LEVEL, comes first.
    overrides.sort_by(|(a, ..), (b, ..)| (&**a != RUST_LOG, a).cmp(&(&**b != RUST_LOG, b)));
    for (name, path, value) in overrides {
        let origin = Origin::Variable(name);
        if let Err((key, problem)) = lay(tree, &path, "", &origin, value) {
            report.error(&Place { key, origin }, problem);
        }
    }
}

fn lay(
    table: &mut Table,
    path: &[String],
    section: &str,
    origin: &Origin,
    value: Zeroizing<String>,
) -> Result<(), (String, &'static str)> {
    let Some((key, rest)) = path.split_first() else {
        return Ok(());
    };
    if key.is_empty() {
        let shape = "a variable is written CAUSEWAY__SECTION__KEY, with nothing empty between the underscores";
        return Err((section.to_owned(), shape));
    }
    let key = match existing(table, key).as_slice() {
        [] => key.clone(),
        [one] => one.clone(),
        _ => {
            return Err((
                join(section, key),
                "several keys differ from this one in case only",
            ));
        }
    };
    let name = join(section, &key);
    if rest.is_empty() {
        if matches!(table.get(&key), Some(node) if matches!(node.value, Value::Table(_))) {
            return Err((
                name,
                "this is a section; name a key in it, behind another __",
            ));
        }
        let node = || Node {
            origin: origin.clone(),
            value: Value::Null,
        };
        let node = table.get_or_insert(key, node);
        node.origin = origin.clone();
        node.value = Value::Untyped(value);
        return Ok(());
    }
    let node = table.get_or_insert(key, || Node {
        origin: origin.clone(),
        value: Value::Table(Table::new()),
    });
    match &mut node.value {
        Value::Table(inner) => lay(inner, rest, &name, origin, value),
        _ => Err((name, "this is a key and not a section; nothing follows it")),
    }
}

/// The file's own spellings of a key.
fn existing(table: &Table, lower: &str) -> Vec<String> {
    if table.contains_key(lower) {
        return Vec::new();
    }
    let alike = table
        .keys()
        .filter(|known| known.eq_ignore_ascii_case(lower));
    alike.cloned().collect()
}
