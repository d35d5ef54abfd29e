//! Any member answers for any device: what goes to the one that has it, and what is answered when that one does not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::bridge::MAX_BODY;
use super::client::{Answer, get, open, poll, send};
use super::cluster::{Cluster, Fault, lock};
use crate::access::{Access, Credential, DevicePattern, Devices, Rule, RuleName, Scope, TokenHash};
use crate::device::DeviceId;
use crate::http::HttpLimits;
use crate::http::forward::Forward;
use crate::message::Qos;
use crate::mqtt::reason::Reason;
use crate::session::{Detached, Outcome};

const PUMP: &str = "POST /v1/devices/pump/uplinks";
/// Long enough for a machine that does much else.
const PATIENT: &str = "Prefer: wait=30\r\n";
const SHORT: &str = "Prefer: wait=1\r\n";

fn delivered() -> Option<Outcome> {
    Some(Outcome::Delivered {
        reason: Reason::SUCCESS,
    })
}

/// Posts to a member while a session settles what it gets.
async fn settled(
    cluster: &Cluster,
    at: usize,
    session: &mut Detached,
    body: &str,
    outcome: Option<Outcome>,
) -> (Answer, crate::session::Publish) {
    let address = cluster.bridges[at].address;
    tokio::join!(
        send(address, PUMP, PATIENT, body.as_bytes()),
        session.settle(outcome)
    )
}

/// What comes about in time, or never.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, what)
        .await
        .expect("nothing came")
}

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
    cluster.believes(0, "pump", 1);
    cluster.asked();
    let post = tokio::spawn(async move { send(at, PUMP, PATIENT, b"2").await });
    while lock(&cluster.net.asked).len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.believes(0, "pump", 2);
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

#[tokio::test]
async fn any_member_answers_all_requests_about_a_device() {
    let cluster = Cluster::start(2).await;
    let session = cluster.device("pump", 1);
    session.connected();
    let (here, there) = (cluster.bridges[0].address, cluster.bridges[1].address);
    for path in [
        "",
        "/session",
        "/keys",
        "/keys/x",
        "?x=1",
        "/session?x=1",
        &format!("/keys/{}", "0".repeat(64)),
    ] {
        let path = format!("/v1/devices/pump{path}");
        let (one, other) = (get(here, &path).await, get(there, &path).await);
        assert_eq!((one.status, one.json()), (other.status, other.json()));
        assert_eq!(
            one.headers.keys().collect::<Vec<_>>(),
            other.headers.keys().collect::<Vec<_>>(),
            "{path}"
        );
    }
    assert_eq!(
        get(here, "/v1/devices/pump").await.json()["state"],
        "connected"
    );
    let head = send(here, "HEAD /v1/devices/pump", "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(
        head.header("content-length")
            .is_some_and(|length| length != "0")
    );
    let configured = send(here, "DELETE /v1/devices/pump", "", b"").await;
    let same = send(there, "DELETE /v1/devices/pump", "", b"").await;
    assert_eq!(
        (configured.status, configured.json()),
        (same.status, same.json())
    );
    assert_ne!(configured.status, 204);
    let json = "Content-Type: application/json\r\n";
    let put = send(here, "PUT /v1/devices/pump", json, b"{\"x\":1}").await;
    let same = send(there, "PUT /v1/devices/pump", json, b"{\"x\":1}").await;
    assert_eq!((put.status, put.json()), (same.status, same.json()));
    assert!(put.status >= 400);
    let made = send(here, "POST /v1/devices/pump/keys", "", b"").await;
    made.problem(409, "keys-not-kept");
    let examined = send(here, "POST /v1/devices/pump/diagnosis", json, b"[]").await;
    examined.problem(400, "malformed");
    let large = vec![b' '; MAX_BODY + 1];
    let large = send(here, "PUT /v1/devices/pump", json, &large).await;
    large.problem(413, "too-large");
    get(here, "/v1/devices/nobody/session")
        .await
        .problem(404, "unknown-device");
    let method = send(here, "PATCH /v1/devices/pump", "", b"").await;
    method.problem(405, "method");
}

#[tokio::test]
async fn what_was_registered_is_told_when_its_owner_has_heard_of_it() {
    let cluster = Cluster::start(2).await;
    let limits = HttpLimits {
        wait: Duration::from_secs(30),
        ..HttpLimits::default()
    };
    let members = cluster.net.members_of(0);
    let forward = Forward::new(members.clone(), limits, CancellationToken::new());
    let pump = DeviceId::parse("pump").unwrap();
    assert_eq!(forward.registered(&pump).await, Ok(None), "it is here");
    cluster.place("pump", Some(1));
    let hears = async {
        while lock(&cluster.net.asked).len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cluster.bridges[1].gets("pump")
    };
    let (told, _session) = tokio::join!(forward.registered(&pump), hears);
    let told: Value = serde_json::from_slice(&told.unwrap().unwrap()).unwrap();
    assert_eq!(told["id"], "pump");
    let limits = HttpLimits {
        wait: Duration::from_millis(200),
        ..limits
    };
    let hasty = Forward::new(members, limits, CancellationToken::new());
    cluster.place("valve", Some(1));
    let valve = DeviceId::parse("valve").unwrap();
    let unheard = hasty.registered(&valve).await.unwrap_err();
    assert!(!unheard.is_certain());
    assert!(unheard.to_string().starts_with("it is stored"));
}

#[tokio::test]
async fn a_question_is_asked_again_and_an_order_is_not() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    cluster.fault(1, Some(Fault::Deaf));
    let answer = get(at, "/v1/devices/pump").await;
    let problem = answer.problem(503, "no-owner");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("did not answer")
    );
    assert!(answer.header("retry-after").is_some());
    assert!(cluster.asked().len() > 1);
    let answer = send(at, "POST /v1/devices/pump/keys", "", b"").await;
    let problem = answer.problem(503, "no-owner");
    assert!(problem["detail"].as_str().unwrap().contains("is not known"));
    assert_eq!(cluster.asked(), ["b"]);
    // What was certainly not done is tried again.
    cluster.fault(1, Some(Fault::Nobody));
    let order = tokio::spawn(async move { send(at, "POST /v1/devices/pump/keys", "", b"").await });
    while lock(&cluster.net.asked).len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.fault(1, None);
    order.await.unwrap().problem(409, "keys-not-kept");
    cluster.place("pump", None);
    let answer = send(at, "DELETE /v1/devices/pump", "", b"").await;
    let problem = answer.problem(503, "no-owner");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("nothing was done")
    );
    cluster.place("pump", Some(1));
    cluster.fault(1, Some(Fault::Foreign));
    let answer = get(at, "/v1/devices/pump").await;
    let problem = answer.problem(503, "no-owner");
    assert!(problem["detail"].as_str().unwrap().contains("version"));
}

const TOKEN: &str = "a-token-that-is-long-enough-to-be-one";
const BEARER: &str = "Authorization: Bearer a-token-that-is-long-enough-to-be-one\r\n";

fn pumps_only() -> Access {
    Access::new([Rule {
        name: RuleName::parse("pumps").unwrap(),
        credential: Credential::Token(TokenHash::of(TOKEN)),
        scopes: [Scope::Uplink, Scope::DevicesRead].into_iter().collect(),
        devices: Devices::of([DevicePattern::parse("pump*").unwrap()]),
        expires: None,
        rate: None,
        max_requests: None,
        max_streams: None,
    }])
}

#[tokio::test]
async fn the_member_that_is_talked_to_decides_what_a_token_is_for() {
    let cluster = Cluster::start_for(2, pumps_only).await;
    let mut session = cluster.device("pump", 1);
    let mut valve = cluster.device("valve", 1);
    let at = cluster.bridges[0].address;
    let path = "/v1/devices/pump";
    get(at, path).await.problem(401, "unauthenticated");
    let get_with = async |path: &str| send(at, &format!("GET {path}"), BEARER, b"").await;
    for path in [
        "/v1/devices/valve",
        "/v1/devices/nobody",
        "/v1/devices/valve/session",
    ] {
        get_with(path).await.problem(403, "other-device");
    }
    get_with("/v1/devices/pump/keys")
        .await
        .problem(403, "insufficient-scope");
    let delete = send(at, "DELETE /v1/devices/pump", BEARER, b"").await;
    delete.problem(403, "insufficient-scope");
    let post = send(at, "POST /v1/devices/valve/uplinks", BEARER, b"1").await;
    post.problem(403, "other-device");
    assert!(cluster.asked().is_empty());
    assert_eq!(get_with(path).await.status, 200);
    let list = get_with("/v1/devices").await.json();
    assert_eq!(list["devices"].as_array().unwrap().len(), 1);
    assert_eq!(list["devices"][0]["id"], "pump");

    // Receipts of other devices are none, as they are at their own member.
    let headers = format!("{BEARER}{PATIENT}");
    let (answer, _) = tokio::join!(send(at, PUMP, &headers, b"1"), session.settle(delivered()));
    let own = format!("/v1/uplinks/{}", answer.json()["id"].as_str().unwrap());
    assert_eq!(get_with(&own).await.json()["device"], "pump");
    let line = Bytes::from(crate::http::forward::ask_for_tests("valve", "1"));
    let (answer, _) = tokio::join!(cluster.ask(1, line), valve.settle(delivered()));
    let text = String::from_utf8_lossy(&answer).into_owned();
    let start = text.find("\"id\":\"").unwrap() + 6;
    let other = format!("/v1/uplinks/{}", &text[start..start + 36]);
    get_with(&other).await.problem(404, "unknown-uplink");
}

#[tokio::test]
async fn the_answering_side_asks_nobody_and_takes_no_nonsense() {
    let cluster = Cluster::start(3).await;
    let _session = cluster.device("pump", 2);
    // One that it is about to leave is not here any more, although it still knows it.
    let _left = cluster.bridges[1].gets("pump");
    let not_here = [1, 1];
    let not_understood = [1, 2];
    let uplink = Bytes::from(crate::http::forward::ask_for_tests("pump", "1"));
    assert_eq!(cluster.ask(1, uplink).await[..], not_here);
    let target = |target: &str| Bytes::from(crate::http::forward::request_for_tests(target));
    let device = target("/v1/devices/pump");
    assert_eq!(cluster.ask(1, device.clone()).await[..], not_here);
    assert_eq!(cluster.ask(2, device).await[1], 3);
    for nonsense in [
        &b""[..],
        b"\x01",
        b"\x02\x01",
        b"\x01\x63",
        b"GET /v1/devices/pump HTTP/1.1\r\n\r\n",
        &[1, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        &[0xff; 4096],
    ] {
        assert_eq!(
            cluster.ask(2, Bytes::copy_from_slice(nonsense)).await[..],
            not_understood
        );
    }
    // Routes that are not about the owner's session are not for members.
    for path in [
        "/v1/devices/pump/downlinks",
        "/v1/devices/pump/uplinks",
        "/v1/devices/pump/nothing",
        "/v1/devices/",
        "/v1/devices/%2B",
    ] {
        assert_eq!(
            cluster.ask(2, target(path)).await[..],
            not_understood,
            "{path}"
        );
    }
    assert!(cluster.asked().is_empty());
}

fn lines(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_batch_reaches_every_member_and_keeps_each_devices_order() {
    let cluster = Cluster::start(3).await;
    let devices = ["pump", "valve", "tank"];
    let mut sessions: Vec<_> = (0..3).map(|at| cluster.device(devices[at], at)).collect();
    let mut body = String::new();
    for number in 0..60 {
        let device = devices[number % 3];
        body += &format!("{{\"device\":\"{device}\",\"payload\":{number},\"id\":{number}}}\n");
    }
    body += "{\"device\":\"nobody\",\"payload\":1,\"id\":\"x\"}\n";
    let headers = format!("Content-Type: application/x-ndjson\r\n{PATIENT}");
    let at = cluster.bridges[0].address;
    let post = send(at, "POST /v1/uplinks", &headers, body.as_bytes());
    let settle = async |session: &mut Detached| {
        let mut payloads = Vec::new();
        for _ in 0..20 {
            let publish = soon(session.settle(delivered())).await;
            payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap());
        }
        payloads
    };
    let [one, two, three] = &mut sessions[..] else {
        panic!("there are three");
    };
    let (answer, one, two, three) = tokio::join!(post, settle(one), settle(two), settle(three));
    for (first, payloads) in [one, two, three].iter().enumerate() {
        let expected: Vec<_> = (0..20).map(|n| (first + 3 * n).to_string()).collect();
        assert_eq!(*payloads, expected);
    }
    let results = lines(&answer.body);
    assert_eq!(results.len(), 61);
    for (number, result) in results[..60].iter().enumerate() {
        assert_eq!(result["status"], 200, "{result}");
        assert_eq!(
            (&result["line"], &result["ref"]),
            (&json!(number + 1), &json!(number))
        );
        assert_eq!(result["receipt"]["device"], devices[number % 3]);
        assert_eq!(result["receipt"]["status"], "delivered");
    }
    let unknown = &results[60];
    assert_eq!(
        (&unknown["status"], &unknown["ref"]),
        (&json!(404), &json!("x"))
    );
    assert_eq!(unknown["problem"]["type"], "/docs#problem-unknown-device");
    // The results have the same form, wherever they come from.
    let form = |result: &Value| {
        let all = result.as_object().unwrap().keys().cloned();
        let receipt = result["receipt"].as_object().unwrap().keys().cloned();
        all.chain(receipt).collect::<Vec<_>>()
    };
    assert_eq!(form(&results[0]), form(&results[1]));
}

#[tokio::test]
async fn a_batch_keeps_a_devices_order_while_it_moves() {
    let cluster = Cluster::start(3).await;
    let mut first = cluster.device("pump", 1);
    let body: String = (0..20)
        .map(|number| format!("{{\"device\":\"pump\",\"payload\":{number},\"key\":null}}\n"))
        .collect();
    let headers = format!("Content-Type: application/x-ndjson\r\n{PATIENT}");
    let at = cluster.bridges[0].address;
    let post =
        tokio::spawn(async move { send(at, "POST /v1/uplinks", &headers, body.as_bytes()).await });
    let mut payloads = Vec::new();
    let mut note = |publish: crate::session::Publish| {
        payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap());
    };
    for _ in 0..7 {
        note(soon(first.settle(delivered())).await);
    }
    // It comes here, where several go side by side, and goes on.
    let mut second = cluster.moves("pump", 1, 0);
    // One was on its way there already, and is answered there.
    drop(first);
    for _ in 0..6 {
        note(soon(second.settle(delivered())).await);
    }
    let mut third = cluster.moves("pump", 0, 2);
    drop(second);
    let results = async {
        while !post.is_finished() {
            let settled =
                tokio::time::timeout(Duration::from_millis(50), third.settle(delivered()));
            if let Ok(publish) = settled.await {
                note(publish);
            }
        }
        post.await.unwrap()
    };
    let answer = results.await;
    let results = lines(&answer.body);
    assert_eq!(results.len(), 20);
    // Whatever was confirmed was published in the order of the lines.
    let numbers: Vec<u32> = payloads.iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    for (number, result) in results.iter().enumerate() {
        let taken = numbers.contains(&(number as u32));
        assert_eq!(result["status"] == 200, taken, "{result} {numbers:?}");
    }
}

#[tokio::test]
async fn a_batch_does_not_wait_for_each_line_of_a_device_that_nobody_has() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    cluster.place("pump", None);
    let body = "{\"device\":\"pump\",\"payload\":1}\n".repeat(200);
    let headers = format!("Content-Type: application/x-ndjson\r\n{SHORT}");
    let at = cluster.bridges[0].address;
    let answer = send(at, "POST /v1/uplinks", &headers, body.as_bytes());
    // Not 200 waits of a second.
    let answer = tokio::time::timeout(Duration::from_secs(60), answer)
        .await
        .unwrap();
    let results = lines(&answer.body);
    assert_eq!(results.len(), 200);
    assert!(results.iter().all(|result| result["status"] == 202));
    let receipt = results[0]["receipt"]["id"].as_str().unwrap();
    assert_eq!(results[0]["location"], format!("/v1/uplinks/{receipt}"));
    // The first of them have waited in vain, and those that came later know.
    let shelf = lock(&cluster.net.shelf);
    assert_eq!(shelf.len(), 200);
    let known = shelf.iter().filter(|(_, wishes)| wishes.respond_async);
    assert!(known.count() >= 100);
}

#[tokio::test]
async fn the_list_has_the_devices_of_all_members_or_none() {
    let cluster = Cluster::start(3).await;
    let names: Vec<String> = (0..9).map(|number| format!("d{number}")).collect();
    let mut sessions = Vec::new();
    for (number, name) in names.iter().enumerate() {
        sessions.push(cluster.device(name, number % 3));
        // A partition of two devices goes where the last one is.
        cluster.place(name, Some(number % 3));
    }
    sessions[4].connected();
    let at = cluster.bridges[0].address;
    let ids = |page: &Value| {
        let devices = page["devices"].as_array().unwrap().iter();
        devices
            .map(|device| device["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = get(at, "/v1/devices").await;
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!(ids(&all.json()), names);
    assert_eq!(all.json().get("next"), None);
    let (mut listed, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(at, &format!("/v1/devices?limit=2{query}")).await.json();
        listed.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => query = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(listed, names);
    let connected = get(cluster.bridges[2].address, "/v1/devices?state=connected").await;
    assert_eq!(ids(&connected.json()), ["d4"]);
    let none = get(at, "/v1/devices?connector=other").await.json();
    assert_eq!(none, json!({"devices": []}));

    // Where one does not answer, or nobody has a partition, a part is not sold as the whole.
    for fault in [Fault::Deaf, Fault::Nobody, Fault::Foreign] {
        cluster.fault(1, Some(fault));
        let answer = get(at, "/v1/devices").await;
        answer.problem(503, "no-owner");
        assert!(answer.header("retry-after").is_some());
    }
    cluster.fault(1, None);
    cluster.place("elsewhere", None);
    get(at, "/v1/devices").await.problem(503, "no-owner");
    let list = tokio::spawn(async move { get(at, "/v1/devices").await });
    cluster.place("elsewhere", Some(2));
    assert_eq!(list.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_receipt_is_found_wherever_it_is() {
    let cluster = Cluster::start(3).await;
    let mut session = cluster.device("pump", 1);
    let (answer, _) = settled(&cluster, 0, &mut session, "1", delivered()).await;
    let receipt = answer.json();
    let path = format!("/v1/uplinks/{}", receipt["id"].as_str().unwrap());
    for bridge in &cluster.bridges {
        let found = get(bridge.address, &path).await;
        assert_eq!((found.status, found.json()), (200, receipt.clone()));
        assert_eq!(found.header("cache-control"), Some("no-store"));
        assert_eq!(found.header("content-type"), Some("application/json"));
    }
    let unknown = "/v1/uplinks/0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d";
    let at = cluster.bridges[0].address;
    get(at, unknown).await.problem(404, "unknown-uplink");
    // One that does not answer may have it; one that is gone has nothing.
    cluster.fault(2, Some(Fault::Deaf));
    assert_eq!(get(at, &path).await.status, 200);
    get(at, unknown).await.problem(503, "no-owner");
    cluster.goes(2);
    get(at, unknown).await.problem(404, "unknown-uplink");
}

#[tokio::test]
async fn nobody_is_told_when_nobody_listens_any_more() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let shutdown = CancellationToken::new();
    let limits = HttpLimits::default();
    let forward = Forward::new(cluster.net.members_of(0), limits, shutdown.clone());
    let pump = DeviceId::parse("pump").unwrap();
    let registry = &cluster.bridges[0].registry;
    let listen = async || {
        let devices = vec![pump.clone()];
        forward
            .listen(registry, devices, Duration::ZERO, &shutdown)
            .await
    };
    let (one, other) = (listen().await, listen().await);
    drop(one);
    assert_eq!(forward.listened_to(), 1);
    drop(other);
    assert_eq!(forward.listened_to(), 0);
}

#[tokio::test]
async fn whoever_has_a_device_is_told_that_somebody_listens() {
    let cluster = Cluster::start(3).await;
    let mut session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    let path = "/v1/devices/pump/downlinks";
    let line = format!("GET {path}");
    let (mut stream, ()) = tokio::join!(open(at, &line, "", b""), async {
        session.told_to_connect().await;
        session.connected();
    });
    assert_eq!(stream.status, 200);
    // What arrives is stored, and every member has it from there.
    cluster.bridges[0].arrives("pump", "t", "1");
    loop {
        let frame = stream.event().await.unwrap();
        if frame.event == "downlink" {
            assert_eq!(frame.data["payload"], 1);
            break;
        }
    }
    // It moves, and the next one is told, too; here as well as elsewhere.
    let mut moved = cluster.moves("pump", 1, 2);
    soon(moved.told_to_connect()).await;
    let mut here = cluster.moves("pump", 2, 0);
    soon(here.told_to_connect()).await;
    drop(stream);
    let polled = poll(at, &format!("{path}?wait=0")).await;
    assert_eq!(polled.status, 200);
    for path in [
        "/v1/devices/nobody/downlinks",
        "/v1/downlinks?device=pump&device=nobody",
        "/v1/events?device=nobody",
    ] {
        get(at, path).await.problem(404, "unknown-device");
    }
    let events = open(at, "GET /v1/events?device=pump", "", b"").await;
    assert_eq!(events.status, 200);
}
