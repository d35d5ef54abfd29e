//! Files that the configuration names: secrets, keys and certificates.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::{Place, Report, Warning};
use super::model::FileBytes;
use super::section::Section;
use super::watch::Observed;
use crate::secret::Secret;

/// The longest file that is read, in bytes: far above any key or configuration, far below what would hurt.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or may not be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// Longer than anything of this kind.
    #[error("{path} is longer than 16 MiB; is it the right file?")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Nothing in it, or only a line end.
    #[error("{path} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not text.
    #[error("{path} is not UTF-8 text")]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file of at most 16 MiB. An empty one is an error.
pub fn read_file(path: &Path) -> Result<FileBytes, FileError> {
    let failed = |error| FileError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len().min(MAX_FILE_BYTES);
    // Room for all of it at once: a vector that grows leaves copies behind that nobody clears.
    let room = usize::try_from(length).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let path = path.to_owned();
    match bytes.len() as u64 {
        0 => Err(FileError::Empty { path }),
        1..=MAX_FILE_BYTES => Ok(FileBytes { path, bytes }),
        _ => Err(FileError::TooLong { path }),
    }
}

/// Reads a secret: the file's text without the one line end that editors and `echo` leave.
pub fn read_secret(path: &Path) -> Result<Secret, FileError> {
    secret_in(read_file(path)?)
}

fn secret_in(file: FileBytes) -> Result<Secret, FileError> {
    let FileBytes { path, bytes } = file;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(_) => return Err(FileError::NotText { path }),
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(FileError::Empty { path });
    }
    Ok(Secret::new(text))
}

/// Reads the configuration file itself, which may be empty.
pub(super) fn read_text(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let FileBytes { path, mut bytes } = match read_file(path) {
        Ok(file) => file,
        Err(FileError::Empty { .. }) => return Ok(Zeroizing::default()),
        Err(error) => return Err(error),
    };
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(FileError::NotText { path })
        }
    }
}

/// Reads the files that keys name, from the configuration file's folder.
pub(super) struct Files<'a> {
    base: &'a Path,
    report: &'a Report,
    /// Private files that others may read, each with its key.
    exposed: RefCell<Vec<(Place, PathBuf)>>,
    /// What was read, or was to be.
    observed: RefCell<Vec<Observed>>,
}

impl<'a> Files<'a> {
    pub(super) fn new(base: &'a Path, report: &'a Report) -> Self {
        Self {
            base,
            report,
            exposed: RefCell::default(),
            observed: RefCell::default(),
        }
    }

    /// A path as the configuration means it.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    /// Reads a file that the configuration names.
    pub(super) fn read(&self, path: &Path) -> Result<FileBytes, FileError> {
        let file = read_file(path);
        let content = file.as_ref().ok().map(|file| &file.bytes[..]);
        let observed = Observed::new(path, content);
        self.observed.borrow_mut().push(observed);
        file
    }

    /// What was read, or was to be.
    pub(super) fn observed(&self) -> Vec<Observed> {
        self.observed.take()
    }

    /// The file that a key names, if it is there. A problem is reported.
    pub(super) fn public(&self, section: &mut Section<'_>, key: &'static str) -> Option<FileBytes> {
        let path = self.resolve(section.text(key)?);
        self.read(&path)
            .map_err(|error| section.error(key, error))
            .ok()
    }

    /// The same for a file that nobody else should be able to read.
    pub(super) fn private(
        &self,
        section: &mut Section<'_>,
        key: &'static str,
    ) -> Option<FileBytes> {
        let file = self.public(section, key)?;
        self.check_mode(section, key, &file.path);
        Some(file)
    }

    /// A secret that stands under `key` or in the file that `file_key` names. An environment variable for one of the
    /// two replaces the other in the file; two in the same place are an error.
    pub(super) fn secret(
        &self,
        section: &mut Section<'_>,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<Secret> {
        let both = section.has(key) && section.has(file_key);
        if both && section.is_override(key) == section.is_override(file_key) {
            section.error(
                file_key,
                format_args!("there are both {key} and {file_key}: keep one of them"),
            );
        }
        let from_file = !both || section.is_override(file_key);
        let literal = section.text(key);
        let path = section.text(file_key);
        match (literal, path) {
            (_, Some(path)) if from_file => {
                let path = self.resolve(path);
                self.check_mode(section, file_key, &path);
                self.read(&path)
                    .and_then(secret_in)
                    .map_err(|error| section.error(file_key, error))
                    .ok()
            }
            (Some(""), _) => {
                section.error(key, "is empty");
                None
            }
            (literal, _) => literal.map(Secret::new),
        }
    }

    /// Warns of private files that others may read: once for all of them, as they usually were copied together.
    pub(super) fn warn(self) {
        const SHOWN: usize = 3;
        let exposed = self.exposed.into_inner();
        let Some((place, _)) = exposed.first() else {
            return;
        };
        let shown: Vec<_> = exposed
            .iter()
            .take(SHOWN)
            .map(|(_, path)| path.display().to_string())
            .collect();
        let more = match exposed.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.report.warning(
            place,
            format_args!(
                "other users of this machine may read {}{more}; chmod 600 keeps a secret to its owner",
                shown.join(", ")
            ),
        );
    }

    fn check_mode(&self, section: &Section<'_>, key: &str, path: &Path) {
        if readable_by_others(path) {
            self.exposed
                .borrow_mut()
                .push((section.place_of(key), path.to_owned()));
        }
    }
}

/// A warning where the configuration file itself contains a secret and others may read it.
pub(super) fn exposed_configuration(path: &Path, name: &str, text: &str) -> Option<Warning> {
    let written_down = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim_end();
        let secret = ["secret", "passphrase", "proxy_password", "token"];
        line.contains('=') && secret.iter().any(|name| key.ends_with(name))
    };
    if !text.lines().any(written_down) || !readable_by_others(path) {
        return None;
    }
    let message = "other users of this machine may read this file, and a secret is written in it; \
                   chmod 600 keeps it to its owner, or name a file with secret_file, token_file and the like";
    Warning::list(name, vec![(Place::whole_file(), message.to_owned())]).pop()
}

#[cfg(unix)]
fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn readable_by_others(_: &Path) -> bool {
    false
}
