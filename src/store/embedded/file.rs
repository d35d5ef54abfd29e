//! Opening the file: whose it is, what it is, and what is done about it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use redb::ReadableTableMetadata;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable};

use super::codec::micros;
use super::format::{Totals, decode_totals, device, encode_totals};
use super::ledger::Holdings;
use super::queue::{DeviceQueue, device_queue};
use super::tables::{
    DOWNLINK_ORDER, FORMAT, FORMAT_VERSION, KEYS, QUEUE_DEVICES, RECEIPT_ORDER, TOTALS, Tables,
    meta,
};
use crate::device::DeviceId;
use crate::store::health::Amount;

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

/// How closely to look at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    /// It was fine a moment ago, and the disk may be full, so nothing is written.
    Trust,
    /// A small file is checked as a whole; a large one is believed.
    Start,
    /// Something in it was not what it should be.
    Whole,
}

/// Opens a database; the flag asks for a check of all pages, which also writes.
pub(super) type Connect = Arc<dyn Fn(&Path, bool) -> Result<Database, DatabaseError> + Send + Sync>;

/// Where the file is and how to get at it.
#[derive(Clone)]
pub(super) struct StoreFile {
    pub(super) path: PathBuf,
    pub(super) connect: Connect,
}

/// An open file and what it holds.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) totals: Totals,
    pub(super) holdings: Holdings,
    pub(super) queues: HashMap<DeviceId, DeviceQueue>,
}

impl StoreFile {
    pub(super) fn on_disk(path: PathBuf, cache_bytes: usize) -> Self {
        let connect = move |path: &Path, check: bool| {
            let mut builder = Builder::new();
            builder
                .set_cache_size(cache_bytes)
                .set_check_integrity_on_open(check);
            builder.create(path)
        };
        Self {
            path,
            connect: Arc::new(connect),
        }
    }

    /// Opens the file, and creates it where there is none. A corrupt one is set aside, and a new one begun.
    pub(super) fn open(&self, check: Check) -> Result<Opened, OpenError> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(OpenError::NoFolder(folder.into()));
        }
        let cause = match self.attempt(check) {
            Ok(opened) => return Ok(opened),
            Err(Failure::Corrupt(cause)) => cause,
            Err(Failure::Other(error)) => return Err(error),
        };
        self.set_aside(&cause)?;
        self.attempt(Check::Start).map_err(|failure| match failure {
            Failure::Other(error) => error,
            Failure::Corrupt(cause) => self.io(cause),
        })
    }

    fn attempt(&self, check: Check) -> Result<Opened, Failure> {
        /// A whole check of so many bytes takes a few milliseconds.
        const SMALL: u64 = 16 * 1024 * 1024;
        let length = fs::metadata(&self.path).map_or(0, |file| file.len());
        let whole = match check {
            Check::Start => length > 0 && length <= SMALL,
            Check::Trust => false,
            Check::Whole => true,
        };
        // redb may panic on a file that something else has altered; in that respect it is corrupt.
        let open = |whole| {
            catch_unwind(AssertUnwindSafe(|| {
                let database = (self.connect)(&self.path, whole)?;
                self.load(database)
            }))
            .unwrap_or_else(|_| Err(redb::Error::Corrupted("reading it panicked".into()).into()))
        };
        let opened = match open(whole) {
            Err(Trouble::Redb(redb::Error::Io(error))) if whole && !is_format(&error) => {
                open(false)
            }
            opened => opened,
        };
        opened.map_err(|trouble| self.judge(trouble))
    }

    /// Reads what the file holds, and fills a new one.
    fn load(&self, database: Database) -> Result<Opened, Trouble> {
        let tx = database.begin_read().map_err(redb::Error::from)?;
        match meta(&tx, FORMAT)? {
            None => {
                drop(tx);
                fill(&database)?;
            }
            Some(version) => {
                let version = version.try_into().map(u32::from_le_bytes);
                let found = version.map_err(|_| corrupt("its version is not one"))?;
                if found > FORMAT_VERSION {
                    return Err(Trouble::Newer {
                        found,
                        known: FORMAT_VERSION,
                    });
                }
            }
        }
        let tx = database.begin_read().map_err(redb::Error::from)?;
        let totals = meta(&tx, TOTALS)?.ok_or_else(|| corrupt("its totals are missing"))?;
        let totals = decode_totals(&totals).map_err(corrupt)?;
        let mut queues = HashMap::new();
        for entry in open_table(&tx, QUEUE_DEVICES)?.iter()? {
            let (id, counters) = entry?;
            let id = device(id.value()).map_err(corrupt)?;
            queues.insert(id, device_queue(counters.value()));
        }
        let holdings = Holdings {
            uplinks: Amount::default(),
            downlinks: Amount {
                count: open_table(&tx, DOWNLINK_ORDER)?.len()?,
                bytes: 0,
            },
            receipts: open_table(&tx, RECEIPT_ORDER)?.len()?,
            keys: open_table(&tx, KEYS)?.len()?,
        };
        drop(tx);
        Ok(Opened {
            database,
            totals,
            holdings,
            queues,
        })
    }

    fn judge(&self, trouble: Trouble) -> Failure {
        let path = self.path.clone();
        let error = match trouble {
            Trouble::Newer { found, known } => OpenError::Newer { path, found, known },
            Trouble::Redb(redb::Error::DatabaseAlreadyOpen) => OpenError::InUse(path),
            Trouble::Redb(redb::Error::Corrupted(cause)) => match newer_container(&path) {
                None => return Failure::Corrupt(cause),
                Some((found, known)) => OpenError::Newer { path, found, known },
            },
            Trouble::Redb(redb::Error::Io(error)) if is_format(&error) => {
                return Failure::Corrupt(error.to_string());
            }
            Trouble::Redb(redb::Error::Io(source)) if is_permission(&source) => {
                OpenError::NotWritable { path, source }
            }
            Trouble::Redb(
                error @ (redb::Error::UpgradeRequired(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableDoesNotExist(_)
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableIsMultimap(_)),
            ) => return Failure::Corrupt(error.to_string()),
            Trouble::Redb(error) => self.io(error),
        };
        Failure::Other(error)
    }

    fn io(&self, cause: impl ToString) -> OpenError {
        OpenError::Io {
            path: self.path.clone(),
            cause: cause.to_string(),
        }
    }

    fn set_aside(&self, cause: &str) -> Result<(), OpenError> {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let time = time.replace([':', '-'], "");
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".corrupt-{time}"));
        let mut target = PathBuf::from(&name);
        for number in 1.. {
            if !target.exists() {
                break;
            }
            let mut numbered = name.clone();
            numbered.push(format!("-{number}"));
            target = numbered.into();
        }
        let renamed = fs::rename(&self.path, &target);
        renamed.map_err(|source| OpenError::NotSetAside {
            path: self.path.clone(),
            source,
        })?;
        tracing::error!(
            store = %self.path.display(), set_aside = %target.display(), cause,
            "the store is corrupt: it was set aside, and an empty one was begun. Uplinks that waited in it are not \
             delivered; keep the file if they matter"
        );
        Ok(())
    }
}

enum Trouble {
    Redb(redb::Error),
    Newer { found: u32, known: u32 },
}

impl<E: Into<redb::Error>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

enum Failure {
    Corrupt(String),
    Other(OpenError),
}

fn corrupt(what: impl ToString) -> redb::Error {
    super::batch::corrupt(what)
}

fn open_table<K: redb::Key, V: redb::Value>(
    tx: &redb::ReadTransaction,
    definition: redb::TableDefinition<'_, K, V>,
) -> Result<redb::ReadOnlyTable<K, V>, redb::Error> {
    Ok(tx.open_table(definition)?)
}

/// Creates the tables. Until this is durable, a file counts as new.
fn fill(database: &Database) -> Result<(), redb::Error> {
    let mut tx = database.begin_write()?;
    tx.set_quick_repair(true);
    {
        let mut tables = Tables::open(&tx)?;
        // Cursors start with the time, so that one from a store that is gone is behind all of this one.
        let start = micros(SystemTime::now());
        let totals = Totals {
            cursor: start,
            origin: start,
            ..Totals::default()
        };
        let version = FORMAT_VERSION.to_le_bytes();
        tables.meta.insert(FORMAT, version.as_slice())?;
        let totals = encode_totals(&totals);
        tables.meta.insert(TOTALS, totals.as_slice())?;
    }
    Ok(tx.commit()?)
}

/// What redb and the system say of a file that is not a database, or is too short for what it says of itself.
fn is_format(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

fn is_permission(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory
    )
}

/// The version of the container, if it is newer than redb's here: redb itself calls such a file corrupt. It stands at
/// the beginning of each of the two commit slots (redb's `docs/design.md`).
fn newer_container(path: &Path) -> Option<(u32, u32)> {
    const KNOWN: u8 = 3;
    const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
    const SLOTS: [usize; 2] = [64, 192];
    let mut head = [0; 320];
    fs::File::open(path).ok()?.read_exact(&mut head).ok()?;
    let slot = SLOTS[usize::from(head[9] & 1)];
    let version = head[slot];
    let newer = head.starts_with(MAGIC) && version > KNOWN && version < 32;
    newer.then_some((version.into(), KNOWN.into()))
}

/// Whether an error says that the file is not what it should be, and not that the disk is.
pub(super) fn is_corruption(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(error) => is_format(error),
        _ => false,
    }
}
