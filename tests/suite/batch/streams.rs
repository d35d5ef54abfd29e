//! A batch as a stream: answered while it is sent, broken off by either side, and held by nobody as a whole.

use std::fs;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{NDJSON, plain, results};
use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::causeway::{causeway, configure, serving};
use crate::harness::eventually::eventually;
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::{Proxy, Stall};
use crate::harness::subscriber::Subscriber;

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
    configure(folder.path(), &plain(broker.addr()));
    let program = causeway(folder.path(), &["serve"], &[]);
    let http = Http::new(serving(&program).await);
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
    let request = http
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
