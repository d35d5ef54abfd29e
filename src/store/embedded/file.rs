//! Opening the file: whose it is, what it is, and what is done about it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::access::{Access, Connect, OnDisk};
use super::aside::{newer_container, set_aside};
use super::batch::corrupt;
use super::ledger::Holdings;
use super::open_error::OpenError;
use super::queue::{DeviceQueue, device_queue};
use super::tables::{
    DOWNLINK_ORDER, FORMAT, FORMAT_VERSION, KEYS, QUEUE_DEVICES, RECEIPT_ORDER, TOTALS, Tables,
    meta,
};
use super::totals::{Totals, decode_totals, encode_totals};
use crate::device::DeviceId;
use crate::fields::micros;
use crate::store::format::device;
use crate::store::health::Amount;

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

/// Where the file is and how to get at it.
#[derive(Clone)]
pub(super) struct StoreFile {
    pub(super) path: PathBuf,
    pub(super) connect: Arc<dyn Connect>,
}

/// An open file and what it holds.
pub(super) struct Opened {
    pub(super) access: Access,
    pub(super) totals: Totals,
    pub(super) holdings: Holdings,
    pub(super) queues: HashMap<DeviceId, DeviceQueue>,
}

impl StoreFile {
    pub(super) fn on_disk(path: PathBuf, cache_bytes: usize) -> Self {
        let connect = Arc::new(OnDisk { cache_bytes });
        Self { path, connect }
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
        set_aside(&self.path, &cause)?;
        self.attempt(Check::Start).map_err(|failure| match failure {
            Failure::Other(error) => error,
            Failure::Corrupt(cause) => self.io(cause),
        })
    }

    /// Opens the file so that it can be read. That needs no write, which opening it otherwise does.
    pub(super) fn open_to_read(&self) -> Result<Opened, OpenError> {
        let database = self.connect.to_read(&self.path);
        let opened = database
            .map_err(Trouble::from)
            .and_then(|database| load(Access::Read(database)));
        opened.map_err(|trouble| match self.judge(trouble) {
            Failure::Corrupt(cause) => self.io(cause),
            Failure::Other(error) => error,
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
                let database = self.connect.to_write(&self.path, whole)?;
                if meta(&database.begin_read()?, FORMAT)?.is_none() {
                    fill(&database)?;
                }
                load(Access::Write(database))
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

/// Reads what the file holds.
fn load(access: Access) -> Result<Opened, Trouble> {
    let tx = access.begin_read()?;
    let version = meta(&tx, FORMAT)?.ok_or_else(|| corrupt("its version is missing"))?;
    let version = version.try_into().map(u32::from_le_bytes);
    let found = version.map_err(|_| corrupt("its version is not one"))?;
    if found > FORMAT_VERSION {
        return Err(Trouble::Newer {
            found,
            known: FORMAT_VERSION,
        });
    }
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
        access,
        totals,
        holdings,
        queues,
    })
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

/// Whether an error says that the file is not what it should be, and not that the disk is.
pub(super) fn is_corruption(error: &redb::Error) -> bool {
    match error {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(error) => is_format(error),
        _ => false,
    }
}
