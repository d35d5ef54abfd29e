//! What is wrong with a configuration, and where.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::reference::Form;
use super::watch::Observed;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The file as a whole.
    File,
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable.
    Variable(Arc<str>),
}

/// A key, and where it was written; a missing key is placed where its section begins.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) origin: Origin,
}

impl Place {
    pub(super) fn whole_file() -> Self {
        Self {
            key: String::new(),
            origin: Origin::File,
        }
    }
}

/// One thing that is wrong. Prints as `causeway.toml:12: connectors.akenza.url: what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    file: Arc<str>,
    origin: Origin,
    key: String,
    message: String,
}

impl Problem {
    /// The key, `connectors.akenza.url`; empty where the file as a whole is meant.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The line of the file, counted from 1; none for an environment variable.
    pub fn line(&self) -> Option<usize> {
        match self.origin {
            Origin::Line(line) => Some(line),
            _ => None,
        }
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File => write!(f, "{}: ", self.file)?,
            Origin::Line(line) => write!(f, "{}:{line}: ", self.file)?,
            Origin::Variable(name) => write!(f, "{name} in the environment: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why a configuration was refused: everything that is wrong with it, one line each, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
    files: Vec<Observed>,
}

impl ConfigError {
    pub(super) fn new(file: String, found: Vec<Found>) -> Self {
        Self {
            problems: problems(&file, found),
            files: Vec::new(),
        }
    }

    pub(super) fn reading(self, files: Vec<Observed>) -> Self {
        Self { files, ..self }
    }

    /// The files that were read, or were to be: a change of one of them may make the configuration a good one.
    pub fn files(&self) -> &[Observed] {
        &self.files
    }

    /// Everything that is wrong; never empty.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Something that works, but should be seen to. Prints like a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(Problem);

impl Warning {
    pub(super) fn list(file: &str, found: Vec<Found>) -> Vec<Self> {
        problems(file, found).into_iter().map(Self).collect()
    }

    /// What it is about.
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message at its place.
pub(super) type Found = (Place, String);

/// Collects what is found while reading, so that one run tells all of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<Found>>,
    /// What readers say of the keys that they ask for; for the reference alone.
    forms: Option<RefCell<BTreeMap<String, Form>>>,
}

impl Report {
    /// One that also notes every key that is asked for, and what is expected there.
    pub(super) fn with_forms() -> Self {
        Self {
            forms: Some(RefCell::default()),
            ..Self::default()
        }
    }

    /// Notes what a reader expects under a key. What it says first counts.
    pub(super) fn note(&self, asked: impl FnOnce() -> (String, Form)) {
        if let Some(forms) = &self.forms {
            let (key, form) = asked();
            forms.borrow_mut().entry(key).or_insert(form);
        }
    }

    /// What was noted, by key.
    pub(super) fn into_forms(self) -> BTreeMap<String, Form> {
        self.forms.map(RefCell::into_inner).unwrap_or_default()
    }

    pub(super) fn error(&self, place: &Place, message: impl fmt::Display) {
        self.errors
            .borrow_mut()
            .push((place.clone(), message.to_string()));
    }

    pub(super) fn warning(&self, place: &Place, message: impl fmt::Display) {
        self.warnings
            .borrow_mut()
            .push((place.clone(), message.to_string()));
    }

    /// How many errors there are so far: unchanged after a part was read means that part is sound.
    pub(super) fn errors(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Errors and warnings.
    pub(super) fn into_problems(self) -> (Vec<Found>, Vec<Found>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

fn problems(file: &str, mut found: Vec<Found>) -> Vec<Problem> {
    found.sort_by(|(a, _), (b, _)| a.origin.cmp(&b.origin));
    let file: Arc<str> = file.into();
    found
        .into_iter()
        .map(|(place, message)| Problem {
            file: file.clone(),
            origin: place.origin,
            key: place.key,
            message,
        })
        .collect()
}
