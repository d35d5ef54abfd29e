//! Files that are somebody else's, broken, or from the future.

use std::fs;
use std::path::PathBuf;

use redb::{Database, ReadableDatabase};

use super::super::OpenError;
use super::super::tables::{FORMAT, META, RECEIPTS};
use super::*;
use crate::store::{Health, ReceiptLog};

async fn store_with_one(path: &Path) -> QueuedUplink {
    let store = open(path, Limits::default());
    let one = uplink(&device(1), 1, &[7; 5000]);
    store.enqueue(one.clone(), None).await.unwrap();
    store.close().await.unwrap();
    one
}

fn refused(path: &Path) -> OpenError {
    match Embedded::open(path, Limits::default()) {
        Err(error) => error,
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

/// The files in a folder whose names begin like a store that was set aside.
fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let aside = |name: &str| name.starts_with("store.redb.corrupt-2");
    let files = files.filter(|file| file.file_name().to_str().is_some_and(aside));
    files.map(|file| file.path()).collect()
}

#[tokio::test]
async fn two_cannot_have_it_open() {
    let fixture = Fixture::new(Limits::default());
    let path = fixture.folder.path().join("store.redb");
    let error = refused(&path);
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(error.to_string().contains("store.redb: another process"));
    assert!(Embedded::is_in_use(&path));
    fixture.store.close().await.unwrap();
    assert!(!Embedded::is_in_use(&path));
    assert!(!Embedded::is_in_use(&path.with_extension("none")));
    open(&path, Limits::default());
}

#[tokio::test]
async fn it_is_free_after_the_last_handle_is_dropped() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let store = open(&path, Limits::default());
    drop(store.enqueue(uplink(&device(1), 1, b""), None));
    drop(store);
    let free = || Embedded::open(&path, Limits::default()).is_ok();
    until("free", free).await;
}

#[tokio::test]
async fn a_closed_store_answers_as_unavailable() {
    let fixture = Fixture::new(Limits::default());
    fixture.store.close().await.unwrap();
    fixture.store.close().await.unwrap();
    let stored = fixture.store.enqueue(uplink(&device(1), 1, b""), None);
    assert!(stored.await.unwrap_err().to_string().contains("closed"));
    let read = fixture.store.read(&device(1), None, ALL).await;
    assert!(read.unwrap_err().to_string().contains("closed"));
}

#[test]
fn a_missing_folder_is_named() {
    let folder = TempDir::new().unwrap();
    let error = refused(&folder.path().join("no/store.redb"));
    assert!(matches!(error, OpenError::NoFolder(_)), "{error}");
    assert!(error.to_string().contains("/no: the folder"));
    let error = refused(folder.path());
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_version_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    store_with_one(&path).await;
    let database = Database::open(&path).unwrap();
    let tx = database.begin_write().unwrap();
    let newer = 2u32.to_le_bytes();
    let mut meta = tx.open_table(META).unwrap();
    meta.insert(FORMAT, newer.as_slice()).unwrap();
    drop(meta);
    tx.commit().unwrap();
    drop(database);
    let error = refused(&path);
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );

    let newer_redb = folder.path().join("newer.redb");
    let mut bytes = fs::read(&path).unwrap();
    (bytes[64], bytes[192]) = (4, 4);
    fs::write(&newer_redb, &bytes).unwrap();
    let error = refused(&newer_redb);
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 4,
                known: 3,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(&newer_redb).unwrap(), bytes);
    assert!(set_aside(folder.path()).is_empty());
}

#[tokio::test]
async fn a_corrupt_file_is_set_aside_and_a_new_one_begun() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 6] = [
        ("no database at all", |bytes| *bytes = b"hello".to_vec()),
        ("zeros", |bytes| bytes.fill(0)),
        ("a damaged head", |bytes| bytes[64..320].fill(0xff)),
        ("damaged pages", |bytes| bytes[4096..].fill(0xaa)),
        ("a damaged payload", |bytes| {
            let at = bytes.windows(100).position(|part| part == [7; 100]);
            bytes[at.unwrap() + 50] = 8;
        }),
        ("cut off", |bytes| bytes.truncate(bytes.len() / 4)),
    ];
    for (what, damage) in damages {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store.redb");
        store_with_one(&path).await;
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        for round in 1..=2 {
            let store = open(&path, Limits::default());
            assert_eq!(store.backlogs(), [], "{what}");
            store_works(&store).await;
            store.close().await.unwrap();
            let aside = set_aside(folder.path());
            assert_eq!(aside.len(), round, "{what}");
            let kept = aside.iter().filter(|file| fs::read(file).unwrap() == bytes);
            assert_eq!(kept.count(), round, "{what}: set aside as it was");
            fs::write(&path, &bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn corruption_that_turns_out_later_is_set_aside_too() {
    let fixture = Fixture::new(Limits::default());
    let folder = fixture.folder.path();
    let one = uplink(&device(1), 1, b"x");
    fixture.store.enqueue(one.clone(), None).await.unwrap();
    fixture.store.close().await.unwrap();
    // A receipt of which no version is known: pages are fine, and what is in them is not.
    let database = Database::open(folder.join("store.redb")).unwrap();
    let tx = database.begin_write().unwrap();
    let mut receipts = tx.open_table(RECEIPTS).unwrap();
    receipts.insert(one.id.to_u128(), [99].as_slice()).unwrap();
    drop(receipts);
    tx.commit().unwrap();
    drop(database);
    let store = open(&folder.join("store.redb"), Limits::default());
    let error = store.receipt(one.id).await.unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
    // That alone does not condemn a file whose pages are all as they were written.
    until("writable", || store.health() == Health::Writable).await;
    assert_eq!(queued(&*store, &device(1)).await, [1]);
    assert!(set_aside(folder).is_empty());
}

#[tokio::test]
async fn a_file_without_tables_is_filled() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    drop(Database::create(&path).unwrap());
    store_works(&open(&path, Limits::default())).await;
    assert!(set_aside(folder.path()).is_empty());
    let empty = folder.path().join("empty.redb");
    fs::write(&empty, b"").unwrap();
    store_works(&open(&empty, Limits::default())).await;
    let database = Database::open(&empty);
    assert!(database.is_err_and(|e| e.to_string().contains("already open")));
}

async fn store_works(store: &Embedded) {
    let one = uplink(&device(1), store.next_seq(), b"x");
    store.enqueue(one.clone(), None).await.unwrap();
    assert_eq!(queued(store, &device(1)).await, [one.seq]);
}

#[test]
fn redb_is_still_where_the_version_is_expected() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let database = Database::create(&path).unwrap();
    drop(database.begin_read().unwrap());
    drop(database);
    let bytes = fs::read(&path).unwrap();
    assert_eq!((bytes[64], bytes[192]), (3, 3));
}
