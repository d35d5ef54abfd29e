//! Typed values out of a section, and what is wrong with them into the report. Where a value is wrong, its default stands in
//! for it, so that everything else is looked at, too.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use super::reference::Form;
use super::section::Section;
use super::tree::{Node, Value};
use super::units::{parse_bytes, show_bytes, show_count, show_time};

impl<'a> Section<'a> {
    /// Text. `None` where it is absent, and where it is not text, which is reported.
    pub(super) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let node = self.take(key, || Form::of("text"))?;
        match as_text(node) {
            Some(text) => Some(text),
            None => {
                self.wrong_kind(key, node, "text in quotes");
                None
            }
        }
    }

    /// Text that must be there. `None` is reported.
    pub(super) fn required_text(&mut self, key: &'static str, what: &str) -> Option<&'a str> {
        let required = self.take(key, || Form::of("text").or_else("required"));
        if required.is_none() {
            self.error(key, format_args!("is missing: {what}"));
            return None;
        }
        self.text(key)
    }

    /// Text in a form of its own.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(self.text(key)?);
        parsed.map_err(|error| self.error(key, error)).ok()
    }

    /// One of several words.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        default: T,
    ) -> T {
        let word = |value: T| choices.iter().find(|(_, known)| *known == value);
        self.take(key, || {
            let words: Vec<_> = choices
                .iter()
                .map(|(word, _)| format!("`{word:?}`"))
                .collect();
            let form = Form::of(words.join(" or "));
            word(default).map_or(form.clone(), |(word, _)| {
                form.or_else_value(format!("{word:?}"))
            })
        });
        let parse = |text: &str| {
            let chosen = choices.iter().find(|(word, _)| *word == text);
            chosen.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = choices
                    .iter()
                    .map(|(word, _)| format!("{word:?}"))
                    .collect();
                format!("must be {}", words.join(" or "))
            })
        };
        self.parsed(key, parse).unwrap_or(default)
    }

    /// A part of a whole, from 0 to 1.
    pub(super) fn ratio(&mut self, key: &'static str, default: f64) -> f64 {
        let form = || Form::of("number").or_else_value(default).within(0, 1);
        let Some(node) = self.take(key, form) else {
            return default;
        };
        let number = match &node.value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            Value::Untyped(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_kind(key, node, "a number without quotes");
            return default;
        };
        if !(0.0..=1.0).contains(&number) {
            self.error(key, "must be from 0 to 1");
            return default;
        }
        number
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let form = || Form::of("`true` or `false`").or_else_value(default);
        let Some(node) = self.take(key, form) else {
            return default;
        };
        let truth = match &node.value {
            Value::Boolean(truth) => Some(*truth),
            Value::Untyped(text) => text.parse().ok(),
            _ => None,
        };
        truth.unwrap_or_else(|| {
            self.wrong_kind(key, node, "true or false, without quotes");
            default
        })
    }

    /// A whole number within limits.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: u32,
        limits: RangeInclusive<u32>,
    ) -> u32 {
        let form = || {
            let form = Form::of("whole number").or_else_value(show_count(default));
            form.within(show_count(*limits.start()), show_count(*limits.end()))
        };
        let Some(node) = self.take(key, form) else {
            return default;
        };
        let number = match &node.value {
            Value::Integer(number) => Some(*number),
            Value::Untyped(text) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.wrong_kind(key, node, "a whole number without quotes");
            return default;
        };
        match u32::try_from(number).ok().filter(|n| limits.contains(n)) {
            Some(number) => number,
            None => {
                let (low, high) = limits.into_inner();
                self.error(key, format_args!("must be from {low} to {high}"));
                default
            }
        }
    }

    /// The same, where there is no number in the place of one that is absent.
    pub(super) fn optional_count(
        &mut self,
        key: &'static str,
        limits: RangeInclusive<u32>,
    ) -> Option<u32> {
        let form = || {
            let form = Form::of("whole number");
            form.within(show_count(*limits.start()), show_count(*limits.end()))
        };
        self.take(key, form)?;
        let lowest = *limits.start();
        Some(self.count(key, lowest, limits))
    }

    /// A number of bytes within limits: `"1MiB"`, or a plain number.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        default: usize,
        limits: RangeInclusive<usize>,
    ) -> usize {
        let form = || {
            let form = Form::of("size").or_else_value(format!("{:?}", show_bytes(default)));
            form.within(show_bytes(*limits.start()), show_bytes(*limits.end()))
        };
        let Some(node) = self.take(key, form) else {
            return default;
        };
        let bytes = match (&node.value, as_text(node)) {
            (Value::Integer(number), _) => usize::try_from(*number).ok(),
            (_, Some(text)) => match parse_bytes(text) {
                Ok(bytes) => usize::try_from(bytes).ok(),
                Err(error) => {
                    self.error(key, error);
                    return default;
                }
            },
            _ => {
                self.wrong_kind(key, node, "a size such as \"1MiB\"");
                return default;
            }
        };
        bytes.filter(|n| limits.contains(n)).unwrap_or_else(|| {
            let (low, high) = limits.into_inner();
            let (low, high) = (show_bytes(low), show_bytes(high));
            self.error(key, format_args!("must be from {low} to {high}"));
            default
        })
    }

    /// A span of time within limits, as `humantime` writes it: `"5s"`, `"1m 30s"`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        limits: RangeInclusive<Duration>,
    ) -> Duration {
        let form = || {
            let form = Form::of("time").or_else_value(format!("\"{}\"", show_time(default)));
            form.within(show_time(*limits.start()), show_time(*limits.end()))
        };
        let Some(node) = self.take(key, form) else {
            return default;
        };
        let Some(text) = as_text(node) else {
            self.wrong_kind(key, node, "a time in quotes, such as \"5s\"");
            return default;
        };
        match humantime::parse_duration(text) {
            Ok(time) if limits.contains(&time) => return time,
            Ok(_) => {
                let (low, high) = limits.into_inner();
                self.error(
                    key,
                    format_args!("must be from {} to {}", show_time(low), show_time(high)),
                );
            }
            Err(error) => self.error(
                key,
                format_args!("must be a time such as \"5s\" or \"1m 30s\": {error}"),
            ),
        }
        default
    }

    /// A moment: a TOML date-time with an offset, or the same as text, as RFC 3339 writes it.
    pub(super) fn time(&mut self, key: &'static str) -> Option<SystemTime> {
        let node = self.take(key, || Form::of("date and time"))?;
        let time = match (&node.value, as_text(node)) {
            (Value::Datetime(time), _) => moment(*time),
            (_, Some(text)) => text.parse().ok().and_then(moment),
            _ => None,
        };
        if time.is_none() {
            let message = "must be a date and time with an offset, such as 2030-01-31T12:00:00Z or 2030-01-31T13:00:00+01:00";
            self.error(key, message);
        }
        time
    }

    /// A section of texts with any keys.
    pub(super) fn texts(&mut self, key: &'static str) -> BTreeMap<String, String> {
        self.take(key, || Form::of("texts by name").or_else_value("{}"));
        let section = self.section(key);
        let mut texts = BTreeMap::new();
        for (name, node) in section.nodes() {
            match as_text(node) {
                Some(text) => {
                    texts.insert(name.clone(), text.to_owned());
                }
                None => section.wrong_kind(name, node, "text in quotes"),
            }
        }
        texts
    }

    /// A list of texts: an array, or one text with spaces between them, as an environment variable has it.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<String> {
        let Some(node) = self.take(key, || Form::of("list of texts").or_else_value("[]")) else {
            return Vec::new();
        };
        if let Some(text) = as_text(node) {
            return text.split_whitespace().map(str::to_owned).collect();
        }
        let texts: Option<Vec<_>> = match &node.value {
            Value::Array(values) => values
                .iter()
                .map(|value| match value {
                    Value::Text(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        texts.unwrap_or_else(|| {
            self.wrong_kind(key, node, "a list of texts in quotes");
            Vec::new()
        })
    }

    /// A list that must not be empty. An absent one stands for `default` where there is one; else it is reported with
    /// what it is for.
    pub(super) fn filled_list(
        &mut self,
        key: &'static str,
        default: Option<&str>,
        what: &str,
    ) -> Vec<String> {
        let node = self.take(key, || {
            let form = Form::of("list of texts");
            match default {
                Some(text) => form.or_else_value(format!("[{text:?}]")),
                None => form.or_else("required"),
            }
        });
        if let (None, Some(default)) = (node, default) {
            return vec![default.to_owned()];
        }
        let before = self.report().errors();
        let list = self.list(key);
        if list.is_empty() && self.report().errors() == before {
            self.error(key, format_args!("is missing or empty: {what}"));
        }
        list
    }
}

/// `None` without an offset, which would leave open what moment is meant, and before 1970.
fn moment(time: toml::value::Datetime) -> Option<SystemTime> {
    let offset = match time.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => minutes,
    };
    let local = toml::value::Datetime {
        offset: None,
        ..time
    };
    let local = humantime::parse_rfc3339_weak(&local.to_string()).ok()?;
    let ahead = Duration::from_secs(u64::from(offset.unsigned_abs()) * 60);
    match offset {
        0.. => local.checked_sub(ahead),
        _ => local.checked_add(ahead),
    }
}

fn as_text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Untyped(text) => Some(text),
        _ => None,
    }
}
