//! Records that hold secrets: private keys, and the credentials of registered devices. They are sealed on their way
//! into the store and opened on their way out; nobody else reads or writes such records.
//!
//! Without a sealing key they are stored as they are, and a warning says so once. When a key is configured later, what is
//! there in plain is sealed at the next start, when it is loaded.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::identity::{SealError, Sealing};
use crate::store::records::RecordKind;
use crate::store::{Records, StoreError};

/// Records that are read at once.
const PAGE: usize = 256;

/// The store's records that hold secrets.
pub struct Vault {
    records: Arc<dyn Records>,
    sealing: Sealing,
    warned: AtomicBool,
}

/// A record that can be read.
#[derive(PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Box<str>,
    /// Its content.
    pub content: Zeroizing<Vec<u8>>,
}

/// Why a record cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It cannot be opened, or not be sealed.
    #[error("what is stored of {what} {key:?} {error}")]
    Seal {
        /// What kind of record, in words.
        what: &'static str,
        /// Its key.
        key: Box<str>,
        /// What is wrong.
        error: SealError,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Vault {
    /// The records of a store.
    pub fn new(records: Arc<dyn Records>, sealing: Sealing) -> Self {
        Self {
            records,
            sealing,
            warned: AtomicBool::new(false),
        }
    }

    /// All records of a kind, in the order of their keys. What is not sealed as it should be is written anew. Nothing is
    /// changed unless everything can be opened.
    pub async fn load(&self, kind: RecordKind) -> Result<Vec<Entry>, VaultError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut outdated = Vec::new();
        loop {
            let after = entries.last().map(|entry| &*entry.key);
            let page = self.records.records(kind, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            for record in page {
                let opened = self
                    .sealing
                    .open(&identity(kind, &record.key), record.value)
                    .map_err(|error| of(kind, &record.key, error))?;
                if opened.outdated {
                    outdated.push(entries.len());
                }
                entries.push(Entry {
                    key: record.key,
                    content: opened.content,
                });
            }
            if is_last {
                break;
            }
        }
        for &index in &outdated {
            let Entry { key, content } = &entries[index];
            self.put(kind, key, content).await?;
        }
        if !outdated.is_empty() {
            info!(
                records = outdated.len(),
                "what was stored of {} in plain is sealed from now on; traces of it may remain in the store's file",
                what(kind)
            );
        }
        if !entries.is_empty() {
            self.warn();
        }
        Ok(entries)
    }

    /// The content of one record.
    pub async fn get(
        &self,
        kind: RecordKind,
        key: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some(value) = self.records.record(kind, key).await? else {
            return Ok(None);
        };
        let opened = self.sealing.open(&identity(kind, key), value);
        let opened = opened.map_err(|error| of(kind, key, error))?;
        Ok(Some(opened.content))
    }

    /// Writes a record, in place of the one with the same key.
    pub async fn put(&self, kind: RecordKind, key: &str, content: &[u8]) -> Result<(), VaultError> {
        self.warn();
        let sealed = self.sealing.seal(&identity(kind, key), content);
        let sealed = sealed.map_err(|error| of(kind, key, error))?;
        Ok(self.records.put_record(kind, key, sealed).await?)
    }

    /// Removes a record and says whether there was one.
    pub async fn delete(&self, kind: RecordKind, key: &str) -> Result<bool, VaultError> {
        Ok(self.records.delete_record(kind, key).await?)
    }

    fn warn(&self) {
        if !self.sealing.has_key() && !self.warned.swap(true, Ordering::Relaxed) {
            warn!(
                "private keys and secrets of devices are stored unencrypted, because [store] encryption_key_file is not set; \
                 `causeway keys seal-key --out FILE` makes a key for it"
            );
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({:?})", self.sealing)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({:?}, {} bytes)", self.key, self.content.len())
    }
}

/// What a record is bound to: one that was put in another's place does not open.
fn identity(kind: RecordKind, key: &str) -> Vec<u8> {
    [&[kind as u8], key.as_bytes()].concat()
}

fn what(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Device => "the device",
        RecordKind::AccessToken => "the access token",
        RecordKind::Key => "the keys of the device",
    }
}

fn of(kind: RecordKind, key: &str, error: SealError) -> VaultError {
    VaultError::Seal {
        what: what(kind),
        key: key.into(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::identity::SealingKey;
    use crate::store::{Embedded, Engine, Limits};

    const SECRET: &[u8] = b"the private half of a key";

    fn sealing() -> Sealing {
        let text = SealingKey::generate().unwrap();
        Sealing::new(Some(Arc::new(SealingKey::from_text(&text).unwrap())))
    }

    /// Opens the store, does something with its secrets, and closes it.
    async fn with<T>(path: &Path, sealing: &Sealing, work: impl AsyncFnOnce(&Vault) -> T) -> T {
        let store = Arc::new(Embedded::open(path, Limits::default()).unwrap());
        let vault = Vault::new(store.clone(), sealing.clone());
        let done = work(&vault).await;
        store.close().await.unwrap();
        done
    }

    async fn put(vault: &Vault, key: &str) {
        vault.put(RecordKind::Key, key, SECRET).await.unwrap();
    }

    async fn keys(vault: &Vault) -> Result<Vec<String>, VaultError> {
        let entries = vault.load(RecordKind::Key).await?;
        assert!(entries.iter().all(|entry| *entry.content == SECRET));
        Ok(entries.into_iter().map(|entry| entry.key.into()).collect())
    }

    fn is_in(path: &Path, secret: &[u8]) -> bool {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(secret.len()).any(|window| window == secret)
    }

    #[tokio::test]
    async fn what_is_sealed_is_nowhere_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (sealed, plain) = (folder.path().join("sealed"), folder.path().join("plain"));
        let sealing = sealing();
        for (path, sealing) in [(&sealed, &sealing), (&plain, &Sealing::default())] {
            with(path, sealing, async |vault| {
                for number in 0..=PAGE {
                    put(vault, &format!("{number:04}")).await;
                }
            })
            .await;
            let read = with(path, sealing, async |vault| keys(vault).await).await;
            assert_eq!(read.unwrap().len(), PAGE + 1);
        }
        assert!(is_in(&plain, SECRET), "it is looked for in the right way");
        assert!(!is_in(&sealed, SECRET));
    }

    #[tokio::test]
    async fn without_its_key_nothing_is_read_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (right, wrong) = (sealing(), sealing());
        with(&path, &right, async |vault| put(vault, "a").await).await;
        for (other, says) in [
            (&Sealing::default(), "none is configured"),
            (&wrong, "name the file of the first one"),
        ] {
            let error = with(&path, other, async |vault| keys(vault).await)
                .await
                .unwrap_err();
            let error = error.to_string();
            assert!(
                error.starts_with("what is stored of the keys of the device \"a\" is sealed")
                    && error.contains("[store] encryption_key_file")
                    && error.contains(says),
                "{error}"
            );
        }
        let read = with(&path, &right, async |vault| keys(vault).await).await;
        assert_eq!(read.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn a_key_that_comes_later_seals_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let sealing = sealing();
        with(&path, &Sealing::default(), async |vault| {
            put(vault, "a").await;
        })
        .await;
        with(&path, &sealing, async |vault| {
            put(vault, "b").await;
            assert_eq!(keys(vault).await.unwrap(), ["a", "b"]);
        })
        .await;
        let none = Sealing::default();
        let without = with(&path, &none, async |vault| keys(vault).await).await;
        let error = without.unwrap_err().to_string();
        assert!(error.contains("device \"a\" is sealed"), "{error}");
    }
}
