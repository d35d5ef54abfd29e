//! Deleting a device for which uplinks wait.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use causeway::identity::Sealing;
use causeway::store::records::RecordKind;
use causeway::store::{Embedded, Engine};
use causeway::vault::Vault;
use futures_util::{StreamExt, stream};

use super::*;
use crate::harness::DEADLINE;
use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::program::Program;
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;

/// Posts what cannot be sent now, and gives the receipts' places.
async fn queue(http: &Http, device: &str, payloads: &[&str]) -> Vec<String> {
    let mut receipts = Vec::new();
    for payload in payloads {
        let reply = post(http, device, "respond-async", payload).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        receipts.push(reply.header("location").to_owned());
    }
    receipts
}

async fn until_gone(http: &Http, device: &str) {
    eventually("the device to be gone", DEADLINE, async || {
        http.get(&format!("/v1/devices/{device}")).await.status == 404
    })
    .await;
}

#[tokio::test]
async fn a_backlog_is_not_dropped_by_accident_and_its_receipts_say_what_became_of_it() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let bridge = TestBridge::start(&config(network.addr())).await;
    for (device, connector) in [("own-pump", "own"), ("pump", "local")] {
        created(&bridge.http, device, connector).await;
        let receipts = queue(&bridge.http, device, &["1", "2", "3"]).await;
        // Some in the session's queue as well, with a place in the store beside it.
        let shadow = post(&bridge.http, device, "wait=1", "4").await;
        assert_eq!(shadow.status, 202, "{}", shadow.text());
        let refused = delete(&bridge.http, device, "").await;
        let detail = problem(&refused, 409, "backlog");
        assert!(detail.starts_with("4 uplinks"), "{detail}");
        assert!(
            refused.text().contains("?backlog=drain"),
            "{}",
            refused.text()
        );
        let still = bridge.session(device).await;
        assert_eq!(still["backlog"]["count"], 4);

        let gone = delete(&bridge.http, device, "?backlog=discard").await;
        assert_eq!(gone.status, 204, "{}", gone.text());
        for place in receipts
            .iter()
            .map(String::as_str)
            .chain([shadow.header("location")])
        {
            let receipt = bridge.http.get(place).await.json();
            assert_eq!(receipt["status"], "refused", "{receipt}");
            let reason = receipt["detail"].as_str().unwrap();
            assert!(reason.contains("the device was deleted"), "{receipt}");
        }
        created(&bridge.http, device, connector).await;
    }
    network.admit();
    // Whatever had been left of the others would come before.
    delivered(&bridge.http, "own-pump", "new").await;
    delivered(&bridge.http, "pump", "new").await;
    let seen = observer.wait_count(2).await;
    let seen: Vec<_> = seen.iter().map(|message| message.text()).collect();
    assert_eq!(seen, ["new", "new"]);
}

#[tokio::test]
async fn who_waits_for_the_broker_when_the_device_goes_is_told() {
    let broker = Mosquitto::start().await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let bridge = TestBridge::without_store(&config(network.addr())).await;
    drop(bridge);
    let bridge = TestBridge::start(&config(network.addr())).await;
    for (device, connector) in [("own-pump", "own"), ("pump", "local")] {
        created(&bridge.http, device, connector).await;
        let waiting = post(&bridge.http, device, "wait=60", "1");
        let deleting = async {
            eventually("the uplink to wait", DEADLINE, async || {
                bridge.session(device).await["queued"] == 1
            })
            .await;
            delete(&bridge.http, device, "").await
        };
        let (waited, deleted) = tokio::join!(waiting, deleting);
        assert_eq!(deleted.status, 204, "{}", deleted.text());
        assert_eq!(waited.status, 503, "{}", waited.text());
        assert!(waited.text().contains("was not sent"), "{}", waited.text());
    }
}

/// The program, which can be killed.
struct Killable {
    folder: tempfile::TempDir,
    port: Port,
    program: Program,
}

impl Killable {
    async fn start(config: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let text = format!(
            "[http]\nlisten = \"{}\"\n[management]\nlisten = \"127.0.0.1:0\"\n{config}",
            port.addr()
        );
        std::fs::write(folder.path().join("causeway.toml"), text).unwrap();
        let program = serve(folder.path()).await;
        Self {
            folder,
            port,
            program,
        }
    }

    fn http(&self) -> Http {
        Http::new(self.port.addr())
    }

    async fn kill_and_start(&mut self) {
        self.program.kill9();
        self.program = serve(self.folder.path()).await;
    }
}

async fn serve(folder: &Path) -> Program {
    let program = causeway(folder, &["serve"], &[("NO_COLOR", "1")]);
    program.stderr().wait_for("serving http://").await;
    program
}

#[tokio::test]
async fn a_drained_device_takes_nothing_new_and_goes_when_its_backlog_is_sent_also_after_a_crash() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let mut bridge = Killable::start(&config(network.addr())).await;
    for (device, connector) in [("own-pump", "own"), ("pump", "local")] {
        created(&bridge.http(), device, connector).await;
        queue(&bridge.http(), device, &["1", "2", "3"]).await;
        let leaving = delete(&bridge.http(), device, "?backlog=drain").await;
        assert_eq!(leaving.status, 202, "{}", leaving.text());
        assert_eq!(leaving.json()["leaving"], true);
    }
    for _ in 0..2 {
        for device in ["own-pump", "pump"] {
            let http = bridge.http();
            problem(&post(&http, device, "wait=30", "x").await, 409, "leaving");
            problem(
                &post(&http, device, "respond-async", "x").await,
                409,
                "leaving",
            );
            let anew = put(&http, device, &json!({"connector": "own"})).await;
            problem(&anew, 409, "leaving");
            // The same once more is the same.
            assert_eq!(delete(&http, device, "").await.status, 202);
            let shown = http.get(&format!("/v1/devices/{device}")).await.json();
            assert_eq!(shown["leaving"], true);
        }
        bridge.kill_and_start().await;
    }
    network.admit();
    for device in ["own-pump", "pump"] {
        until_gone(&bridge.http(), device).await;
        created(&bridge.http(), device, "own").await;
        delivered(&bridge.http(), device, "new").await;
    }
    let seen = observer.wait_count(8).await;
    for device in ["own-pump", "pump"] {
        let topic = format!("devices/{device}/up");
        let seen = seen.iter().filter(|message| message.topic == topic);
        let seen: Vec<_> = seen.map(|message| message.text()).collect();
        assert_eq!(seen, ["1", "2", "3", "new"], "{device}");
    }
}

#[tokio::test]
async fn one_who_does_not_want_to_wait_any_longer_discards_after_all() {
    let broker = Mosquitto::start().await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let bridge = TestBridge::start(&config(network.addr())).await;
    created(&bridge.http, "pump", "own").await;
    let receipts = queue(&bridge.http, "pump", &["1"]).await;
    assert_eq!(
        delete(&bridge.http, "pump", "?backlog=drain").await.status,
        202
    );
    assert_eq!(
        delete(&bridge.http, "pump", "?backlog=discard")
            .await
            .status,
        204
    );
    until_gone(&bridge.http, "pump").await;
    let receipt = bridge.http.get(&receipts[0]).await.json();
    assert_eq!(receipt["status"], "refused", "{receipt}");
}

#[tokio::test]
async fn a_deletion_that_a_crash_cut_short_is_finished_after_the_start() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let mut bridge = Killable::start(&config(network.addr())).await;
    created(&bridge.http(), "pump", "own").await;
    let receipts = queue(&bridge.http(), "pump", &["1", "2"]).await;
    bridge.program.kill9();
    // As the crash leaves it: the deletion is written down, and nothing more is done.
    {
        let path = bridge.folder.path().join("causeway.redb");
        let store = Arc::new(Embedded::open(path, Default::default()).unwrap());
        let vault = Vault::new(store.clone(), Sealing::new(None));
        let record = br#"{"device":{"connector":"own"},"leaving":"discard"}"#;
        vault.put(RecordKind::Device, "pump", record).await.unwrap();
        store.close().await.unwrap();
    }
    network.admit();
    bridge.kill_and_start().await;
    let http = bridge.http();
    problem(&http.get("/v1/devices/pump").await, 404, "unknown-device");
    for place in &receipts {
        eventually("the receipt", DEADLINE, async || {
            http.get(place).await.json()["status"] == "refused"
        })
        .await;
    }
    created(&http, "pump", "own").await;
    delivered(&http, "pump", "new").await;
    let seen = observer.wait_count(1).await;
    assert_eq!(seen.iter().map(|m| m.text()).collect::<Vec<_>>(), ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_deletions_leaves_nothing_half_deleted() {
    const DEVICES: usize = 120;
    const ANSWERED: usize = 40;
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let mut bridge = Killable::start(&config(network.addr())).await;
    let http = bridge.http();
    let register = |number| {
        let (http, device) = (&http, format!("d{number:03}"));
        async move {
            created(http, &device, "own").await;
            let receipts = queue(http, &device, &["x"]).await;
            (device, receipts.into_iter().next().unwrap())
        }
    };
    let devices = stream::iter((0..DEVICES).map(register)).buffered(16);
    let devices: Vec<(String, String)> = devices.collect().await;
    let delete = |device: &str| {
        let path = format!("/v1/devices/{device}?backlog=discard");
        let request = http.request(Method::DELETE, &path);
        let device = device.to_owned();
        async move {
            let reply = request.send().await.ok()?;
            assert_eq!(reply.status(), 204);
            Some(device)
        }
    };
    let mut deletions = stream::iter(devices.iter().map(|(device, _)| delete(device)))
        .buffer_unordered(16)
        .boxed();
    let mut gone = BTreeSet::new();
    while gone.len() < ANSWERED {
        gone.insert(deletions.next().await.flatten().unwrap());
    }
    bridge.program.kill9();
    drop(deletions);
    network.admit();
    bridge.program = serve(bridge.folder.path()).await;
    let mut left = BTreeSet::new();
    for (device, receipt) in &devices {
        let shown = http.get(&format!("/v1/devices/{device}")).await;
        let end = match shown.status {
            404 => "refused",
            200 => {
                assert!(!gone.contains(device), "{device} was deleted");
                left.insert(format!("devices/{device}/up"));
                "delivered"
            }
            _ => panic!("{}", shown.text()),
        };
        eventually(&format!("{device} to be {end}"), DEADLINE, async || {
            http.get(receipt).await.json()["status"] == end
        })
        .await;
    }
    assert!(!left.is_empty() && left.len() <= DEVICES - ANSWERED);
    let seen = observer.wait_count(left.len()).await;
    let seen: Vec<_> = seen.into_iter().map(|message| message.topic).collect();
    assert_eq!(seen.len(), left.len());
    assert_eq!(BTreeSet::from_iter(seen), left);
}

#[tokio::test]
async fn idempotency_keys_go_with_their_device() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    let keyed = async || {
        let request = (bridge.http).request(Method::POST, "/v1/devices/pump/uplinks");
        Reply::to(request.header("idempotency-key", "k").body("1")).await
    };
    created(&bridge.http, "pump", "own").await;
    let first = keyed().await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_eq!(keyed().await.text(), first.text());
    assert_eq!(delete(&bridge.http, "pump", "").await.status, 204);
    created(&bridge.http, "pump", "own").await;
    let anew = keyed().await;
    assert_eq!(anew.status, 200, "{}", anew.text());
    assert_ne!(anew.json()["id"], first.json()["id"]);
}
