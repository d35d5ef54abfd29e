//! The private halves: kept, sealed or not, and in no answer and no line of the log.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use causeway::identity::{Sealing, SealingKey};
use causeway::store::records::RecordKind;
use causeway::store::{Embedded, Engine, Limits};
use causeway::vault::Vault;
use serde_json::Value;
use tempfile::TempDir;

use super::{activate, broker, devices, make, serve, set_up, uplink};
use crate::harness::causeway::configure;
use crate::harness::demo::Demo;
use crate::secrets::{Heard, Hidden};

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

#[tokio::test(flavor = "multi_thread")]
async fn private_halves_are_seen_by_nobody() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(&dir.path().join("demo")).await;
    for sealed in [true, false] {
        let folder = TempDir::new().unwrap();
        let key = SealingKey::generate().unwrap();
        fs::write(folder.path().join("seal.key"), &*key).unwrap();
        let device = format!("pump-{sealed}");
        let mut text = devices(&broker(&demo), &[&device]);
        if sealed {
            text += "[store]\nencryption_key_file = \"seal.key\"\n";
        }
        configure(folder.path(), &text);
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
