//! What each line of a batch is answered, and what is no batch.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::{NDJSON, plain, results};
use crate::harness::bridge::TestBridge;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;

#[tokio::test]
async fn thousands_of_lines_are_answered_in_order_and_arrive_in_order() {
    let broker = Mosquitto::builder()
        .config("max_queued_messages 0")
        .start()
        .await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let mut body = String::new();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in 1..=5000 {
        let device = format!("pump-{}", line % 5 + 1);
        match line {
            _ if line % 97 == 0 => body.push_str("{\"device\":\n"),
            _ if line % 89 == 0 => body.push('\n'),
            _ if line % 83 == 0 => {
                body.push_str(&format!(
                    "{{\"device\":\"nobody\",\"payload\":1,\"id\":{line}}}\n"
                ));
            }
            _ => {
                body.push_str(&format!(
                    "{{\"device\":\"{device}\",\"payload\":{line},\"id\":\"n{line}\"}}"
                ));
                // The last one has no line break.
                body.push_str(if line == 5000 { "" } else { "\n" });
                expected
                    .entry(format!("devices/{device}/up"))
                    .or_default()
                    .push(line.to_string());
            }
        }
    }
    let reply = bridge.http.post("/v1/uplinks", NDJSON, body).await;
    assert_eq!(reply.status, 200);
    let results = results(reply.text());
    let numbers: Vec<_> = results
        .iter()
        .map(|result| result["line"].as_u64().unwrap())
        .collect();
    let not_empty: Vec<_> = (1..=5000).filter(|n| n % 97 == 0 || n % 89 != 0).collect();
    assert_eq!(numbers, not_empty);
    for result in &results {
        let line = result["line"].as_u64().unwrap();
        let (status, reference) = match line {
            _ if line % 97 == 0 => (400, Value::Null),
            _ if line % 83 == 0 => (404, json!(line)),
            _ => (200, json!(format!("n{line}"))),
        };
        assert_eq!(
            (&result["status"], &result["ref"]),
            (&json!(status), &reference),
            "{result}"
        );
        if status == 200 {
            assert_eq!(result["receipt"]["status"], "delivered");
        } else {
            assert_eq!(result["problem"]["status"], status);
        }
    }
    let count = expected.values().map(Vec::len).sum();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in observer.wait_count(count).await {
        let text = message.text().to_owned();
        seen.entry(message.topic).or_default().push(text);
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_array_is_answered_with_an_array() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let post = async |body: &str| {
        bridge
            .http
            .post(
                "/v1/uplinks",
                "application/json; charset=utf-8",
                body.to_owned(),
            )
            .await
    };
    let array = json!([
        {"device": "pump-1", "payload": {"a": [1]}},
        {"device": "pump-1", "payload": 1, "topic": "x", "id": "second"},
        7,
        {"device": "pump-2", "payload": "hot", "content_type": "text/plain", "qos": 0},
    ]);
    let reply = post(&array.to_string()).await;
    assert_eq!(reply.status, 207, "{}", reply.text());
    let results = reply.json();
    let told: Vec<_> = results
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            (
                result["line"].as_u64().unwrap(),
                result["status"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [(1, 200), (2, 400), (3, 400), (4, 200)]);
    assert_eq!(results[1]["ref"], "second");
    assert!(
        results[1]["problem"]["detail"]
            .as_str()
            .unwrap()
            .contains("unknown field `topic`"),
        "{results}"
    );
    assert_eq!(results[3]["receipt"]["status"], "sent");
    let seen = observer.wait_count(2).await;
    let seen: Vec<_> = seen
        .iter()
        .map(|message| (message.text(), message.content_type.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("{\"a\":[1]}", Some("application/json")),
            ("hot", Some("text/plain"))
        ]
    );

    assert_eq!(post("[]").await.json(), json!([]));
    for (body, status) in [
        ("{}".to_owned(), 400),
        ("[1,]".to_owned(), 400),
        (" ".repeat(1 << 21), 413),
    ] {
        let reply = post(&body).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

#[tokio::test]
async fn what_is_no_batch_is_refused_as_a_whole() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let reply = bridge.http.post("/v1/uplinks", "text/plain", "{}").await;
    assert_eq!(reply.status, 415, "{}", reply.text());
    assert_eq!(
        reply.header("accept-post"),
        "application/x-ndjson, application/json"
    );
    let reply = bridge.http.post("/v1/uplinks?qos=1", NDJSON, "").await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let request = bridge.http.request(Method::POST, "/v1/uplinks");
    let request = request
        .header("content-type", NDJSON)
        .header("idempotency-key", "k");
    assert_eq!(Reply::to(request.body("")).await.status, 400);
    let empty = bridge.http.post("/v1/uplinks", NDJSON, "\n\r\n  ").await;
    assert_eq!((empty.status, empty.text()), (200, ""));
}

#[tokio::test]
async fn a_line_that_is_too_long_is_its_own_error() {
    let broker = Mosquitto::start().await;
    let config = plain(broker.addr()).replacen(
        "[connectors",
        "[limits]\nqueued_bytes = \"1MiB\"\n[connectors",
        1,
    );
    let bridge = TestBridge::start(&config).await;
    let long = format!(
        "{{\"device\":\"pump-1\",\"payload\":\"{}\"}}",
        "x".repeat(1 << 20)
    );
    let short = "{\"device\":\"pump-1\",\"payload\":1}";
    let body = format!("{short}\n{long}\n{short}\n{long}");
    let reply = bridge.http.post("/v1/uplinks", NDJSON, body).await;
    let told: Vec<_> = results(reply.text())
        .iter()
        .map(|result| result["status"].clone())
        .collect();
    assert_eq!(told, [200, 413, 200, 413]);
}

#[tokio::test]
async fn lines_with_and_without_a_key_keep_their_order() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let line = |number: usize| {
        let key = if number.is_multiple_of(3) {
            format!(",\"key\":\"k{number}\"")
        } else {
            String::new()
        };
        format!("{{\"device\":\"pump-1\",\"payload\":{number}{key}}}\n")
    };
    let body: String = (0..600).map(line).collect();
    let reply = bridge.http.post("/v1/uplinks", NDJSON, body).await;
    assert!(
        results(reply.text())
            .iter()
            .all(|result| result["status"] == 200)
    );
    let seen = observer.wait_count(600).await;
    assert!(
        seen.iter()
            .enumerate()
            .all(|(number, message)| message.text() == number.to_string())
    );
}

#[tokio::test]
async fn while_the_broker_is_away_lines_are_queued_and_only_the_first_ones_wait() {
    // What comes faster than an observer takes it would be dropped.
    let broker = Mosquitto::builder()
        .config("max_queued_messages 0")
        .start()
        .await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    proxy.refuse().await;
    let bridge = TestBridge::start(&plain(proxy.addr())).await;
    let line = |number: usize| {
        format!(
            "{{\"device\":\"pump-1\",\"payload\":{number},\"key\":\"k{}\"}}\n",
            number
        )
    };
    // At 64 lines a second they would take longer than a wait in a test may last.
    let body: String = (0..6000)
        .map(|n| match n % 2 {
            0 => line(n),
            _ => format!("{{\"device\":\"pump-1\",\"payload\":{n}}}\n"),
        })
        .collect();
    let request = bridge.http.request(Method::POST, "/v1/uplinks");
    let request = request
        .header("content-type", NDJSON)
        .header("prefer", "wait=1");
    let reply = Reply::to(request.body(body.clone())).await;
    let queued = results(reply.text());
    assert_eq!(queued.len(), 6000);
    for result in &queued {
        assert_eq!(
            (&result["status"], &result["receipt"]["status"]),
            (&json!(202), &json!("queued")),
            "{result}"
        );
        let location = format!("/v1/uplinks/{}", result["receipt"]["id"].as_str().unwrap());
        assert_eq!(result["location"], location);
    }
    proxy.admit();
    let seen = observer.wait_count(6000).await;
    assert!(
        seen.iter()
            .enumerate()
            .all(|(number, message)| message.text() == number.to_string())
    );
    // The same line again, by its key, is answered as before.
    let reply = bridge.http.post("/v1/uplinks", NDJSON, line(0)).await;
    let again = &results(reply.text())[0];
    assert_eq!(
        (&again["status"], &again["replayed"], &again["receipt"]),
        (&json!(202), &json!(true), &queued[0]["receipt"])
    );
}
