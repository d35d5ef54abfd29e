//! Keys that are made in the bridge: registered with the platform, activated, rotated under load, refused, and kept over
//! restarts; with a pretended platform that checks tokens as akenza does.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use causeway::bridge::{Bridge, StartError};
use causeway::identity::{Sealing, SealingKey};
use causeway::store::records::RecordKind;
use causeway::store::{Embedded, Engine, Limits};
use causeway::vault::Vault;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::DEADLINE;
use crate::harness::bridge::{TestBridge, config};
use crate::harness::causeway::causeway;
use crate::harness::demo::Demo;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::program::Program;
use crate::harness::proxy::Proxy;
use crate::renewal::{Posted, assert_in_order, places, post};
use crate::secrets::{Heard, Hidden};

/// Devices without a key in the configuration.
fn devices(broker: &str, devices: &[&str]) -> String {
    let mut text =
        format!("[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{broker}\"\n");
    for device in devices {
        writeln!(text, "[devices.{device}]\nconnector = \"akenza\"").unwrap();
    }
    text
}

fn broker(demo: &Demo) -> String {
    demo.addr("mqtt").to_string()
}

async fn send(http: &Http, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = http.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::to(request).await
}

/// Makes a key pair and gives what is said of it.
async fn make(http: &Http, device: &str, algorithm: &str) -> Value {
    let body = json!({ "algorithm": algorithm }).to_string();
    let path = format!("/v1/devices/{device}/keys");
    let reply = http.post(&path, "application/json", body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let key = reply.json();
    let location = format!("{path}/{}", key["kid"].as_str().unwrap());
    assert_eq!(reply.header("location"), location);
    key
}

/// Pastes the public half into the platform.
async fn register(demo: &Demo, device: &str, key: &Value) {
    let path = format!("/devices/{device}/keys");
    let pem = key["public_key"].as_str().unwrap().to_owned();
    let reply = demo
        .console
        .post(&path, "application/x-pem-file", pem)
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.json()["kid"], key["kid"]);
}

async fn activate(http: &Http, device: &str, key: &Value) -> Reply {
    let kid = key["kid"].as_str().unwrap();
    let path = format!("/v1/devices/{device}/keys/{kid}/activate");
    send(http, Method::POST, &path, &[("prefer", "wait=30")]).await
}

/// A key that is made, registered and activated.
async fn set_up(demo: &Demo, http: &Http, device: &str, algorithm: &str) -> Value {
    let key = make(http, device, algorithm).await;
    register(demo, device, &key).await;
    let reply = activate(http, device, &key).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    key
}

async fn list(http: &Http, device: &str) -> Vec<Value> {
    let list = http.get(&format!("/v1/devices/{device}/keys")).await.json();
    assert_eq!(list["kept_here"], true);
    list["keys"].as_array().unwrap().clone()
}

fn states(list: &[Value]) -> Vec<&str> {
    list.iter()
        .map(|key| key["state"].as_str().unwrap())
        .collect()
}

async fn uplink(http: &Http, device: &str, body: &str) -> Reply {
    let path = format!("/v1/devices/{device}/uplinks");
    http.post(&path, "application/json", body.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn from_no_key_to_the_first_uplink() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let bridge = TestBridge::start(&devices(&broker(&demo), &["pump-1"])).await;
    let http = &bridge.http;
    bridge.until("pump-1", "no_key").await;
    let session = bridge.session("pump-1").await;
    let hint = session["last_error"]["hint"].as_str().unwrap();
    assert!(
        hint.contains("POST /v1/devices/{device}/keys") && hint.contains("causeway keys"),
        "{hint}"
    );
    let refused = uplink(http, "pump-1", "0").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["type"], "/docs#problem-no-key");
    assert!(
        problem["hint"].as_str().unwrap().contains("/keys"),
        "{problem}"
    );
    // Without a key nothing else is wrong: somebody may come and make one.
    assert_eq!(bridge.management.get("/readyz").await.status, 200);

    let path = "/v1/devices/pump-1/uplinks";
    let request = http.request(Method::POST, path);
    let request = request.header("prefer", "respond-async");
    let queued = Reply::to(request.header("content-type", "application/json").body("1")).await;
    assert_eq!(queued.status, 202, "{}", queued.text());

    let key = make(http, "pump-1", "ES256").await;
    assert_eq!(
        (&key["state"], &key["algorithm"]),
        (&json!("new"), &json!("ES256"))
    );
    assert_eq!(bridge.session("pump-1").await["state"], "no_key");
    register(&demo, "pump-1", &key).await;
    let reply = activate(http, "pump-1", &key).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let active = reply.json();
    assert_eq!(
        (&active["state"], &active["on_trial"]),
        (&json!("active"), &json!(false))
    );
    assert!(active["last_used_at"].is_string(), "{active}");

    let confirmed = uplink(http, "pump-1", "2").await;
    assert!(
        [200, 202].contains(&confirmed.status),
        "{}",
        confirmed.text()
    );
    eventually("both uplinks to arrive", DEADLINE, async || {
        demo.taken("pump-1", 0).await.len() == 2
    })
    .await;
    let taken = demo.taken("pump-1", 0).await;
    let payloads: Vec<_> = taken.iter().map(|uplink| &uplink.payload).collect();
    assert_eq!(payloads, [&json!(1), &json!(2)]);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_platform_learns_of_later_is_used_then() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let bridge = TestBridge::start(&devices(&broker(&demo), &["pump-1"])).await;
    let key = make(&bridge.http, "pump-1", "ES256").await;
    let reply = activate(&bridge.http, "pump-1", &key).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert!(
        reply.json()["refusal"]["why"].is_string(),
        "{}",
        reply.text()
    );
    bridge.until("pump-1", "refused").await;
    register(&demo, "pump-1", &key).await;
    eventually("the key to be taken", DEADLINE, async || {
        uplink(&bridge.http, "pump-1", "1").await.status == 200
    })
    .await;
    let key = &list(&bridge.http, "pump-1").await[0];
    assert_eq!(
        (&key["on_trial"], key.get("refusal")),
        (&json!(false), None)
    );
    bridge.stop().await;
}

/// Two devices with a key each, and uplinks going on, over a link on which several are always under way.
struct Load {
    demo: Demo,
    bridge: TestBridge,
    keys: [Value; 2],
    posting: Vec<tokio::task::JoinHandle<Vec<Posted>>>,
    _link: Proxy,
    _dir: TempDir,
}

const PUMPS: [&str; 2] = ["pump-rsa", "pump-ec"];

impl Load {
    const COUNT: u64 = 250;

    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let demo = Demo::start(dir.path()).await;
        let link = Proxy::start(demo.addr("mqtt"));
        link.delay(Duration::from_millis(30));
        let bridge = TestBridge::start(&devices(&link.addr().to_string(), &PUMPS)).await;
        let keys = [
            set_up(&demo, &bridge.http, PUMPS[0], "RS256").await,
            set_up(&demo, &bridge.http, PUMPS[1], "ES256").await,
        ];
        let posting =
            PUMPS.map(|device| tokio::spawn(post(bridge.http.clone(), device, Self::COUNT)));
        Self {
            demo,
            bridge,
            keys,
            posting: posting.into(),
            _link: link,
            _dir: dir,
        }
    }

    /// Waits until so many of each device have come.
    async fn until(&self, count: u64) {
        eventually("uplinks to come", DEADLINE, async || {
            let [one, other] = PUMPS.map(|device| self.demo.taken(device, 0));
            (one.await.len().min(other.await.len())) as u64 >= count
        })
        .await;
    }

    fn is_over(&self) -> bool {
        self.posting
            .iter()
            .any(tokio::task::JoinHandle::is_finished)
    }

    /// Every uplink was answered with 200, and came once and in its order.
    async fn assert_unharmed(&mut self) {
        for (device, posting) in PUMPS.iter().zip(self.posting.drain(..)) {
            let posted = posting.await.unwrap();
            for post in &posted {
                assert_eq!(
                    post.status, 200,
                    "{device} {}: {}",
                    post.number, post.answer
                );
            }
            let places = places(&self.demo.taken(device, 0).await, Self::COUNT);
            assert_in_order(device, &posted, &places);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_under_load_without_anybody_noticing() {
    let mut load = Load::start().await;
    let mut keys = load.keys.clone();
    for round in 1..=3 {
        load.until(round * 50).await;
        for (device, old) in PUMPS.iter().zip(&mut keys) {
            let algorithm = if round % 2 == 0 { "RS256" } else { "ES256" };
            let new = set_up(&load.demo, &load.bridge.http, device, algorithm).await;
            let kid = old["kid"].as_str().unwrap().to_owned();
            for (http, path) in [
                (&load.demo.console, format!("/devices/{device}/keys/{kid}")),
                (
                    &load.bridge.http,
                    format!("/v1/devices/{device}/keys/{kid}"),
                ),
            ] {
                let reply = send(http, Method::DELETE, &path, &[]).await;
                assert_eq!(reply.status, 204, "{}", reply.text());
            }
            *old = new;
        }
    }
    assert!(
        !load.is_over(),
        "the load must last longer than the rotations"
    );
    load.assert_unharmed().await;
    for (device, key) in PUMPS.iter().zip(&keys) {
        let list = list(&load.bridge.http, device).await;
        assert_eq!((list.len(), &list[0]["kid"]), (1, &key["kid"]));
        let session = load.bridge.session(device).await;
        assert_eq!(session["counters"]["renewals"], 3, "{session}");
        assert_eq!(session["counters"]["repeated"], 0, "{session}");
    }
    assert_eq!(load.demo.refused().await, [Value::Null; 0]);
    load.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_platform_does_not_know_is_given_up_under_load_without_harm() {
    let mut load = Load::start().await;
    load.until(50).await;
    for (device, old) in PUMPS.iter().zip(&load.keys) {
        let unknown = make(&load.bridge.http, device, "ES256").await;
        let reply = activate(&load.bridge.http, device, &unknown).await;
        assert_eq!(reply.status, 502, "{}", reply.text());
        let problem = reply.json();
        assert_eq!(problem["type"], "/docs#problem-key-refused");
        let detail = problem["detail"].as_str().unwrap();
        let again = format!("the key {} signs again", old["kid"].as_str().unwrap());
        assert!(
            detail.contains("0x86") && detail.contains(&again),
            "{detail}"
        );

        let list = list(&load.bridge.http, device).await;
        assert_eq!(states(&list), ["active", "new"]);
        let why = list[1]["refusal"]["why"].as_str().unwrap();
        assert!(why.contains("bad user name or password"), "{why}");
        load.bridge.until(device, "connected").await;
        let error = &load.bridge.session(device).await["last_error"];
        let what = error["what"].as_str().unwrap();
        assert!(
            what.contains(unknown["kid"].as_str().unwrap()) && what.contains("is used again"),
            "{what}"
        );
        assert!(
            error["hint"].as_str().unwrap().contains("public half"),
            "{error}"
        );
    }
    assert!(!load.is_over(), "the load must last longer than this");
    load.assert_unharmed().await;
    load.bridge.stop().await;
}

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
    fs::write(
        folder.path().join("causeway.toml"),
        format!("{LISTENERS}{text}"),
    )
    .unwrap();
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

const LISTENERS: &str =
    "[http]\nlisten = \"127.0.0.1:0\"\n[management]\nlisten = \"127.0.0.1:0\"\n";

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

/// The private halves that are kept for a device.
async fn private_halves(folder: &Path, sealing: Sealing, device: &str) -> Vec<Vec<u8>> {
    let store = Embedded::open(folder.join("causeway.redb"), Limits::default()).unwrap();
    let store = Arc::new(store);
    let vault = Vault::new(store.clone(), sealing);
    let entries = vault.load(RecordKind::Key).await.unwrap();
    let entry = entries.iter().find(|entry| &*entry.key == device).unwrap();
    let record: Value = serde_json::from_slice(&entry.content).unwrap();
    let keys = record["keys"].as_array().unwrap().iter();
    let halves = keys.map(|key| STANDARD.decode(key["pkcs8"].as_str().unwrap()).unwrap());
    let halves = halves.collect();
    store.close().await.unwrap();
    halves
}

/// What must not be seen of a private key. The public half is at the end of an EC key and at the beginning of an RSA key.
fn hidden(pkcs8: &[u8]) -> Vec<Hidden> {
    let (from, to) = match pkcs8.len() {
        ..200 => (36, 68),
        _ => (320, pkcs8.len()),
    };
    let private = &pkcs8[from..to];
    let mut hidden = vec![Hidden::new("a private key", &private[..24])];
    for offset in 0..3 {
        // In Base64, wherever it begins.
        let aligned = &private[offset..];
        let whole = aligned.len() - aligned.len() % 3;
        let text = STANDARD.encode(&aligned[..whole]);
        hidden.extend([
            Hidden::new("a private key", &text[..24]),
            Hidden::new("a private key", &text[text.len() - 24..]),
        ]);
    }
    hidden
}

fn is_in(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A served bridge: its HTTP client, and the program with its log.
async fn serve(folder: &Path) -> (Http, Program) {
    let bridge = causeway(folder, &["serve"], &[("RUST_LOG", "trace")]);
    let line = bridge.stderr().wait_for("serving http://").await;
    let (_, rest) = line.split_once("serving http://").unwrap();
    let addr = rest.split(',').next().unwrap().parse().unwrap();
    (Http::new(addr), bridge)
}

#[tokio::test(flavor = "multi_thread")]
async fn private_halves_are_seen_by_nobody() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(&dir.path().join("demo")).await;
    for sealed in [true, false] {
        let folder = TempDir::new().unwrap();
        let key = SealingKey::generate().unwrap();
        fs::write(folder.path().join("seal.key"), &*key).unwrap();
        let device = format!("pump-{sealed}");
        let mut text = format!("{LISTENERS}{}", devices(&broker(&demo), &[&device]));
        if sealed {
            text += "[store]\nencryption_key_file = \"seal.key\"\n";
        }
        fs::write(folder.path().join("causeway.toml"), text).unwrap();
        let (http, mut bridge) = serve(folder.path()).await;
        let mut heard = Heard::default();
        let first = set_up(&demo, &http, &device, "RS256").await;
        set_up(&demo, &http, &device, "ES256").await;
        let unknown = make(&http, &device, "RS256").await;
        heard.reply("activate", &activate(&http, &device, &unknown).await);
        heard.reply("uplink", &uplink(&http, &device, "1").await);
        let base = format!("/v1/devices/{device}");
        for path in [
            format!("{base}/keys"),
            format!("{base}/keys/{}", first["kid"].as_str().unwrap()),
            format!("{base}/session"),
            base.clone(),
            "/openapi.json".to_owned(),
        ] {
            heard.get(&http, &path).await;
        }
        for body in ["{\"algorithm\":", "{\"pkcs8\":\"x\"}"] {
            let path = format!("{base}/keys");
            heard.reply(&path, &http.post(&path, "application/json", body).await);
        }
        assert_eq!(bridge.terminate().await.code(), Some(0));
        let log = bridge.stderr().all();
        heard.add("the log", log.join("\n"));
        let went_back = |line: &&String| line.contains("is used again");
        assert_eq!(log.iter().filter(went_back).count(), 1, "it is said once");
        let unencrypted = |line: &String| line.contains("stored unencrypted");
        assert_eq!(log.iter().any(unencrypted), !sealed);

        let file = fs::read(folder.path().join("causeway.redb")).unwrap();
        let sealing = Sealing::new(sealed.then(|| Arc::new(SealingKey::from_text(&key).unwrap())));
        let halves = private_halves(folder.path(), sealing, &device).await;
        assert_eq!(halves.len(), 3);
        for half in &halves {
            let hidden = hidden(half);
            heard.assert_free_of(&hidden);
            let stored = STANDARD.encode(half);
            let plain = is_in(&file, stored.as_bytes());
            assert_eq!(plain, !sealed, "it is looked for in the right way");
            let traces = hidden.iter().any(|part| is_in(&file, part.bytes()));
            assert_eq!(traces, !sealed);
        }
        let sealing_key = Hidden::new("the sealing key", key.as_bytes());
        heard.assert_free_of(&[sealing_key]);
    }
}

#[tokio::test]
async fn the_store_of_a_running_bridge_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let text = format!("{LISTENERS}{}", devices("127.0.0.1:1", &["pump-1"]));
    fs::write(folder.path().join("causeway.toml"), text).unwrap();
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
