//! What becomes of an uplink whose device another member has, may have, or nobody has.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{PATIENT, PUMP, SHORT, delivered, settled};
use crate::device::DeviceId;
use crate::http::tests::bridge::MAX_BODY;
use crate::http::tests::client::{get, send};
use crate::http::tests::cluster::{Cluster, Fault, lock};
use crate::message::Qos;
use crate::mqtt::reason::Reason;
use crate::session::Outcome;

#[tokio::test]
async fn an_uplink_is_published_by_the_member_that_has_the_device() {
    let cluster = Cluster::start(3).await;
    let mut session = cluster.device("pump", 1);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers =
        format!("Prefer: wait=20\r\nTraceparent: {trace}\r\nContent-Type: text/plain\r\n");
    let line = format!("{PUMP}/alerts/high%20temperature?expiry=90&qos=1&retain=true");
    let (answer, publish) = tokio::join!(
        send(cluster.bridges[0].address, &line, &headers, b"hot\xff"),
        session.settle(delivered())
    );
    assert_eq!(
        publish.topic.expose(),
        "devices/pump/up/alerts/high temperature"
    );
    assert_eq!(&publish.payload[..], b"hot\xff");
    assert_eq!(publish.content_type.unwrap().as_str(), "text/plain");
    assert_eq!((publish.qos, publish.retain), (Qos::AtLeastOnce, true));
    assert!(publish.expires_at.is_some());
    assert_eq!(publish.traceparent.as_deref(), Some(trace));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("preference-applied"), Some("wait=20"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let receipt = answer.json();
    assert_eq!(
        (&receipt["device"], &receipt["status"]),
        (&json!("pump"), &json!("delivered"))
    );
    assert_eq!(cluster.asked(), ["b"]);
    // At its own member, nobody is asked.
    let (answer, _) = settled(&cluster, 1, &mut session, "1", delivered()).await;
    assert_eq!((answer.status, cluster.asked().len()), (200, 0));
}

#[tokio::test]
async fn what_the_owner_says_is_what_the_client_is_told() {
    let cluster = Cluster::start(2).await;
    let mut session = cluster.device("pump", 1);
    let refused = Some(Outcome::Refused {
        reason: Reason::NOT_AUTHORIZED,
        text: None,
    });
    let (answer, _) = settled(&cluster, 0, &mut session, "1", refused).await;
    assert_eq!(answer.problem(502, "refused")["reason_code"], 0x87);
    let (answer, _) = settled(&cluster, 0, &mut session, "1", Some(Outcome::Expired)).await;
    answer.problem(503, "expired");
    let at = cluster.bridges[0].address;
    let key = "Idempotency-Key: k\r\n";
    send(at, PUMP, key, b"1").await.problem(400, "not-carried");
    send(at, &format!("{PUMP}?speed=1"), "", b"1")
        .await
        .problem(400, "malformed");
    let nobody = send(at, "POST /v1/devices/nobody/uplinks", "", b"1").await;
    nobody.problem(404, "unknown-device");
    let large = vec![b'x'; MAX_BODY + 1];
    send(at, PUMP, "", &large).await.problem(413, "too-large");
    assert!(cluster.shelf().is_empty());
}

#[tokio::test]
async fn an_uplink_that_nobody_takes_is_stored() {
    let cluster = Cluster::start(3).await;
    let _session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    cluster.place("pump", None);
    let answer = send(at, PUMP, SHORT, b"vacant").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let receipt = answer.json();
    let location = format!("/v1/uplinks/{}", receipt["id"].as_str().unwrap());
    assert_eq!(answer.header("location"), Some(&*location));
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    assert_eq!(receipt["status"], "queued");
    assert!(cluster.asked().is_empty());
    for fault in [Fault::Nobody, Fault::Deaf] {
        cluster.place("pump", Some(1));
        cluster.fault(1, Some(fault));
        cluster.asked();
        let body = format!("{fault:?}");
        let post = tokio::spawn(async move { send(at, PUMP, SHORT, body.as_bytes()).await });
        while lock(&cluster.net.asked).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cluster.place("pump", None);
        let answer = post.await.unwrap();
        assert_eq!(answer.status, 202, "{fault:?}: {answer:?}");
    }
    cluster.place("pump", Some(1));
    cluster.fault(1, Some(Fault::Foreign));
    let answer = send(at, PUMP, SHORT, b"Foreign").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(cluster.shelf(), ["vacant", "Nobody", "Deaf", "Foreign"]);
    // At once where that is what the client wants.
    let answer = send(at, PUMP, "Prefer: respond-async\r\n", b"1").await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    // A device that nobody knows is not stored for.
    cluster.place("nobody", None);
    let unknown = send(at, "POST /v1/devices/nobody/uplinks", SHORT, b"1").await;
    unknown.problem(404, "unknown-device");
}

#[tokio::test]
async fn an_uplink_waits_for_an_owner_that_does_not_know_its_device_yet() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    cluster.bridges[1].loses("pump");
    let at = cluster.bridges[0].address;
    let answer = get(at, "/v1/devices/pump/session").await;
    let problem = answer.problem(503, "no-owner");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("does not know the device"), "{detail}");
    let answer = send(at, PUMP, SHORT, b"1").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(cluster.shelf(), ["1"]);
    let before = cluster.asked().len();
    let post = tokio::spawn(async move { send(at, PUMP, PATIENT, b"2").await });
    while cluster.asked().len() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut session = cluster.bridges[1].gets("pump");
    session.settle(delivered()).await;
    assert_eq!(post.await.unwrap().status, 200);
}

#[tokio::test]
async fn who_has_got_a_device_meanwhile_hears_of_what_was_stored_before_that_is_answered() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    cluster.believes(0, "pump", None);
    let answer = send(at, PUMP, "Prefer: respond-async\r\n", b"1").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(cluster.asked(), ["b"]);
    // One that does not say that it has heard is told again, until it has lost the device.
    cluster.fault(1, Some(Fault::Deaf));
    let post = tokio::spawn(async move { send(at, PUMP, "Prefer: respond-async\r\n", b"2").await });
    while cluster.shelf().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!post.is_finished());
    cluster.place("pump", None);
    assert_eq!(post.await.unwrap().status, 202);
    // Whoever gets it later finds it.
    cluster.asked();
    let answer = send(at, PUMP, "Prefer: respond-async\r\n", b"3").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(cluster.asked().is_empty());
}

#[tokio::test]
async fn nothing_is_stored_while_an_owner_that_cannot_be_reached_may_be_at_work() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    cluster.fault(1, Some(Fault::Nobody));
    for prefer in [SHORT, "Prefer: respond-async\r\n"] {
        let answer = send(at, PUMP, prefer, b"1").await;
        answer.problem(503, "no-owner");
    }
    cluster.fault(1, Some(Fault::Deaf));
    let answer = send(at, PUMP, SHORT, b"1").await;
    answer.problem(504, "unconfirmed");
    assert!(cluster.shelf().is_empty());
}

#[tokio::test]
async fn what_is_neither_answered_nor_stored_is_said_to_be_so() {
    let cluster = Cluster::start(2).await;
    let mut session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    *lock(&cluster.net.no_store) = true;
    cluster.place("pump", None);
    let answer = send(at, PUMP, SHORT, b"1").await;
    answer.problem(503, "store-unavailable");
    cluster.place("pump", Some(1));
    cluster.fault(1, Some(Fault::Mute));
    let (answer, _) = settled(&cluster, 0, &mut session, "1", delivered()).await;
    let problem = answer.problem(504, "unconfirmed");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("may have arrived")
    );
    // With the store it is sent again: at least once.
    *lock(&cluster.net.no_store) = false;
    let (answer, ()) = tokio::join!(send(at, PUMP, SHORT, b"2"), async {
        session.settle(delivered()).await;
        cluster.place("pump", None);
    });
    assert_eq!(
        (answer.status, cluster.shelf()),
        (202, vec!["2".to_owned()])
    );
}

#[tokio::test]
async fn an_uplink_follows_its_device() {
    let cluster = Cluster::start(3).await;
    let session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    // It goes while it is waited for.
    cluster.place("pump", None);
    let post = tokio::spawn(async move { send(at, PUMP, PATIENT, b"1").await });
    tokio::task::yield_now().await;
    drop(session);
    let mut session = cluster.moves("pump", 1, 2);
    assert_eq!(&session.settle(delivered()).await.payload[..], b"1");
    assert_eq!(post.await.unwrap().status, 200);
    // Whoever had it says that it is not there, and the one that has it is found as soon as the news come.
    cluster.believes(0, "pump", Some(1));
    cluster.asked();
    let post = tokio::spawn(async move { send(at, PUMP, PATIENT, b"2").await });
    while lock(&cluster.net.asked).len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.believes(0, "pump", Some(2));
    assert_eq!(&session.settle(delivered()).await.payload[..], b"2");
    assert_eq!(post.await.unwrap().status, 200);
    assert!(cluster.shelf().is_empty());
}

#[tokio::test]
async fn an_uplink_that_waits_for_a_device_here_follows_it_elsewhere() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 0);
    let id = DeviceId::parse("pump").unwrap();
    let lane = Arc::clone(&cluster.bridges[0].registry.get(&id).unwrap().lane);
    lane.hold();
    let at = cluster.bridges[0].address;
    let post = tokio::spawn(async move { send(at, PUMP, PATIENT, b"1").await });
    let line = r#"{"device":"pump","payload":2}"#;
    let lines = "Content-Type: application/x-ndjson\r\nPrefer: wait=30\r\n";
    let batch =
        tokio::spawn(async move { send(at, "POST /v1/uplinks", lines, line.as_bytes()).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut session = cluster.moves("pump", 0, 1);
    lane.open();
    session.settle(delivered()).await;
    session.settle(delivered()).await;
    assert_eq!(post.await.unwrap().status, 200);
    assert_eq!(batch.await.unwrap().json()["status"], 200);
    assert!(cluster.shelf().is_empty());
}

#[tokio::test]
async fn a_member_that_is_gone_is_not_waited_for() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    cluster.fault(1, Some(Fault::Deaf));
    cluster.goes(1);
    let answer = send(at, PUMP, SHORT, b"1").await;
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn a_member_that_ends_waits_for_nobody() {
    let cluster = Cluster::start(2).await;
    let mut session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    // One request waits for an owner, and another one for the owner's answer.
    let taken = tokio::spawn(async move { send(at, PUMP, PATIENT, b"taken").await });
    session.settle(None).await;
    cluster.place("valve", None);
    lock(&cluster.net.devices).insert(DeviceId::parse("valve").unwrap());
    let valve = "POST /v1/devices/valve/uplinks";
    let waiting = tokio::spawn(async move { send(at, valve, PATIENT, b"waiting").await });
    // The first one watches the table twice: for the device, and for the member that it has asked.
    while cluster.watchers(0) < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.bridges[0].shutdown.cancel();
    let both = async { (taken.await.unwrap().status, waiting.await.unwrap().status) };
    let both = tokio::time::timeout(Duration::from_secs(20), both).await;
    // What somebody may have taken who is still at work is not stored beside it.
    assert_eq!(both.unwrap(), (504, 202));
}

#[tokio::test]
async fn what_is_too_large_for_a_message_is_refused() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    cluster.fault(1, Some(Fault::Narrow(1000)));
    let large = vec![b'x'; 2000];
    let answer = send(at, PUMP, SHORT, &large).await;
    let problem = answer.problem(413, "too-large");
    assert!(problem["detail"].as_str().unwrap().contains("1000 bytes"));
    cluster.fault(1, Some(Fault::Narrow(100)));
    let answer = get(at, "/v1/devices/pump/session").await;
    answer.problem(503, "no-owner");
}
