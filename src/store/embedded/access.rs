//! The open file, to write or only to read, and how to get at one.

use std::fs::{File, OpenOptions};
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, TransactionError};

use super::overlay::Overlay;

/// An open file.
pub(super) enum Access {
    /// To write and read.
    Write(Database),
    /// Only to read, because it cannot be written now.
    Read(Database),
}

/// How a file is opened.
pub(super) trait Connect: Send + Sync {
    /// Opens it, and creates it where there is none. The flag asks for a check of all pages. Writes in both cases.
    fn to_write(&self, path: &Path, check: bool) -> Result<Database, DatabaseError>;

    /// Opens it without writing. What is written all the same, is written nowhere.
    fn to_read(&self, path: &Path) -> Result<Database, DatabaseError>;
}

/// In the file system.
pub(super) struct OnDisk {
    /// Bytes of the page cache.
    pub(super) cache_bytes: usize,
}

impl Access {
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, TransactionError> {
        let (Self::Write(database) | Self::Read(database)) = self;
        database.begin_read()
    }

    pub(super) fn to_write(&self) -> Option<&Database> {
        match self {
            Self::Write(database) => Some(database),
            Self::Read(_) => None,
        }
    }
}

impl Connect for OnDisk {
    fn to_write(&self, path: &Path, check: bool) -> Result<Database, DatabaseError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // It holds payloads: nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut builder = self.builder();
        let builder = builder.set_check_integrity_on_open(check);
        builder.create_with_backend(FileBackend::new(options.open(path)?)?)
    }

    fn to_read(&self, path: &Path) -> Result<Database, DatabaseError> {
        let mut options = OpenOptions::new();
        let writable = options.read(true).write(true).open(path);
        let file = writable.or_else(|_| File::open(path))?;
        let overlay = Overlay::new(FileBackend::new(file)?)?;
        self.builder().create_with_backend(overlay)
    }
}

impl OnDisk {
    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes);
        builder
    }
}
