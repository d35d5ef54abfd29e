//! What dashboards are told.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::bridge::Bridge;
use super::client::{Exchange, get, open, send};
use crate::mqtt::reason::Reason;
use crate::session::{Outcome, State};

async fn listen(bridge: &Bridge, query: &str) -> Exchange {
    let line = format!("GET /v1/events{query}");
    let stream = open(bridge.address, &line, "", b"").await;
    assert_eq!(stream.status, 200);
    stream
}

/// The data of the next event of this name; others are passed over.
async fn next(stream: &mut Exchange, name: &str) -> Value {
    loop {
        let frame = stream.event().await.expect("the stream ended");
        assert_eq!(frame.id, None);
        if frame.event == name {
            return frame.data;
        }
    }
}

/// The state of every device that is told, until figures are.
async fn snapshot(stream: &mut Exchange) -> BTreeSet<(String, String)> {
    let mut told = BTreeSet::new();
    loop {
        let frame = stream.event().await.expect("the stream ended");
        let text = |name: &str| frame.data[name].as_str().unwrap().to_owned();
        match frame.event.as_str() {
            "session" => assert!(told.insert((text("device"), text("state")))),
            "figures" => return told,
            _ => {}
        }
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    let owned = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
    pairs.iter().map(owned).collect()
}

#[tokio::test]
async fn a_dashboard_is_told_the_state_of_everything_and_then_what_changes() {
    let bridge = Bridge::start().await;
    bridge.detached("plain").connected();
    let mut stream = listen(&bridge, "?figures=1").await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.headers[name], value);
    }
    let opening = stream.event().await.unwrap();
    assert!((1000..=5000).contains(&opening.retry.unwrap()));
    let all = [
        ("akenza", "idle"),
        ("other", "idle"),
        ("plain", "connected"),
    ];
    assert_eq!(snapshot(&mut stream).await, pairs(&all));

    let session = bridge.detached("plain");
    session.trouble(State::BackingOff, "broken off", "wait");
    let told = next(&mut stream, "session").await;
    assert_eq!(told["device"], "plain");
    assert_eq!(told["connector"], "lan");
    assert_eq!(told["state"], "backing_off");
    assert_eq!(told["last_error"]["what"], "broken off");
    assert_eq!(told["last_error"]["hint"], "wait");
    assert_eq!(
        (&told["backlog"], &told["last_uplink_at"]),
        (&json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn receipts_are_told_with_what_became_of_them() {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session("plain");
    let mut all = listen(&bridge, "").await;
    let mut failed = listen(&bridge, "?receipts=failed&device=plain").await;
    let mut other = listen(&bridge, "?device=other&figures=1").await;
    let mut none = listen(&bridge, "?receipts=none&figures=1").await;
    for stream in [&mut all, &mut failed, &mut other, &mut none] {
        next(stream, "session").await;
    }
    let line = "POST /v1/devices/plain/uplinks";
    let mut ids = Vec::new();
    for (outcome, status) in [
        (
            Outcome::Delivered {
                reason: Reason::SUCCESS,
            },
            200,
        ),
        (Outcome::Sent, 200),
        (
            Outcome::Refused {
                reason: Reason::NOT_AUTHORIZED,
                text: Some("no".into()),
            },
            502,
        ),
        (Outcome::Expired, 503),
        (Outcome::Unconfirmed, 504),
    ] {
        let (answer, _) = tokio::join!(
            send(bridge.address, line, "", b"{}"),
            session.settle(Some(outcome))
        );
        assert_eq!(answer.status, status);
        ids.push(answer.json()["id"].clone());
    }
    let mut told = Vec::new();
    for status in ["delivered", "sent", "refused", "expired", "unknown"] {
        let receipt = next(&mut all, "receipt").await;
        assert_eq!(
            (&receipt["status"], &receipt["device"]),
            (&json!(status), &json!("plain"))
        );
        told.push(receipt);
    }
    assert_eq!((&told[0]["id"], &told[1]["id"]), (&ids[0], &ids[1]));
    assert_eq!(told[2]["reason_code"], 0x87);
    assert!(told[2]["detail"].as_str().unwrap().contains("(no)"));
    for receipt in &told[2..] {
        assert_eq!(&next(&mut failed, "receipt").await, receipt);
    }

    // Whoever has asked for others, or for none, is told none.
    for stream in [&mut other, &mut none] {
        for _ in 0..2 {
            let frame = stream.event().await.unwrap();
            assert_ne!(frame.event, "receipt");
        }
    }
    let figures = next(&mut none, "figures").await;
    assert_eq!(figures["devices"], 3);
    assert_eq!(next(&mut other, "figures").await["devices"], 1);
}

#[tokio::test]
async fn figures_tell_of_which_devices_they_have_changed() {
    let mut bridge = Bridge::start().await;
    let mut session = bridge.session("plain");
    let mut stream = listen(&bridge, "?figures=1&receipts=none").await;
    let first = next(&mut stream, "figures").await;
    assert_eq!(first["states"], json!({"idle": 3}));
    assert_eq!(first["changed"], json!({}));
    let (answer, _) = tokio::join!(
        send(bridge.address, "POST /v1/devices/plain/uplinks", "", b"{}"),
        session.settle(Some(Outcome::Sent))
    );
    let completed = answer.json()["completed_at"].clone();
    let mut changed = json!({});
    while changed == json!({}) {
        changed = next(&mut stream, "figures").await["changed"].clone();
    }
    let plain = json!({"last_uplink_at": completed, "backlog": 0});
    assert_eq!(changed, json!({"plain": plain}));
    assert_eq!(next(&mut stream, "figures").await["changed"], json!({}));
    let mut again = listen(&bridge, "?device=plain").await;
    assert_eq!(
        next(&mut again, "session").await["last_uplink_at"],
        completed
    );
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    let bridge = Bridge::start().await;
    for query in [
        "?receipts=some",
        "?figures=0",
        "?figures=61",
        "?figures=1&figures=2",
        "?device=a%2Fb",
        "?state=connected",
        "?receipts=all&receipts=all",
    ] {
        let answer = get(bridge.address, &format!("/v1/events{query}")).await;
        answer.problem(400, "malformed");
    }
    get(bridge.address, "/v1/events?device=nobody")
        .await
        .problem(404, "unknown-device");
    let headers = "Accept: application/json\r\n";
    let answer = send(bridge.address, "GET /v1/events", headers, b"").await;
    answer.problem(406, "not-acceptable");
    let too_many: String = (0..101).map(|n| format!("&device=d{n}")).collect();
    let path = format!("/v1/events?receipts=none{too_many}");
    get(bridge.address, &path).await.problem(400, "malformed");
}

#[tokio::test]
async fn the_stream_ends_with_the_program() {
    let bridge = Bridge::start().await;
    let mut stream = listen(&bridge, "").await;
    next(&mut stream, "session").await;
    bridge.shutdown.cancel();
    while stream.event().await.is_some() {}
    bridge.serving.await.unwrap().unwrap();
}
