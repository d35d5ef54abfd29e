//! Connections that take their time, and connections that are too many.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::http::{ConnectionLimits, Listener, ListenerHandle, ListenerSettings, serve};

const DEADLINE: Duration = Duration::from_secs(30);

/// A listener whose routes are `/`, `/endless` and `/echo`.
struct Bench {
    address: SocketAddr,
    handle: ListenerHandle,
    end: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Bench {
    async fn start(limits: ConnectionLimits) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let settings = ListenerSettings {
            limits,
            ..ListenerSettings::default()
        };
        let (listener, handle) = Listener::new(socket, settings);
        let end = CancellationToken::new();
        let until_the_end = end.clone();
        let endless = async move || {
            let until = until_the_end.clone().cancelled_owned();
            let ticks =
                stream::repeat(Ok::<_, std::convert::Infallible>("tick\n")).then(async |tick| {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    tick
                });
            Body::from_stream(Box::pin(ticks.take_until(until)))
        };
        let router = Router::new()
            .route("/", get(async || "here"))
            .route("/endless", get(endless))
            .route("/echo", post(async |body: String| body));
        let serving = tokio::spawn(serve(listener, router, end.clone()));
        Self {
            address,
            handle,
            end,
            serving,
        }
    }

    /// A connection on which this was sent.
    async fn connect(&self, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self) -> u16 {
        let url = format!("http://{}/", self.address);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().status().as_u16()
    }

    async fn until_open(&self, count: u64) {
        let wait = async {
            while self.handle.figures().open() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(DEADLINE, wait).await;
        assert!(waited.is_ok(), "{} are open", self.handle.figures().open());
    }
}

/// Everything until the end of the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut text)).await;
    // A connection that was closed with something unread is reset.
    let _ = read.expect("the connection to end");
    String::from_utf8_lossy(&text).into_owned()
}

async fn until(stream: &mut TcpStream, text: &str) {
    let mut read = String::new();
    let mut buffer = [0; 1024];
    while !read.contains(text) {
        let length = timeout(DEADLINE, stream.read(&mut buffer)).await;
        let length = length.expect(text).unwrap();
        assert_ne!(length, 0, "{read}");
        read += &String::from_utf8_lossy(&buffer[..length]);
    }
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const ENDLESS: &str = "GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
const H2_PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An empty SETTINGS frame (RFC 9113 §6.5).
const H2_SETTINGS: &str = "\0\0\0\x04\0\0\0\0\0";
const GOAWAY: u8 = 7;

/// The types of the HTTP/2 frames that still come.
async fn frame_types(mut stream: TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut read)).await;
    let (mut types, mut rest) = (Vec::new(), &read[..]);
    while let [a, b, c, kind, ..] = rest {
        types.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    types
}

fn quick() -> ConnectionLimits {
    ConnectionLimits {
        head_time: Duration::from_millis(300),
        idle_time: Duration::from_millis(300),
        ..ConnectionLimits::default()
    }
}

#[tokio::test]
async fn who_takes_too_long_is_told_where_that_is_possible_and_cut() {
    let bench = Bench::start(quick()).await;
    let mut busy = bench.connect(ENDLESS).await;
    until(&mut busy, "tick").await;
    let silent = bench.connect("").await;
    let slow = bench.connect("GET / HTTP/1.1\r\nhost:").await;
    let mut second = bench.connect(&format!("{GET}GET /")).await;
    let mut idle = bench.connect(GET).await;
    let preface = bench.connect(H2_PREFACE).await;
    until(&mut second, "here").await;
    until(&mut idle, "here").await;
    // More bytes are no more time.
    second.write_all(b"x").await.unwrap();

    assert_eq!(rest(silent).await, "");
    assert!(
        rest(slow)
            .await
            .starts_with("HTTP/1.1 408 Request Timeout\r\n")
    );
    assert!(
        rest(second)
            .await
            .starts_with("HTTP/1.1 408 Request Timeout\r\n")
    );
    assert_eq!(rest(idle).await, "");
    rest(preface).await;
    until(&mut busy, "tick").await;
    bench.until_open(1).await;
}

#[tokio::test]
async fn idle_connections_make_room_and_busy_ones_do_not() {
    let limits = ConnectionLimits {
        max: 3,
        ..ConnectionLimits::default()
    };
    let bench = Bench::start(limits).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = bench.connect(ENDLESS).await;
        until(&mut stream, "tick").await;
        busy.push(stream);
    }
    let silent = bench.connect("").await;
    bench.until_open(3).await;
    assert_eq!(bench.ask().await, 200);
    assert_eq!(rest(silent).await, "");
    let mut third = bench.connect(ENDLESS).await;
    until(&mut third, "tick").await;
    let refused = rest(bench.connect(GET).await).await;
    let told = refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n");
    assert!(told || refused.is_empty(), "{refused}");
    let figures = bench.handle.figures();
    assert!(
        figures.refused.load(std::sync::atomic::Ordering::Relaxed) >= 1,
        "{refused} {figures:?}"
    );
    drop(third);
    bench.until_open(2).await;
    assert_eq!(bench.ask().await, 200);
    for mut stream in busy {
        until(&mut stream, "tick").await;
    }
}

#[tokio::test]
async fn more_header_fields_than_usual_can_be_allowed() {
    let limits = ConnectionLimits {
        max_headers: 150,
        ..ConnectionLimits::default()
    };
    let bench = Bench::start(limits).await;
    for (fields, status) in [(140, "200"), (160, "431")] {
        let fields: String = (0..fields).map(|n| format!("x-{n}: 1\r\n")).collect();
        let get = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n");
        let answer = rest(bench.connect(&get).await).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn limits_can_be_replaced() {
    let bench = Bench::start(ConnectionLimits::default()).await;
    let silent = bench.connect("").await;
    bench.until_open(1).await;
    let settings = ListenerSettings {
        limits: quick(),
        ..ListenerSettings::default()
    };
    bench.handle.replace(settings);
    assert_eq!(rest(silent).await, "");
}

#[tokio::test]
async fn the_end_does_not_wait_for_who_has_not_asked() {
    let bench = Bench::start(ConnectionLimits::default()).await;
    let mut endless = bench.connect(ENDLESS).await;
    until(&mut endless, "tick").await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.no_proxy().build().unwrap();
    let url = format!("http://{}/endless", bench.address);
    let mut stream = client.get(url).send().await.unwrap();
    assert_eq!(stream.version(), reqwest::Version::HTTP_2);
    assert!(stream.chunk().await.unwrap().is_some());
    let _open = [
        bench.connect("").await,
        bench.connect("GET / HT").await,
        bench.connect(H2_PREFACE).await,
        bench.connect("PRI * HTTP/2.0").await,
        bench.connect(&format!("{GET}GET /")).await,
    ];
    let told = bench.connect(&format!("{H2_PREFACE}{H2_SETTINGS}")).await;
    bench.until_open(8).await;
    bench.end.cancel();
    let ended = timeout(DEADLINE, bench.serving).await;
    ended.expect("the end").unwrap().unwrap();
    // A client of HTTP/2 is told not to begin anything more.
    assert!(frame_types(told).await.contains(&GOAWAY));
    // Both streams came to their end, and were not cut.
    assert!(rest(endless).await.ends_with("\r\n0\r\n\r\n"));
    while stream.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn an_http_2_stream_that_is_not_read_is_no_obstacle_to_the_others() {
    let bench = Bench::start(ConnectionLimits::default()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.no_proxy().build().unwrap();
    let url = |path| format!("http://{}{path}", bench.address);
    let unread = client.get(url("/endless")).send().await.unwrap();
    for _ in 0..20 {
        let body = "x".repeat(100_000);
        let echo = client.post(url("/echo")).body(body.clone());
        assert_eq!(echo.send().await.unwrap().text().await.unwrap(), body);
    }
    assert_eq!(bench.handle.figures().open(), 1);
    drop(unread);
}
