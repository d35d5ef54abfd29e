//! What is answered with a store, and with one that does not work.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::bridge::Bridge;
use super::client::{get, send};
use crate::device::DeviceId;
use crate::message::Uplink;
use crate::mqtt::reason::Reason;
use crate::session::Outcome;
use crate::store::records::Begun;
use crate::store::{Embedded, Engine, Limits};
use crate::uplink::fingerprint;

const PLAIN: &str = "POST /v1/devices/plain/uplinks";
const ASYNC: &str = "Prefer: respond-async\r\n";

fn store() -> (TempDir, Arc<dyn Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(folder.path().join("store"), Limits::default()).unwrap();
    (folder, Arc::new(store))
}

#[tokio::test]
async fn a_key_in_flight_is_a_conflict() {
    let (_folder, store) = store();
    let bridge = Bridge::start_stored(Arc::clone(&store)).await;
    let uplink = Uplink {
        device: DeviceId::parse("plain").unwrap(),
        subtopic: None,
        payload: "1".into(),
        content_type: None,
        qos: None,
        retain: false,
        expiry: None,
        traceparent: None,
    };
    // Another request with the same uplink, which does not come to its end.
    let begun = store
        .begin(
            &uplink.device,
            "k",
            fingerprint(&uplink, &Default::default()),
        )
        .await;
    assert_eq!(begun, Ok(Begun::New));
    let headers = format!("Idempotency-Key: k\r\n{ASYNC}");
    let conflict = send(bridge.address, PLAIN, &headers, b"1").await;
    assert_eq!(
        conflict.problem(409, "key-in-flight")["retryable"],
        true,
        "{conflict:?}"
    );
    assert_eq!(conflict.header("retry-after"), Some("1"));
    let other = send(bridge.address, PLAIN, &headers, b"2").await;
    other.problem(422, "key-other-body");
    store.abandon(&uplink.device, "k");
    let free = send(bridge.address, PLAIN, &headers, b"1").await;
    assert_eq!(free.status, 202, "{free:?}");
    assert_eq!(free.header("preference-applied"), Some("respond-async"));
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_said_to_be_unavailable() {
    let (_folder, store) = store();
    let bridge = Bridge::start_stored(Arc::clone(&store)).await;
    let queued = send(bridge.address, PLAIN, ASYNC, b"1").await;
    assert_eq!(queued.status, 202, "{queued:?}");
    let location = queued.header("location").unwrap();
    assert_eq!(get(bridge.address, location).await.status, 200);
    store.close().await.unwrap();
    let receipt = get(bridge.address, location).await;
    let problem = receipt.problem(503, "store-unavailable");
    assert!(receipt.header("retry-after").is_some());
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .starts_with("the receipt cannot be read: the store is unavailable"),
        "{problem}"
    );
    let line = r#"{"device":"other","payload":1,"id":1}"#;
    let refused = send(bridge.address, PLAIN, ASYNC, b"1").await;
    refused.problem(503, "store-unavailable");
    assert!(refused.header("retry-after").is_some());
    let headers = format!("Content-Type: application/x-ndjson\r\n{ASYNC}");
    let batch = send(
        bridge.address,
        "POST /v1/uplinks",
        &headers,
        line.as_bytes(),
    )
    .await;
    assert_eq!(batch.status, 200);
    let result = batch.json();
    assert_eq!(
        (&result["status"], &result["ref"]),
        (&503.into(), &1.into())
    );
    assert_eq!(result["retry_after"], 5);
}

#[tokio::test]
async fn a_connected_session_has_an_uplink_at_once_and_once() {
    let (_folder, store) = store();
    let mut bridge = Bridge::start_stored(Arc::clone(&store)).await;
    let mut session = bridge.session("plain");
    session.connected();
    let queued = send(bridge.address, PLAIN, ASYNC, b"1").await;
    assert_eq!(queued.status, 202, "{queued:?}");
    let device = DeviceId::parse("plain").unwrap();
    assert_eq!(store.backlog(&device).unwrap().count, 1);
    let lane = Arc::clone(&bridge.registry.get(&device).unwrap().lane);
    assert!(
        !lane.is_stored(),
        "nothing is to be read back from the disk"
    );
    let confirmed = || {
        Some(Outcome::Delivered {
            reason: Reason::SUCCESS,
        })
    };
    assert_eq!(&session.settle(confirmed()).await.payload[..], b"1");
    let location = queued.header("location").unwrap();
    let delivered = async {
        while get(bridge.address, location).await.json()["status"] != "delivered" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), delivered)
        .await
        .expect("its receipt on the disk is settled");
    assert_eq!(store.backlog(&device), None);
    let next = send(bridge.address, PLAIN, ASYNC, b"2").await;
    assert_eq!(next.status, 202, "{next:?}");
    assert_eq!(&session.settle(confirmed()).await.payload[..], b"2");

    // What the disk does not take, and was not sent yet, is not sent any more.
    store.close().await.unwrap();
    let refused = send(bridge.address, PLAIN, ASYNC, b"3").await;
    refused.problem(503, "store-unavailable");
}

#[tokio::test]
async fn a_batch_is_asked_for_before_it_is_answered() {
    let bridge = Bridge::start().await;
    let headers =
        "Expect: 100-continue\r\nContent-Type: application/x-ndjson\r\nContent-Length: 3\r\n";
    let exchange = super::client::open(bridge.address, "POST /v1/uplinks", headers, b"{}\n").await;
    assert_eq!(exchange.status, 100);
}
