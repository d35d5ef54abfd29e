//! Why a store's file could not be opened: what is wrong, with which file, and what to do.

use std::io;
use std::path::PathBuf;

/// Why a store's file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its folder is missing.
    #[error("{}: the folder of the store does not exist; create it, or change the store's path", .0.display())]
    NoFolder(PathBuf),
    /// It may not be read or written.
    #[error("{}: the store's file or its folder cannot be written: {source}; this process needs to read and write both", .path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{}: another process uses this store; stop it, or give this one a store of its own", .0.display())]
    InUse(PathBuf),
    /// A newer version of this program wrote it.
    #[error("{}: the store has version {found}, and this program knows up to {known}; use the version that wrote it, or move the file away", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The highest one that is known here.
        known: u32,
    },
    /// It is corrupt and could not be set aside.
    #[error("{}: the store is corrupt, and the file cannot be renamed: {source}; move it away", .path.display())]
    NotSetAside {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Reading or writing fails.
    #[error("{}: the store cannot be opened: {cause}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
}
