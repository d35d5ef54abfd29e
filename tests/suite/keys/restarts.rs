//! Keys over restarts: with the same sealing key, with another one, and beside a bridge that runs.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use causeway::bridge::{Bridge, StartError};
use causeway::identity::SealingKey;
use causeway::store::{Embedded, Engine, Limits};
use tempfile::TempDir;

use super::{broker, devices, list, make, serve, set_up, states, uplink};
use crate::harness::DEADLINE;
use crate::harness::bridge::{TestBridge, config};
use crate::harness::causeway::{LISTENERS, causeway, configure};
use crate::harness::demo::Demo;
use crate::harness::eventually::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_restarts_and_a_trial_goes_on() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let text = devices(&broker(&demo), &["pump-1"]);
    let bridge = TestBridge::start(&text).await;
    set_up(&demo, &bridge.http, "pump-1", "RS256").await;
    let unknown = make(&bridge.http, "pump-1", "ES256").await;
    let before = list(&bridge.http, "pump-1").await;
    let folder = bridge.stop().await;

    let bridge = TestBridge::start_in(folder, &text).await;
    assert_eq!(list(&bridge.http, "pump-1").await, before);
    assert_eq!(uplink(&bridge.http, "pump-1", "1").await.status, 200);
    let folder = bridge.stop().await;

    // Activated while nobody could say what the broker thinks of it.
    configure(folder.path(), &text);
    let kid = &unknown["kid"].as_str().unwrap()[..12];
    let args = ["keys", "activate", "--device", "pump-1", kid];
    let mut program = causeway(folder.path(), &args, &[]);
    assert_eq!(
        program.exit().await.code(),
        Some(0),
        "{:?}",
        program.stderr().all()
    );
    let said = program.stdout().all().join("\n");
    assert!(
        said.contains("active, not accepted by the broker yet"),
        "{said}"
    );
    let bridge = TestBridge::start_in(folder, &text).await;
    assert_eq!(
        states(&list(&bridge.http, "pump-1").await),
        ["previous", "active"]
    );
    assert_eq!(uplink(&bridge.http, "pump-1", "2").await.status, 200);
    assert_eq!(
        states(&list(&bridge.http, "pump-1").await),
        ["active", "new"]
    );
    bridge.stop().await;
}

/// Why a bridge does not start. A store that was opened in vain is closed soon after.
async fn refused(text: &str, folder: &Path) -> String {
    let config = config(&format!("{LISTENERS}{text}"), folder);
    let why = Mutex::new(String::new());
    eventually("the store to be free", DEADLINE, || async {
        let error = match Bridge::bind(&config).await {
            Err(StartError::Plan(errors)) => panic!("{errors:?}"),
            Err(error) => error.to_string(),
            Ok(_) => panic!("it starts"),
        };
        let is_free = !error.contains("another process");
        *why.lock().unwrap() = error;
        is_free
    })
    .await;
    why.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_sealing_key_nothing_starts_and_nothing_is_lost() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let text = devices(&broker(&demo), &["pump-1"]);
    let folder = TempDir::new().unwrap();
    for name in ["right.key", "wrong.key"] {
        fs::write(folder.path().join(name), &*SealingKey::generate().unwrap()).unwrap();
    }
    let sealed = |name| format!("[store]\nencryption_key_file = \"{name}\"\n{text}");
    let right = sealed("right.key");

    let bridge = TestBridge::start_in(folder, &right).await;
    set_up(&demo, &bridge.http, "pump-1", "ES256").await;
    let folder = bridge.stop().await;
    for (other, says) in [
        (&text, "none is configured"),
        (&sealed("wrong.key"), "of the first one"),
    ] {
        let error = refused(other, folder.path()).await;
        assert!(
            error.contains("[store] encryption_key_file")
                && error.contains(says)
                && error.contains("pump-1"),
            "{error}"
        );
    }
    let bridge = start_when_free(folder, &right).await;
    assert_eq!(uplink(&bridge.http, "pump-1", "1").await.status, 200);
    bridge.stop().await;
}

async fn start_when_free(folder: TempDir, text: &str) -> TestBridge {
    let path = folder.path().join("causeway.redb");
    eventually(
        "the store to be free",
        DEADLINE,
        async || match Embedded::open(&path, Limits::default()) {
            Ok(store) => store.close().await.is_ok(),
            Err(_) => false,
        },
    )
    .await;
    TestBridge::start_in(folder, text).await
}

#[tokio::test]
async fn the_store_of_a_running_bridge_is_left_alone() {
    let folder = TempDir::new().unwrap();
    configure(folder.path(), &devices("127.0.0.1:1", &["pump-1"]));
    let (http, mut bridge) = serve(folder.path()).await;
    let run = async |line: &str| {
        let args: Vec<_> = line.split(' ').collect();
        let mut program = causeway(folder.path(), &args, &[]);
        let code = program.exit().await.code();
        let said = [program.stdout().all(), program.stderr().all()].concat();
        (code, said.join("\n"))
    };
    for line in ["keys list", "keys new --device pump-1"] {
        let (code, said) = run(line).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("a running bridge has this store"), "{said}");
    }
    assert!(list(&http, "pump-1").await.is_empty());
    bridge.terminate().await;
    let (code, said) = run("keys new --device pump-1 --algorithm es256").await;
    assert_eq!(code, Some(0), "{said}");
    let (http, _bridge) = serve(folder.path()).await;
    assert_eq!(states(&list(&http, "pump-1").await), ["new"]);
}
