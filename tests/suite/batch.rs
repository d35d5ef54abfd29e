//! Many uplinks in one request.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::{Proxy, Stall};
use crate::harness::subscriber::Subscriber;

const NDJSON: &str = "application/x-ndjson";

fn plain(addr: SocketAddr) -> String {
    let device = |number| format!("[devices.pump-{number}]\nconnector = \"local\"\n");
    let devices: String = (1..=5).map(device).collect();
    format!("[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{addr}\"\n{devices}")
}

fn results(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}")))
        .collect()
}

/// A request whose body is sent as the test says, and whose answer is read as it comes.
struct Conversation {
    body: mpsc::Sender<Result<Bytes, std::io::Error>>,
    response: Response,
    read: Vec<u8>,
}

impl Conversation {
    async fn begin(http: &Http, prefer: &str) -> Self {
        let (body, receiver) = mpsc::channel(16);
        let pieces = stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        });
        let request = http
            .request(Method::POST, "/v1/uplinks")
            .header("content-type", NDJSON)
            .header("prefer", prefer)
            .body(Body::wrap_stream(pieces));
        // The answer begins before the first line was sent.
        let response = timeout(DEADLINE, request.send()).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], NDJSON);
        Self {
            body,
            response,
            read: Vec::new(),
        }
    }

    async fn say(&self, text: &str) {
        self.body.send(Ok(text.to_owned().into())).await.unwrap();
    }

    /// The next result; `None` at the end.
    async fn result(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await;
            self.read.extend(chunk.expect("a result in time").unwrap()?);
        }
    }
}

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
async fn results_come_while_a_slow_producer_still_sends() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let mut talk = Conversation::begin(&bridge.http, "wait=30").await;
    for number in 1..4 {
        talk.say("{\"device\":\"pump-1\",").await;
        talk.say(&format!("\"payload\":{number}}}\n")).await;
        let result = talk.result().await.unwrap();
        assert_eq!(
            (&result["line"], &result["status"]),
            (&json!(number), &json!(200))
        );
    }
    talk.say("{\"device\":\"pump-1\",\"payload_base64\":\"/wA=\",\"subtopic\":\"raw\",\"content_type\":\"image/png\"}").await;
    let Conversation {
        body,
        response,
        read,
    } = talk;
    drop(body);
    let mut talk = Conversation {
        body: mpsc::channel(1).0,
        response,
        read,
    };
    assert_eq!(talk.result().await.unwrap()["status"], 200);
    assert_eq!(talk.result().await, None);
    let seen = observer.wait_count(4).await;
    assert_eq!(seen[2].text(), "3");
    assert_eq!(seen[3].payload, [255, 0]);
    assert_eq!(seen[3].topic, "devices/pump-1/up/raw");
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
async fn when_the_client_vanishes_whole_lines_are_processed_and_half_ones_are_not() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    let bridge = TestBridge::start(&plain(proxy.addr())).await;
    let first = bridge
        .http
        .post("/v1/devices/pump-1/uplinks", "text/plain", "first")
        .await;
    assert_eq!(first.status, 200, "{}", first.text());
    // What is sent from now on reaches the broker only when it is sent again, and so only while somebody wants it.
    proxy.stall(Stall::Swallow);
    let mut client = TcpStream::connect(bridge.addr()).await.unwrap();
    let lines: String = (0..20)
        .map(|n| format!("{{\"device\":\"pump-1\",\"payload\":{n}}}\n"))
        .collect();
    let text = format!("{lines}{{\"device\":\"pump-1\",\"payload\":");
    let request = format!(
        "POST /v1/uplinks HTTP/1.1\r\nHost: x\r\nContent-Type: {NDJSON}\r\nPrefer: wait=30\r\n\
         Content-Length: 100000\r\n\r\n{text}"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    // The head of the answer says that the body is being read.
    let mut head = [0; 12];
    client.read_exact(&mut head).await.unwrap();
    eventually("the lines to be sent", DEADLINE, async || {
        bridge.session("pump-1").await["in_flight"] == 20
    })
    .await;
    drop(client);
    proxy.resume();
    let seen = observer.wait_count(21).await;
    assert!(
        seen[1..]
            .iter()
            .enumerate()
            .all(|(number, message)| message.text() == number.to_string())
    );
}

#[tokio::test]
async fn the_shutdown_ends_a_stream_with_a_word() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&plain(broker.addr())).await;
    let mut talk = Conversation::begin(&bridge.http, "wait=30").await;
    talk.say("{\"device\":\"pump-1\",\"payload\":1}\n{\"half")
        .await;
    assert_eq!(talk.result().await.unwrap()["status"], 200);
    let stopping = tokio::spawn(bridge.stop());
    let last = talk.result().await.unwrap();
    assert_eq!(
        (&last["line"], &last["status"]),
        (&json!(2), &json!(503)),
        "{last}"
    );
    assert_eq!(last["problem"]["type"], "/docs#problem-closing");
    assert_eq!(last["retry_after"], 5);
    drop(talk);
    stopping.await.unwrap();
}

#[tokio::test]
async fn memory_does_not_grow_with_the_stream() {
    const LINES: usize = 20_000;
    let broker = Mosquitto::start().await;
    let folder = tempfile::tempdir().unwrap();
    let listeners = "[http]\nlisten = \"127.0.0.1:0\"\n[management]\nlisten = \"127.0.0.1:0\"\n";
    fs::write(
        folder.path().join("causeway.toml"),
        format!("{listeners}{}", plain(broker.addr())),
    )
    .unwrap();
    let program = causeway(folder.path(), &["serve"], &[]);
    let line = program.stderr().wait_for("serving http://").await;
    let (_, rest) = line.split_once("serving http://").unwrap();
    let addr: SocketAddr = rest[..rest.find([',', ' ']).unwrap()].parse().unwrap();
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim()
            .trim_end_matches(" kB")
            .parse::<usize>()
            .unwrap()
    };
    let before = peak();
    // 40 MiB in all, which the bridge is not to hold.
    let payload = "x".repeat(2048);
    let lines = stream::iter(0..LINES).map(move |n| {
        let device = n % 5 + 1;
        Ok::<_, std::io::Error>(format!(
            "{{\"device\":\"pump-{device}\",\"payload\":\"{payload}\"}}\n"
        ))
    });
    let request = Http::new(addr)
        .request(Method::POST, "/v1/uplinks")
        .header("content-type", NDJSON)
        .body(Body::wrap_stream(lines));
    let response = request.send().await.unwrap();
    let text = response.text().await.unwrap();
    let results = results(&text);
    assert_eq!(results.len(), LINES);
    assert!(results.iter().all(|result| result["status"] == 200));
    let grown = peak() - before;
    assert!(grown < 24 * 1024, "{grown} KiB more than before");
}
