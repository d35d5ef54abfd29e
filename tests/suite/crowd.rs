//! Many clients, hasty ones, and ones that vanish: those who behave do not notice.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::{TestBridge, pump};
use crate::harness::http::raw;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::subscriber::Subscriber;

/// With both ends of each connection in this process, still far below the usual limit of 1024 files.
const LISTENERS: usize = 300;

async fn start() -> (Mosquitto, TestBridge) {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&pump(broker.addr())).await;
    (broker, bridge)
}

fn post(body: &str, more: &str) -> String {
    format!(
        "POST /v1/devices/pump-1/uplinks HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn delivered(bridge: &TestBridge, body: &str) {
    let reply = bridge
        .http
        .post("/v1/devices/pump-1/uplinks", "text/plain", body.to_owned())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A listener that reads only when it is told to.
struct Listener(TcpStream);

impl Listener {
    async fn open(addr: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = "GET /v1/devices/pump-1/downlinks HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut listener = Self(stream);
        listener.read_until("retry: ").await;
        listener
    }

    async fn read_until(&mut self, text: &str) {
        let mut read = String::new();
        let mut buffer = [0; 4096];
        while !read.contains(text) {
            let length = timeout(DEADLINE, self.0.read(&mut buffer)).await;
            let length = length.expect(text).unwrap();
            assert_ne!(length, 0, "the stream ended: {read}");
            // What is looked for may be cut in two, not more.
            let tail = read.len().saturating_sub(text.len());
            read = read[tail..].to_owned() + &String::from_utf8_lossy(&buffer[..length]);
        }
    }

    /// Resets the connection, as a machine does that has lost its power and comes back.
    fn vanish(self) {
        self.0.set_zero_linger().unwrap();
    }
}

#[tokio::test]
async fn requests_sent_without_waiting_are_answered_in_order() {
    let (broker, bridge) = start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let requests = [
        post("1", ""),
        post("2", ""),
        post("3", "connection: close\r\n"),
    ];
    let answers = raw(bridge.addr(), requests.concat().as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    let seen = observer.wait_count(3).await;
    let seen: Vec<_> = seen.iter().map(Message::text).collect();
    assert_eq!(seen, ["1", "2", "3"]);
}

#[tokio::test]
async fn many_listeners_are_served_and_may_vanish() {
    let (broker, bridge) = start().await;
    let addr = bridge.addr();
    let mut listeners = join_all((0..LISTENERS).map(|_| Listener::open(addr))).await;
    bridge.until("pump-1", "connected").await;
    // The session may be connected and the subscription not granted yet: retained, the message comes in either case.
    let mut message = Message::new("devices/pump-1/down/settings", "on");
    message.retain = true;
    broker.access().publish(&message).await.accepted();
    join_all(
        listeners
            .iter_mut()
            .map(|l| l.read_until("\"payload\":\"on\"")),
    )
    .await;

    // A third vanishes, a third stays and does not read any more, a third goes on.
    let mut going_on = listeners.split_off(LISTENERS / 3 * 2);
    let silent = listeners.split_off(LISTENERS / 3);
    listeners.into_iter().for_each(Listener::vanish);
    for number in 0..20 {
        let payload = format!("{number}{}", "x".repeat(5_000));
        let message = Message::new("devices/pump-1/down/settings", payload);
        broker.access().publish(&message).await.accepted();
    }
    join_all(
        going_on
            .iter_mut()
            .map(|l| l.read_until("\"payload\":\"19x")),
    )
    .await;
    delivered(&bridge, "still there").await;
    drop((going_on, silent));
    bridge.stop().await;
}

#[tokio::test]
async fn clients_that_vanish_in_the_middle_of_a_request_harm_nobody() {
    let (broker, bridge) = start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    delivered(&bridge, "first").await;
    let whole = post("ghost", "");
    // In the head, in the body, and after the request without waiting for the answer.
    for cut in [10, 60, whole.len() - 2, whole.len()] {
        for _ in 0..25 {
            let mut stream = TcpStream::connect(bridge.addr()).await.unwrap();
            stream.write_all(&whole.as_bytes()[..cut]).await.unwrap();
            stream.set_zero_linger().unwrap();
        }
    }
    delivered(&bridge, "last").await;
    let last = |seen: &[Message]| seen.iter().any(|message| message.text() == "last");
    let seen = observer.wait_until("the last uplink", last).await;
    // Nobody knows what became of a request whose client did not wait. Half a body is never sent.
    let whole = |message: &Message| ["first", "ghost", "last"].contains(&message.text());
    assert!(seen.iter().all(whole), "{seen:?}");
    bridge.stop().await;
}
