//! Listening to downlinks: streams and long polls.

use serde_json::json;

use super::bridge::Bridge;
use super::client::{Exchange, get, open, poll, send};
use crate::device::DeviceId;
use crate::downlink::Limits;
use crate::http::downlink_form::DownlinkPage;
use crate::session::State;

const PLAIN: &str = "/v1/devices/plain/downlinks";

async fn listen(bridge: &Bridge, path: &str, headers: &str) -> Exchange {
    // So that there is nothing to tell of them.
    for device in ["plain", "other"] {
        let id = DeviceId::parse(device).unwrap();
        let known = bridge.registry.get(&id).unwrap();
        if known.session.status().state() == State::Idle {
            bridge.detached(device).connected();
        }
    }
    let headers = format!("Accept: text/event-stream\r\n{headers}");
    open(bridge.address, &format!("GET {path}"), &headers, b"").await
}

/// Ids, events and payloads of the next frames.
async fn next(
    stream: &mut Exchange,
    count: usize,
) -> Vec<(Option<String>, String, serde_json::Value)> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let frame = stream.event().await.expect("the stream ended");
        if !frame.event.is_empty() {
            let data = match frame.event.as_str() {
                "downlink" => frame.data["payload"].clone(),
                _ => frame.data,
            };
            frames.push((frame.id, frame.event, data));
        }
    }
    frames
}

fn downlink(
    id: impl ToString,
    payload: impl Into<serde_json::Value>,
) -> (Option<String>, String, serde_json::Value) {
    (Some(id.to_string()), "downlink".to_owned(), payload.into())
}

#[tokio::test]
async fn a_stream_begins_with_its_position_and_goes_on_with_what_arrives() {
    let mut bridge = Bridge::start().await;
    let before = bridge.arrives("plain", "t", "0");
    let mut stream = listen(&bridge, PLAIN, "").await;
    assert_eq!(stream.status, 200);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(stream.headers[name], value);
    }
    let opening = stream.event().await.unwrap();
    assert_eq!(opening.id, Some(before.to_string()));
    assert!((1000..=5000).contains(&opening.retry.unwrap()));
    assert_eq!(opening.event, "");
    bridge.session("plain").told_to_connect().await;

    bridge.arrives("other", "t", "1");
    let cursor = bridge.arrives("plain", "set/x", "{ \"on\": true }");
    let frame = stream.event().await.unwrap();
    assert_eq!(frame.id, Some(cursor.to_string()));
    assert_eq!(frame.event, "downlink");
    let received_at = frame.data["received_at"].clone();
    let data = json!({
        "device": "plain", "topic": "set/x", "payload": {"on": true}, "qos": 1, "retained": false,
        "received_at": received_at,
    });
    assert_eq!(frame.data, data);
}

#[tokio::test]
async fn a_stream_goes_on_where_the_last_one_ended() {
    let bridge = Bridge::start().await;
    let ids: Vec<_> = (0..4)
        .map(|n| bridge.arrives("plain", "t", &n.to_string()))
        .collect();
    let last = format!("Last-Event-ID: {}\r\n", ids[1]);
    let expected = [downlink(ids[2], 2), downlink(ids[3], 3)];
    assert_eq!(
        next(&mut listen(&bridge, PLAIN, &last).await, 2).await,
        expected
    );
    for name in ["last_event_id", "after"] {
        let path = format!("{PLAIN}?{name}={}", ids[1]);
        let mut stream = listen(&bridge, &path, "").await;
        assert_eq!(next(&mut stream, 2).await, expected);
        let live = bridge.arrives("other", "t", "x");
        assert!(live > ids[3]);
    }
    let mut all = listen(&bridge, &format!("{PLAIN}?last_event_id=earliest"), "").await;
    assert_eq!(next(&mut all, 4).await.len(), 4);
}

#[tokio::test]
async fn a_gap_comes_first_and_has_no_id() {
    let window = Limits {
        events: 2,
        ..Limits::default()
    };
    let bridge = Bridge::start_with(window).await;
    let ids: Vec<_> = (0..4)
        .map(|n| bridge.arrives("plain", "t", &n.to_string()))
        .collect();
    let after = ids[0].to_string();
    let gap = |after: serde_json::Value| {
        let data = json!({"device": "plain", "after": after, "next": ids[2].to_string()});
        (None, "gap".to_owned(), data)
    };
    let rest = [downlink(ids[2], 2), downlink(ids[3], 3)];
    let mut stream = listen(&bridge, PLAIN, &format!("Last-Event-ID: {after}\r\n")).await;
    assert_eq!(next(&mut stream, 1).await, [gap(after.clone().into())]);
    assert_eq!(next(&mut stream, 2).await, rest);
    for unknown in ["nonsense", "18446744073709551615"] {
        let mut stream = listen(&bridge, PLAIN, &format!("Last-Event-ID: {unknown}\r\n")).await;
        assert_eq!(next(&mut stream, 1).await, [gap(serde_json::Value::Null)]);
        assert_eq!(next(&mut stream, 2).await, rest);
    }
    // The poll that begins with a gap gets on, even one event at a time.
    let answer = poll(bridge.address, &format!("{PLAIN}?after={after}&limit=1")).await;
    let events = &answer.json()["events"];
    assert_eq!(
        events[0],
        json!({"event": "gap", "data": gap(after.into()).2})
    );
    assert_eq!(events[1]["id"], ids[2].to_string());
    assert_eq!(answer.json()["next"], ids[2].to_string());
}

#[tokio::test]
async fn several_devices_and_topics_on_one_stream() {
    let bridge = Bridge::start().await;
    let path = "/v1/downlinks?device=plain&device=other&device=plain&topic=set%2F%23";
    let mut stream = listen(&bridge, path, "").await;
    bridge.arrives("plain", "get", "0");
    bridge.arrives("akenza", "set/x", "1");
    let other = bridge.arrives("other", "set/x", "2");
    let plain = bridge.arrives("plain", "set", "3");
    assert_eq!(
        next(&mut stream, 2).await,
        [downlink(other, 2), downlink(plain, 3)]
    );
}

#[tokio::test]
async fn polls_take_what_is_there_or_wait_for_it() {
    let mut bridge = Bridge::start().await;
    let ids: Vec<_> = (0..3)
        .map(|n| bridge.arrives("plain", "t", &n.to_string()))
        .collect();
    let answer = poll(bridge.address, &format!("{PLAIN}?after=earliest&limit=2")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let page = answer.json();
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(page["events"][1]["data"]["payload"], 1);
    assert_eq!(page["next"], ids[1].to_string());
    bridge.session("plain").told_to_connect().await;

    let page = poll(bridge.address, &format!("{PLAIN}?wait=0"))
        .await
        .json();
    assert_eq!(page, json!({"events": [], "next": ids[2].to_string()}));

    let path = format!("{PLAIN}?after={}", ids[2]);
    let (page, arrived) = tokio::join!(poll(bridge.address, &path), async {
        while bridge.hub.listeners() == 0 {
            tokio::task::yield_now().await;
        }
        bridge.arrives("plain", "t", "\"now\"")
    });
    assert_eq!(page.json()["events"][0]["data"]["payload"], "now");
    assert_eq!(page.json()["next"], arrived.to_string());
    let head = "Accept: application/json\r\n";
    let answer = send(bridge.address, &format!("HEAD {PLAIN}"), head, b"").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

#[tokio::test]
async fn polls_have_the_described_form() {
    let window = Limits {
        events: 3,
        ..Limits::default()
    };
    let bridge = Bridge::start_with(window).await;
    for payload in ["lost", "{\"a\":[1]}", "text", "\u{0}"] {
        bridge.arrives("plain", "t", payload);
    }
    let answer = poll(bridge.address, &format!("{PLAIN}?after=1")).await;
    assert_eq!(answer.json()["events"].as_array().unwrap().len(), 4);
    assert!(serde_json::from_slice::<DownlinkPage>(&answer.body).is_ok());
    let description = serde_json::to_value(crate::http::openapi()).unwrap();
    let described = |value: &serde_json::Value, name: &str| {
        let properties = &description["components"]["schemas"][name]["properties"];
        for key in value.as_object().unwrap().keys() {
            assert!(
                properties.get(key).is_some(),
                "{name} has an undescribed {key}"
            );
        }
    };
    described(&answer.json(), "DownlinkPage");
    for event in answer.json()["events"].as_array().unwrap() {
        described(event, "DownlinkEvent");
        let is_gap = event["event"] == "gap";
        described(&event["data"], if is_gap { "Gap" } else { "Downlink" });
    }
}

#[tokio::test]
async fn what_cannot_be_listened_to() {
    let bridge = Bridge::start().await;
    let at = bridge.address;
    let many = format!("/v1/downlinks?{}", "device=plain&".repeat(101));
    for path in [
        "/v1/devices/%2B/downlinks",
        "/v1/devices/plain/downlinks?topic=a%2B",
        "/v1/devices/plain/downlinks?topic=",
        "/v1/devices/plain/downlinks?after=latest",
        "/v1/devices/plain/downlinks?device=plain",
        "/v1/devices/plain/downlinks?limit=1",
        "/v1/devices/plain/downlinks?wait=1",
        "/v1/downlinks",
        "/v1/downlinks?device=%23",
        &many,
    ] {
        get(at, path).await.problem(400, "malformed");
    }
    poll(at, &format!("{PLAIN}?limit=1001"))
        .await
        .problem(400, "malformed");
    get(at, "/v1/devices/nobody/downlinks")
        .await
        .problem(404, "unknown-device");
    get(at, "/v1/downlinks?device=plain&device=nobody")
        .await
        .problem(404, "unknown-device");
    let html = "Accept: text/html\r\n";
    let answer = send(at, &format!("GET {PLAIN}"), html, b"").await;
    answer.problem(406, "not-acceptable");
    assert_eq!(bridge.hub.listeners(), 0);
}

#[tokio::test]
async fn a_slow_reader_is_disconnected_and_replays() {
    let window = Limits {
        events: 8,
        bytes: usize::MAX,
        ..Limits::default()
    };
    let bridge = Bridge::start_with(window).await;
    let mut stream = listen(&bridge, PLAIN, "").await;
    // More than all buffers between here and there hold, while nobody reads.
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    while bridge.hub.listeners() > 0 {
        bridge.arrives("plain", "t", &large);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        if bridge.hub.listeners() > 0 {
            // What is read makes room, and the stream finds that it has fallen behind.
            stream.event().await;
            (0..20).for_each(|_| {
                bridge.arrives("plain", "t", &large);
            });
        }
    }
    let mut last = None;
    while let Some(frame) = stream.event().await {
        last = frame.id.or(last);
    }
    let last = last.expect("no event came through");
    let mut again = listen(&bridge, PLAIN, &format!("Last-Event-ID: {last}\r\n")).await;
    let frames = next(&mut again, 2).await;
    assert_eq!(frames[0].1, "gap");
    assert_eq!(frames[0].2["after"], last);
    assert_eq!(frames[1].0.as_deref(), frames[0].2["next"].as_str());
}

#[tokio::test]
async fn a_listener_that_goes_away_is_forgotten() {
    let bridge = Bridge::start().await;
    let mut stream = listen(&bridge, PLAIN, "").await;
    stream.event().await.unwrap();
    assert_eq!(bridge.hub.listeners(), 1);
    drop(stream);
    while bridge.hub.listeners() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn shutting_down_ends_streams_and_polls() {
    let bridge = Bridge::start().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = listen(&bridge, PLAIN, "").await;
        stream.event().await.unwrap();
        streams.push(stream);
    }
    let polling = tokio::spawn(async move { poll(bridge.address, PLAIN).await });
    while bridge.hub.listeners() < 4 {
        tokio::task::yield_now().await;
    }
    bridge.shutdown.cancel();
    bridge.serving.await.unwrap().unwrap();
    for mut stream in streams {
        assert_eq!(stream.event().await, None);
    }
    assert_eq!(polling.await.unwrap().json()["events"], json!([]));
}

#[tokio::test]
async fn a_session_that_changes_is_told_and_leaves_the_position_alone() {
    let bridge = Bridge::start().await;
    let headers = "Accept: text/event-stream\r\n";
    let mut stream = open(bridge.address, &format!("GET {PLAIN}"), headers, b"").await;
    assert!(stream.event().await.unwrap().retry.is_some());
    let first = stream.event().await.unwrap();
    assert_eq!((first.id, first.event.as_str()), (None, "session"));
    let since = first.data["since"].clone();
    let idle = json!({"device": "plain", "connector": "lan", "state": "idle", "since": since});
    assert_eq!(first.data, idle);

    let session = bridge.detached("plain");
    session.connected();
    let connected = stream.event().await.unwrap();
    assert_eq!(connected.data["state"], "connected");
    let cursor = bridge.arrives("plain", "t", "1");
    assert_eq!(stream.event().await.unwrap().id, Some(cursor.to_string()));
    bridge.detached("other").connected();
    session.trouble(State::TakenOver, "another client", "look for it");
    let trouble = stream.event().await.unwrap();
    assert_eq!((trouble.id, trouble.event.as_str()), (None, "session"));
    assert_eq!(trouble.data["state"], "taken_over");
    assert_eq!(trouble.data["last_error"]["what"], "another client");
    assert_eq!(trouble.data["last_error"]["hint"], "look for it");
    bridge.arrives("plain", "t", "2");
    assert_eq!(stream.event().await.unwrap().data["payload"], 2);
}
