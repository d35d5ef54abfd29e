//! Requests about a device go to the member that has it, with what the caller may do.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{PATIENT, PUMP, delivered};
use crate::access::{Access, Credential, DevicePattern, Devices, Rule, RuleName, Scope, TokenHash};
use crate::device::DeviceId;
use crate::http::HttpLimits;
use crate::http::forward::Forward;
use crate::http::tests::bridge::MAX_BODY;
use crate::http::tests::client::{get, send};
use crate::http::tests::cluster::{Cluster, Fault, lock};

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
