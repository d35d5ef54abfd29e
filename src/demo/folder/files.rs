//! Files of the demo's folder: made once and kept, or written anew at every start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::FolderError;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Its owner alone: mode 0600.
    Owner,
    /// Everybody.
    All,
}

/// The file's text; where there is no such file, it is made and written first.
pub(super) fn keep(
    path: &Path,
    readers: Readers,
    make: impl FnOnce() -> Result<String, FolderError>,
) -> Result<String, FolderError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let text = make()?;
    write(path, readers, &text)?;
    Ok(text)
}

/// The file's text, if there is such a file.
pub(super) fn read(path: &Path) -> Result<Option<String>, FolderError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FolderError::io(path, error)),
    }
}

/// Writes a file whole: nobody sees a half of it, and a crash leaves the old one.
pub(super) fn write(path: &Path, readers: Readers, text: &str) -> Result<(), FolderError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = create(&new, readers)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path));
    written.map_err(|error| FolderError::io(path, error))
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::io(path, error)),
        _ => Ok(()),
    }
}

fn create(path: &Path, readers: Readers) -> io::Result<File> {
    // A leftover could have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(match readers {
            Readers::Owner => 0o600,
            Readers::All => 0o644,
        });
    }
    #[cfg(not(unix))]
    let _ = readers;
    options.open(path)
}
