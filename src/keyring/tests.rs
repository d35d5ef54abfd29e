//! Keys on a real store, with a broker that says what a test says.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::reports::Reports;
use super::*;
use crate::identity::Algorithm;
use crate::identity::Sealing;
use crate::session::KeyReports as _;
use crate::store::{Embedded, Engine, Limits};
use crate::vault::Vault;

const SOON: Duration = Duration::from_secs(20);

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<Embedded>,
    keyring: Keyring,
}

impl Bench {
    async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).await
    }

    async fn open(folder: tempfile::TempDir) -> Self {
        let path = folder.path().join("store");
        let store = Arc::new(Embedded::open(path, Limits::default()).unwrap());
        let vault = Arc::new(Vault::new(store.clone(), Sealing::default()));
        let keyring = Keyring::open(vault).await.unwrap();
        Self {
            folder,
            store,
            keyring,
        }
    }

    /// As after a crash: what was not written is gone.
    async fn crash(self) -> Self {
        self.store.close().await.unwrap();
        drop(self.keyring);
        drop(self.store);
        Self::open(self.folder).await
    }

    async fn restart(self) -> Self {
        self.keyring.close().await;
        self.crash().await
    }

    fn device(&self) -> Arc<DeviceKeys> {
        self.keyring.of(&DeviceId::parse("a").unwrap())
    }
}

fn states(keys: &Arc<DeviceKeys>) -> Vec<&'static str> {
    let ring = keys.ring();
    ring.keys().iter().map(|key| key.state.name()).collect()
}

async fn make(keys: &Arc<DeviceKeys>) -> Arc<str> {
    keys.make(Algorithm::Es256).await.unwrap().kid
}

fn signing(keys: &DeviceKeys) -> Option<Arc<str>> {
    keys.active.borrow().as_ref().map(|key| Arc::clone(&key.id))
}

/// Waits until what was noted is written.
async fn settle(keys: &Keyring) {
    let tasks = &keys.core.tasks;
    tasks.close();
    tasks.wait().await;
    tasks.reopen();
}

#[tokio::test]
async fn keys_and_their_trial_survive_a_crash() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let (first, second) = (make(&keys).await, make(&keys).await);
    assert_eq!(signing(&keys), None);
    keys.activate(&first).await.unwrap();
    assert_eq!(signing(&keys), Some(first.clone()));
    let reports = Reports(Arc::clone(&keys));
    reports.accepted(&first);
    settle(&bench.keyring).await;
    keys.activate(&second).await.unwrap();

    let bench = bench.crash().await;
    let keys = bench.device();
    assert_eq!(states(&keys), ["previous", "active"]);
    assert_eq!(signing(&keys), Some(second.clone()));
    // The trial goes on.
    let reports = Reports(Arc::clone(&keys));
    reports.refused(&second, "not authorized");
    assert_eq!(signing(&keys), Some(first.clone()), "at once");
    settle(&bench.keyring).await;

    let bench = bench.crash().await;
    let keys = bench.device();
    assert_eq!(states(&keys), ["active", "new"]);
    let ring = keys.ring();
    let refusal = ring.get(&second).unwrap().refusal.clone().unwrap();
    assert_eq!(&*refusal.why, "not authorized");
    keys.delete(&second).await.unwrap();
    assert_eq!(bench.crash().await.device().ring().keys().len(), 1);
}

#[tokio::test]
async fn not_every_connect_is_a_write() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let kid = make(&keys).await;
    keys.activate(&kid).await.unwrap();
    let reports = Reports(Arc::clone(&keys));
    for _ in 0..50 {
        reports.accepted(&kid);
        settle(&bench.keyring).await;
    }
    // The key, its activation, the end of its trial.
    let commits = bench.store.counters().commits;
    assert_eq!(commits, 3);
    let used = keys.ring().keys()[0].last_used_at;
    let bench = bench.restart().await;
    let after = bench.device().ring().keys()[0].last_used_at;
    let millis = |time: Option<SystemTime>| {
        time.unwrap()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis()
    };
    assert_eq!(millis(after), millis(used), "an orderly end writes it");
}

#[tokio::test]
async fn a_change_that_cannot_be_written_is_none() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let kid = make(&keys).await;
    bench.store.close().await.unwrap();
    let error = keys.activate(&kid).await.unwrap_err();
    assert!(matches!(error, KeyringError::Vault(_)), "{error:?}");
    assert_eq!((states(&keys), signing(&keys)), (vec!["new"], None));
    assert!(keys.make(Algorithm::Es256).await.is_err());
    assert_eq!(keys.ring().keys().len(), 1);
}

#[tokio::test]
async fn the_broker_s_word_is_awaited() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let (first, second) = (make(&keys).await, make(&keys).await);
    keys.activate(&first).await.unwrap();
    let now = Instant::now();
    assert_eq!(keys.verdict(&first, now).await, Verdict::Open);
    let reports = Reports(Arc::clone(&keys));
    let why = Box::<str>::from("bad user name");
    let waiting = tokio::spawn({
        let (keys, first) = (Arc::clone(&keys), first.clone());
        async move { keys.verdict(&first, now + SOON).await }
    });
    tokio::task::yield_now().await;
    reports.refused(&first, &why);
    let refused = Verdict::Refused { why: why.clone() };
    assert_eq!(waiting.await.unwrap(), refused);
    assert_eq!(signing(&keys), Some(first.clone()), "there is no other");
    reports.accepted(&first);
    assert_eq!(keys.verdict(&first, now).await, Verdict::Accepted);

    keys.activate(&second).await.unwrap();
    reports.refused(&second, &why);
    let to = Some(first);
    let went_back = Verdict::WentBack { why, to };
    assert_eq!(keys.verdict(&second, now).await, went_back);
}

#[tokio::test]
async fn all_at_once_is_one_after_the_other() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let mut making = Vec::new();
    for _ in 0..12 {
        let keys = Arc::clone(&keys);
        making.push(tokio::spawn(
            async move { keys.make(Algorithm::Es256).await },
        ));
    }
    let mut made = 0;
    for making in making {
        match making.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error, RingError::Full.into()),
        }
    }
    assert_eq!(made, MAX_KEYS);
    assert_eq!(bench.crash().await.device().ring().keys().len(), made);
}

#[tokio::test]
async fn keys_of_a_deleted_device_do_not_come_back() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let kid = make(&keys).await;
    keys.activate(&kid).await.unwrap();
    let reports = Reports(Arc::clone(&keys));
    bench.keyring.forget(keys.device()).await.unwrap();
    // Its session may still have something to say, and somebody may still hold it.
    reports.accepted(&kid);
    settle(&bench.keyring).await;
    assert_eq!(
        keys.make(Algorithm::Es256).await.unwrap_err(),
        KeyringError::Gone
    );
    assert!(
        bench.device().ring().keys().is_empty(),
        "another one of the same name has none"
    );
    let bench = bench.restart().await;
    assert!(bench.device().ring().keys().is_empty());
}

#[tokio::test]
async fn what_another_process_has_written_is_taken_over() {
    let bench = Bench::new().await;
    let vault = Arc::new(Vault::new(bench.store.clone(), Sealing::default()));
    let other = Keyring::open(vault).await.unwrap();
    let theirs = other.of(bench.device().device());
    let kid = make(&theirs).await;
    theirs.activate(&kid).await.unwrap();
    assert_eq!(signing(&bench.device()), None);
    bench.keyring.reload(theirs.device()).await.unwrap();
    assert_eq!(signing(&bench.device()), Some(kid.clone()));
    // And the other way round, over what each has written before.
    make(&bench.device()).await;
    other.reload(theirs.device()).await.unwrap();
    assert_eq!(states(&theirs), ["active", "new"]);
}

#[tokio::test]
async fn what_the_broker_has_said_is_not_forgotten_over_what_was_written_before() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let kid = make(&keys).await;
    keys.activate(&kid).await.unwrap();
    Reports(Arc::clone(&keys)).accepted(&kid);
    // The change is heard of here as well, late.
    bench.keyring.reload(keys.device()).await.unwrap();
    assert!(!keys.ring().on_trial());
    settle(&bench.keyring).await;
    assert!(!bench.crash().await.device().ring().on_trial());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_made_while_changes_are_heard_of_is_kept() {
    let bench = Bench::new().await;
    let keys = bench.device();
    let hearing = async {
        loop {
            bench.keyring.reload(keys.device()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let changing = async {
        for _ in 0..50 {
            let kid = make(&keys).await;
            assert_eq!(states(&keys), ["new"]);
            keys.delete(&kid).await.unwrap();
        }
    };
    tokio::select! {
        () = changing => {}
        () = hearing => {}
    }
}
