//! Posting uplinks: every answer there is.

use std::time::Duration;
use std::time::Instant;

use super::bridge::{Bridge, MAX_BODY};
use super::client::{Answer, open, send};
use crate::message::Qos;
use crate::mqtt::reason::Reason;
use crate::session::{NotSent, Outcome, State};

const PLAIN: &str = "POST /v1/devices/plain/uplinks";
const AKENZA: &str = "POST /v1/devices/akenza/uplinks";

/// Posts while the session settles what it gets.
async fn settled(device: &str, headers: &str, outcome: Option<Outcome>) -> Answer {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session(device);
    let line = format!("POST /v1/devices/{device}/uplinks");
    let (answer, _) = tokio::join!(
        send(bridge.address, &line, headers, b"{}"),
        session.settle(outcome)
    );
    answer
}

#[tokio::test]
async fn a_confirmed_uplink_is_answered_with_its_receipt() {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session("akenza");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers =
        format!("Prefer: wait=20\r\nTraceparent: {trace}\r\nContent-Type: text/plain\r\n");
    let line = format!("{AKENZA}/alerts/high%20temperature?expiry=90&qos=1&retain=true");
    let delivered = Outcome::Delivered {
        reason: Reason::SUCCESS,
    };
    let (answer, publish) = tokio::join!(
        send(bridge.address, &line, &headers, b"hot\xff"),
        session.settle(Some(delivered))
    );
    assert_eq!(
        publish.topic.expose(),
        "/up/device/id/akenza/alerts/high temperature"
    );
    assert_eq!(&publish.payload[..], b"hot\xff");
    assert_eq!(publish.content_type.unwrap().as_str(), "text/plain");
    assert_eq!((publish.qos, publish.retain), (Qos::AtLeastOnce, true));
    let left = publish
        .expires_at
        .map(|at| at.saturating_duration_since(Instant::now()));
    assert!(left.is_some_and(|left| (80..=90).contains(&left.as_secs())));
    assert_eq!(publish.traceparent.as_deref(), Some(trace));

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("preference-applied"), Some("wait=20"));
    let receipt = answer.json();
    assert_eq!(receipt["device"], "akenza");
    assert_eq!(receipt["status"], "delivered");
    assert_eq!(
        (&receipt["reason"], &receipt["reason_code"]),
        (&"success".into(), &0.into())
    );
    for time in ["accepted_at", "completed_at"] {
        humantime::parse_rfc3339(receipt[time].as_str().unwrap()).unwrap();
    }
    assert_eq!(receipt["attempts"], 1);
    assert_eq!(receipt.as_object().unwrap().len(), 9);
}

#[tokio::test]
async fn a_qos_0_uplink_is_sent_and_has_no_reason() {
    let answer = settled("plain", "", Some(Outcome::Sent)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["status"], "sent");
    assert_eq!(answer.json().get("reason"), None);
    assert_eq!(answer.header("preference-applied"), None);
}

#[tokio::test]
async fn a_refusal_names_the_reason() {
    let refused = |reason| {
        Some(Outcome::Refused {
            reason,
            text: Some("no".into()),
        })
    };
    let answer = settled("plain", "", refused(Reason::NOT_AUTHORIZED)).await;
    let problem = answer.problem(502, "refused");
    assert_eq!(
        (&problem["reason_code"], &problem["retryable"]),
        (&135.into(), &false.into())
    );
    assert_eq!(problem["reason"], "not authorized");
    let answer = settled("plain", "", refused(Reason(0x97))).await;
    assert_eq!(answer.problem(502, "refused")["retryable"], true);
    let not_sent = NotSent::ConnectionRefused {
        reason: Reason::BAD_USER_NAME_OR_PASSWORD,
        text: None,
    };
    let answer = settled("plain", "", Some(Outcome::NotSent(not_sent))).await;
    assert_eq!(
        answer.problem(502, "connection-refused")["reason_code"],
        134
    );
}

#[tokio::test]
async fn what_the_session_does_not_send() {
    let cases = [
        (
            NotSent::Unusable("its key cannot sign".into()),
            503,
            "unusable",
        ),
        (NotSent::ContentType, 415, "content-type"),
        (NotSent::TooLarge { limit: 5 }, 413, "too-large"),
        (NotSent::Qos { highest: 0 }, 400, "not-carried"),
        (NotSent::Retain, 400, "not-carried"),
        (NotSent::Closing, 503, "closing"),
    ];
    for (why, status, slug) in cases {
        let answer = settled("plain", "", Some(Outcome::NotSent(why))).await;
        answer.problem(status, slug);
        assert_eq!(answer.header("retry-after").is_some(), slug == "closing");
    }
}

#[tokio::test]
async fn what_is_not_confirmed_in_time_is_unconfirmed_or_not_sent() {
    let answer = settled("plain", "", None).await;
    assert_eq!(answer.problem(504, "unconfirmed")["retryable"], true);

    let mut bridge = Bridge::start().await;
    let session = bridge.session("plain");
    send(bridge.address, PLAIN, "", b"1")
        .await
        .problem(503, "not-sent");
    session.trouble(
        State::BackingOff,
        "nobody listens there",
        "start the broker",
    );
    let answer = send(bridge.address, PLAIN, "Prefer: wait=1\r\n", b"1").await;
    let problem = answer.problem(503, "not-sent");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("nobody listens there")
    );
    assert_eq!(problem["hint"], "start the broker");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    // Two commands, both withdrawn, but nobody has taken them out of the queue.
    let answer = send(bridge.address, PLAIN, "", b"1").await;
    answer.problem(503, "full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(session);
    send(bridge.address, PLAIN, "", b"1")
        .await
        .problem(503, "closing");
}

#[tokio::test]
async fn hostile_names_are_malformed() {
    let bridge = Bridge::start().await;
    let long = "x".repeat(300);
    for level in [
        "+", "a%2Bb", "%23", "%2F", "..", ".", "%2e%2e", "%00", "%0D", "%FF", "%2", "$SYS", &long,
    ] {
        for path in [
            format!("/v1/devices/{level}/uplinks"),
            format!("/v1/devices/plain/uplinks/{level}"),
            format!("/v1/devices/plain/uplinks/a/{level}/b"),
        ] {
            let answer = send(bridge.address, &format!("POST {path}"), "", b"{}").await;
            if level == "$SYS" && path.contains("/a/") {
                answer.problem(503, "not-sent");
            } else {
                answer.problem(400, "malformed");
            }
        }
    }
    for path in [
        "/v1/devices//uplinks",
        "/v1/devices/plain/uplinks/",
        "/v1/devices/plain/uplinks/a//b",
    ] {
        let answer = send(bridge.address, &format!("POST {path}"), "", b"{}").await;
        answer.problem(400, "malformed");
    }
}

#[tokio::test]
async fn an_unknown_device_is_not_found() {
    let bridge = Bridge::start().await;
    let answer = send(bridge.address, "POST /v1/devices/nobody/uplinks", "", b"{}").await;
    let problem = answer.problem(404, "unknown-device");
    assert!(problem["detail"].as_str().unwrap().contains("nobody"));
}

#[tokio::test]
async fn query_parameters_are_read_strictly() {
    let bridge = Bridge::start().await;
    for query in [
        "qos=3",
        "qos=",
        "qos=-1",
        "qos=+1",
        "qos=1&qos=1",
        "retain=yes",
        "retain=",
        "expiry=0",
        "expiry=4294967296",
        "expiry=1.5",
        "Qos=1",
        "wait=3",
    ] {
        let answer = send(bridge.address, &format!("{PLAIN}?{query}"), "", b"{}").await;
        let problem = answer.problem(400, "malformed");
        let name = query.split('=').next().unwrap();
        assert!(
            problem["detail"].as_str().unwrap().contains(name),
            "{problem}"
        );
    }
    let answer = send(bridge.address, &format!("{PLAIN}?qso=1"), "", b"{}").await;
    assert_eq!(
        answer.problem(400, "malformed")["hint"],
        "there are: qos, retain, expiry, confirm"
    );
    send(bridge.address, &format!("{PLAIN}?qos=2"), "", b"{}")
        .await
        .problem(400, "not-carried");
}

#[tokio::test]
async fn content_types_and_json_are_checked() {
    let bridge = Bridge::start().await;
    let answer = send(bridge.address, AKENZA, "Content-Type: image/png\r\n", b"{}").await;
    answer.problem(415, "content-type");
    assert!(
        answer
            .header("accept-post")
            .unwrap()
            .starts_with("application/json, text/plain")
    );
    for headers in [
        "Content-Type: json\r\n",
        "Content-Type: a/b\r\nContent-Type: a/b\r\n",
    ] {
        send(bridge.address, AKENZA, headers, b"{}")
            .await
            .problem(400, "malformed");
    }
    for body in [&b"{"[..], b"", b"{} {}", b"\xff"] {
        send(bridge.address, AKENZA, "", body)
            .await
            .problem(400, "malformed");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whole() {
    let mut bridge = Bridge::start().await;
    for size in [MAX_BODY + 1, 10 * 1024 * 1024] {
        let answer = send(bridge.address, PLAIN, "", &vec![b'x'; size]).await;
        answer.problem(413, "too-large");
        let chunked = format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
        let headers = "Connection: close\r\nTransfer-Encoding: chunked\r\n";
        let exchange = open(bridge.address, PLAIN, headers, chunked.as_bytes()).await;
        exchange.finish().await.problem(413, "too-large");
    }
    let mut session = bridge.session("plain");
    let largest = vec![b'x'; MAX_BODY];
    let (answer, publish) = tokio::join!(
        send(bridge.address, PLAIN, "", &largest),
        session.settle(Some(Outcome::Sent))
    );
    assert_eq!((answer.status, publish.payload.len()), (200, MAX_BODY));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_answered_at_once() {
    let bridge = Bridge::start().await;
    let headers = "Expect: 100-continue\r\nContent-Length: 10000000\r\n";
    let exchange = open(bridge.address, PLAIN, headers, b"").await;
    exchange.finish().await.problem(413, "too-large");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_uplink() {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session("plain");
    let stream = tokio::net::TcpStream::connect(bridge.address)
        .await
        .unwrap();
    let request = format!("{PLAIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345");
    stream.writable().await.unwrap();
    assert_eq!(stream.try_write(request.as_bytes()).unwrap(), request.len());
    drop(stream);
    // What comes next is the next request's uplink.
    let (answer, publish) = tokio::join!(
        send(bridge.address, PLAIN, "", b"whole"),
        session.settle(Some(Outcome::Sent))
    );
    assert_eq!((answer.status, &publish.payload[..]), (200, &b"whole"[..]));
}

#[tokio::test]
async fn a_connection_serves_many_uplinks() {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session("plain");
    let settling = tokio::spawn(async move {
        for _ in 0..50 {
            session.settle(Some(Outcome::Sent)).await;
        }
    });
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/devices/plain/uplinks", bridge.address);
    for n in 0..50 {
        let answer = client.post(&url).body(n.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.unwrap().ends_with("}\n"));
    }
    tokio::time::timeout(Duration::from_secs(10), settling)
        .await
        .unwrap()
        .unwrap();
}
