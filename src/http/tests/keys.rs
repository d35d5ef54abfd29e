//! The keys of a device, with a broker that says what a test says.

use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::bridge::Bridge;
use super::client::{Answer, get, send};
use crate::device::DeviceId;
use crate::identity::{Algorithm, Sealing, VerifyingKey};
use crate::keyring::{DeviceKeys, Keyring};
use crate::store::{Embedded, Engine, Limits};
use crate::vault::Vault;

const KEYS: &str = "/v1/devices/akenza/keys";
const NO_WAIT: &str = "Prefer: respond-async\r\n";

struct Bench {
    bridge: Bridge,
    keys: Arc<DeviceKeys>,
    store: Arc<Embedded>,
    _folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Arc::new(Embedded::open(path, Limits::default()).unwrap());
        let vault = Arc::new(Vault::new(store.clone(), Sealing::default()));
        let keyring = Keyring::open(vault).await.unwrap();
        Self {
            bridge: Bridge::start_with_keys(&keyring).await,
            keys: keyring.of(&DeviceId::parse("akenza").unwrap()),
            store,
            _folder: folder,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        get(self.bridge.address, path).await
    }

    async fn send(&self, line: &str, headers: &str, body: &str) -> Answer {
        send(self.bridge.address, line, headers, body.as_bytes()).await
    }

    /// Makes a key and gives its path.
    async fn make(&self) -> String {
        let body = r#"{"algorithm": "ES256"}"#;
        let answer = self.send(&format!("POST {KEYS}"), "", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }

    async fn activate(&self, key: &str, headers: &str) -> Answer {
        self.send(&format!("POST {key}/activate"), headers, "")
            .await
    }
}

fn kid(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_key_pair_is_made_and_its_public_half_shown() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.get(KEYS).await.json(),
        serde_json::json!({"kept_here": true, "keys": []})
    );
    for (body, algorithm) in [
        ("", Algorithm::Rs256),
        ("{}", Algorithm::Rs256),
        (r#"{"algorithm":"RS256"}"#, Algorithm::Rs256),
        (r#" {"algorithm": "ES256"} "#, Algorithm::Es256),
    ] {
        let answer = bench.send(&format!("POST {KEYS}"), "", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let key = answer.json();
        assert_eq!(
            (&key["algorithm"], &key["state"], &key["on_trial"]),
            (&algorithm.name().into(), &"new".into(), &Value::Bool(false))
        );
        assert_eq!(key.get("last_used_at"), None);
        humantime::parse_rfc3339(key["created_at"].as_str().unwrap()).unwrap();

        let path = answer.header("location").unwrap();
        assert_eq!(kid(path), key["kid"]);
        assert_eq!(bench.get(path).await.json(), key);
        let pem = bench
            .send(
                &format!("GET {path}"),
                "Accept: application/x-pem-file\r\n",
                "",
            )
            .await;
        assert_eq!(pem.header("content-type"), Some("application/x-pem-file"));
        assert_eq!(pem.body, key["public_key"].as_str().unwrap().as_bytes());
        let public = VerifyingKey::from_pem("x".as_ref(), &pem.body).unwrap();
        assert_eq!(public.algorithm(), algorithm);
        assert_eq!(public.spki_sha256(), kid(path));
        let html = bench
            .send(&format!("GET {path}"), "Accept: text/html\r\n", "")
            .await;
        html.problem(406, "not-acceptable");
    }
    let list = bench.get(KEYS).await.json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 4);
    assert!(!list.to_string().contains("PRIVATE"), "{list}");
}

#[tokio::test]
async fn an_activation_is_answered_with_what_the_broker_says() {
    let bench = Bench::new().await;
    let (first, second) = (bench.make().await, bench.make().await);
    let reports = bench.keys.reports();
    // Nobody has asked the broker yet.
    let answer = bench.activate(&first, "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["on_trial"], true);
    // It refuses the only key there is.
    reports.refused(kid(&first), "not authorized (0x87)");
    let answer = bench.activate(&first, "Prefer: wait=30\r\n").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.json()["refusal"]["why"], "not authorized (0x87)");
    assert_eq!(answer.json()["state"], "active");
    reports.accepted(kid(&first));
    let answer = bench.activate(&first, "Prefer: wait=30\r\n").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["on_trial"], false);
    assert_eq!(answer.json().get("refusal"), None);
    assert!(answer.json()["last_used_at"].is_string());

    let refusing = async {
        while bench.keys.ring().active().unwrap().kid.as_ref() != kid(&second) {
            tokio::task::yield_now().await;
        }
        reports.refused(kid(&second), "not authorized (0x87)");
    };
    let (answer, ()) = tokio::join!(bench.activate(&second, "Prefer: wait=30\r\n"), refusing);
    let problem = answer.problem(502, "key-refused");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("not authorized (0x87)")
            && detail.contains(&format!("the key {} signs again", kid(&first))),
        "{detail}"
    );
    let list = bench.get(KEYS).await.json();
    assert_eq!(list["keys"][0]["state"], "active");
    assert_eq!(list["keys"][1]["state"], "new");
    assert_eq!(list["keys"][1]["refusal"]["why"], "not authorized (0x87)");
}

#[tokio::test]
async fn what_is_needed_is_not_deleted() {
    let bench = Bench::new().await;
    let (first, second) = (bench.make().await, bench.make().await);
    let reports = bench.keys.reports();
    let delete = async |key: &str| bench.send(&format!("DELETE {key}"), "", "").await;
    bench.activate(&first, NO_WAIT).await;
    delete(&first).await.problem(409, "key-in-use");
    reports.accepted(kid(&first));
    bench.activate(&second, NO_WAIT).await;
    delete(&first).await.problem(409, "key-in-use");
    reports.accepted(kid(&second));
    let answer = delete(&first).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    delete(&first).await.problem(404, "unknown-key");
    bench.get(&first).await.problem(404, "unknown-key");
    bench.activate(&first, "").await.problem(404, "unknown-key");
    for _ in 1..crate::keyring::MAX_KEYS {
        bench.make().await;
    }
    let answer = bench.send(&format!("POST {KEYS}"), "", "").await;
    answer.problem(409, "too-many-keys");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let bench = Bench::new().await;
    for body in [
        "x",
        "[]",
        "null",
        "\"ES256\"",
        r#"{"algorithm":"HS256"}"#,
        r#"{"algorithm":7}"#,
        r#"{"algorithm":"ES256","bits":4096}"#,
        "\u{0}",
    ] {
        let answer = bench.send(&format!("POST {KEYS}"), "", body).await;
        answer.problem(400, "malformed");
    }
    let large = "x".repeat(5000);
    let answer = bench.send(&format!("POST {KEYS}"), "", &large).await;
    answer.problem(413, "too-large");
    for kid in [
        "a",
        &"A".repeat(64),
        &"g".repeat(64),
        "%30",
        &"0".repeat(65),
    ] {
        let answer = bench.get(&format!("{KEYS}/{kid}")).await;
        answer.problem(400, "malformed");
    }
    for line in [
        format!("GET {KEYS}?x=1"),
        format!("POST {KEYS}?algorithm=ES256"),
    ] {
        bench.send(&line, "", "").await.problem(400, "malformed");
    }
    assert!(bench.keys.ring().keys().is_empty());
}

#[tokio::test]
async fn devices_that_need_no_keys_get_none() {
    let bench = Bench::new().await;
    let unknown = "0".repeat(64);
    for (device, says) in [("plain", "private_key_file"), ("other", "signs no tokens")] {
        let keys = format!("/v1/devices/{device}/keys");
        assert_eq!(
            bench.get(&keys).await.json(),
            serde_json::json!({"kept_here": false, "keys": []})
        );
        for line in [
            format!("POST {keys}"),
            format!("GET {keys}/{unknown}"),
            format!("DELETE {keys}/{unknown}"),
            format!("POST {keys}/{unknown}/activate"),
        ] {
            let problem = bench
                .send(&line, "", "")
                .await
                .problem(409, "keys-not-kept");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(says), "{detail}");
        }
    }
    bench
        .get("/v1/devices/nobody/keys")
        .await
        .problem(404, "unknown-device");
}

#[tokio::test]
async fn without_a_disk_nothing_is_changed() {
    let bench = Bench::new().await;
    let key = bench.make().await;
    bench.store.close().await.unwrap();
    for line in [
        format!("POST {KEYS}"),
        format!("POST {key}/activate"),
        format!("DELETE {key}"),
    ] {
        let answer = bench.send(&line, "", "").await;
        answer.problem(503, "store-unavailable");
    }
    let list = bench.get(KEYS).await.json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 1);
    assert_eq!(list["keys"][0]["state"], "new");
}
