//! The configuration reference, which cannot drift: which keys there are, and what type, default and range they have, is
//! noted while their readers ask for them ([`Report::with_forms`]). Only what a key is for stands in `reference.md`.
//!
//! In that text, a heading ``## `[section]` `` says which section follows, and a list item of it describes a key:
//! ``- `key`: what it is for`` or, where the reader knows no default, ``- `key` = default: what it is for``.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use super::error::Report;
use super::files::Files;
use super::section::Section;
use super::tree;

/// The text, without types, defaults and ranges.
const TEXT: &str = include_str!("reference.md");

/// One of each kind of section whose name is free, so that its readers ask for their keys.
const SAMPLE: &str = r#"
[connectors.name]
profile = "plain"
url = "mqtt://localhost"
[devices.id]
connector = "name"
[access.tokens.name]
hash = ""
[access.certificates.name]
subject = ""
"#;

/// What a reader expects under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    /// What is written there; empty for a section.
    kind: Cow<'static, str>,
    /// What is taken where the key is absent, as Markdown.
    default: Option<String>,
    range: Option<String>,
}

impl Form {
    /// A section of its own.
    pub(super) fn section() -> Self {
        Self::of("")
    }

    /// A key with a value of this kind.
    pub(super) fn of(kind: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: kind.into(),
            default: None,
            range: None,
        }
    }

    /// What holds where the key is absent, in words.
    pub(super) fn or_else(self, default: &str) -> Self {
        Self {
            default: Some(default.to_owned()),
            ..self
        }
    }

    /// The value that is taken where the key is absent, as it would be written.
    pub(super) fn or_else_value(self, default: impl Display) -> Self {
        self.or_else(&format!("`{default}`"))
    }

    /// The smallest and the largest value.
    pub(super) fn within(self, low: impl Display, high: impl Display) -> Self {
        Self {
            range: Some(format!("{low} to {high}")),
            ..self
        }
    }
}

/// The reference as Markdown. A key that the text describes and no reader asks for is marked as unknown; the tests see to
/// it that there is none, and that none is missing.
pub fn reference() -> String {
    let forms = forms();
    let (mut page, mut section) = (String::new(), "");
    let mut in_table = false;
    for item in items(TEXT) {
        match item {
            Item::Line(line) => {
                section = heading(line).unwrap_or(section);
                page += line;
                page.push('\n');
                in_table = false;
            }
            Item::Key {
                key,
                default,
                about,
            } => {
                if !in_table {
                    page += "| key | type | default | meaning |\n|---|---|---|---|\n";
                    in_table = true;
                }
                let form = forms.get(&path(section, key));
                page += &row(key, default, &about, form);
            }
        }
    }
    page
}

fn row(key: &str, default: Option<&str>, about: &str, form: Option<&Form>) -> String {
    let Some(form) = form else {
        return format!("| `{key}` | unknown | | {about} |\n");
    };
    let kind = match &*form.kind {
        "text" if key.ends_with("_file") || key == "path" => "path",
        "" => "section",
        kind => kind,
    };
    let range = form.range.as_ref().map(|range| format!(", {range}"));
    let range = range.unwrap_or_default();
    let default = default.or(form.default.as_deref()).unwrap_or("none");
    format!("| `{key}` | {kind}{range} | {default} | {about} |\n")
}

/// What the readers of all sections ask for.
fn forms() -> BTreeMap<String, Form> {
    let report = Report::with_forms();
    if let Some(tree) = tree::parse(SAMPLE, &report) {
        let files = Files::new(Path::new(""), &report);
        super::read(Section::root(&tree, &report), &files);
    }
    report.into_forms()
}

/// A piece of the text.
enum Item<'a> {
    Line(&'a str),
    Key {
        key: &'a str,
        default: Option<&'a str>,
        about: String,
    },
}

fn items(text: &str) -> impl Iterator<Item = Item<'_>> {
    let mut lines = text.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let Some((key, default, about)) = described(line) else {
            return Some(Item::Line(line));
        };
        let mut about = about.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with("  ")) {
            about.push(' ');
            about += more.trim();
        }
        Some(Item::Key {
            key,
            default,
            about,
        })
    })
}

/// ``- `key` = default: about``.
fn described(line: &str) -> Option<(&str, Option<&str>, &str)> {
    let (key, rest) = line.strip_prefix("- `")?.split_once('`')?;
    if let Some(about) = rest.strip_prefix(": ") {
        return Some((key, None, about));
    }
    let (default, about) = rest.strip_prefix(" = ")?.split_once(": ")?;
    Some((key, Some(default), about))
}

fn heading(line: &str) -> Option<&str> {
    line.strip_prefix("## `[")?.strip_suffix("]`")
}

/// A free name stands in capitals in the text, and is one in small letters in the sample.
fn path(section: &str, key: &str) -> String {
    format!("{}.{key}", section.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const PAGE: &str = "docs/src/configuration.md";

    /// Section, key and written default of everything that is described.
    fn described_keys() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
        let mut section = "";
        let mut keys = Vec::new();
        for item in items(TEXT) {
            match item {
                Item::Line(line) => section = heading(line).unwrap_or(section),
                Item::Key { key, default, .. } => keys.push((section, key, default)),
            }
        }
        keys
    }

    #[test]
    fn the_page_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        let page = std::fs::read_to_string(path).unwrap();
        assert!(
            page == reference(),
            "{PAGE} is not up to date: cargo run -- config reference >{PAGE}"
        );
    }

    #[test]
    fn every_key_is_described_and_no_other() {
        let forms = forms();
        let described = described_keys();
        let headings: Vec<_> = TEXT
            .lines()
            .filter_map(heading)
            .map(str::to_lowercase)
            .collect();
        for (section, key, default) in &described {
            let path = path(section, key);
            let form = forms.get(&path);
            let form = form.unwrap_or_else(|| panic!("reference.md: no reader asks for {path}"));
            let known = form.default.as_deref();
            assert!(
                known.is_none() || default.is_none(),
                "reference.md: {path}: its reader knows the default, {known:?}"
            );
        }
        for (path, form) in &forms {
            let is_described = described.iter().any(|(s, k, _)| super::path(s, k) == *path);
            let inner = format!("{path}.");
            let has_heading = form.kind.is_empty()
                && headings
                    .iter()
                    .any(|heading| heading == path || heading.starts_with(&inner));
            assert!(
                is_described || has_heading,
                "src/config/reference.md does not describe {path}"
            );
            // Otherwise its keys are never asked for: the sample needs one.
            let is_read = is_described || forms.keys().any(|other| other.starts_with(&inner));
            assert!(is_read, "the sample in reference.rs has no {path}");
        }
        assert!(forms.len() > 60, "only {} keys were asked for", forms.len());
    }

    /// A default that the text gives in code is the one that holds.
    #[test]
    fn defaults_that_readers_do_not_know_are_as_described() {
        let read = |text: String| {
            let config = Config::from_text(&text, "causeway.toml", "".as_ref(), []);
            let config = config.unwrap_or_else(|error| panic!("{text}: {error}"));
            format!("{config:?}")
        };
        let mut checked = 0;
        for (section, key, default) in described_keys() {
            let code = |text: &'static str| text.strip_prefix('`')?.strip_suffix('`');
            if let Some(default) = default.and_then(code) {
                let with = format!("[{section}]\n{key} = {default}\n");
                assert_eq!(read(with), read(String::new()), "{section}.{key}");
                checked += 1;
            }
        }
        assert!(checked >= 3, "only {checked} were found");
    }
}
