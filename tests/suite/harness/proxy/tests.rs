//! The proxy breaks what it says it breaks.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A client and a server, connected through a proxy.
struct Pair {
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    async fn new() -> Self {
        let (listener, addr) = listen().await;
        let proxy = Proxy::start(addr);
        let (client, server) = tokio::join!(TcpStream::connect(proxy.addr()), listener.accept());
        Self {
            proxy,
            client: client.unwrap(),
            server: server.unwrap().0,
        }
    }

    async fn up(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(read(&mut self.server, text.len()).await, text);
    }

    async fn down(&mut self, text: &str) {
        self.server.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(read(&mut self.client, text.len()).await, text);
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

async fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn end(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    stream.read(&mut [0]).await.map_err(|error| error.kind())
}

#[tokio::test]
async fn it_forwards_counts_and_captures() {
    let mut pair = Pair::new().await;
    pair.proxy.delay(Duration::from_millis(1));
    pair.up("before").await;
    pair.proxy.capture();
    pair.up("secret").await;
    pair.down("answer!").await;
    // The counters follow the bytes, so the last of them may lag a moment.
    eventually("the count", DEADLINE, || {
        let traffic = pair.proxy.traffic();
        std::future::ready((traffic.to_broker, traffic.to_client) == (12, 7))
    })
    .await;
    assert_eq!(pair.proxy.traffic().connections, 1);
    assert_eq!(pair.proxy.traffic().captured.unwrap(), b"secret");

    // An end of one direction is passed on, and leaves the other open.
    pair.client.shutdown().await.unwrap();
    assert_eq!(end(&mut pair.server).await, Ok(0));
    pair.down("late").await;
}

#[tokio::test]
async fn a_cut_ends_both_sides_as_asked_and_new_connections_are_taken() {
    let mut pair = Pair::new().await;
    pair.up("x").await;
    pair.proxy.cut(Cut::Fin);
    assert_eq!(end(&mut pair.client).await, Ok(0));
    assert_eq!(end(&mut pair.server).await, Ok(0));
    TcpStream::connect(pair.proxy.addr()).await.unwrap();
    pair.proxy.wait_connections(2).await;

    let mut pair = Pair::new().await;
    pair.up("x").await;
    pair.proxy.cut(Cut::Reset);
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(end(&mut pair.client).await, reset);
    assert_eq!(end(&mut pair.server).await, reset);
}

#[tokio::test]
async fn a_held_link_delivers_after_it_resumes() {
    let mut pair = Pair::new().await;
    pair.up("x").await;
    pair.proxy.stall(Stall::Hold);
    pair.client.write_all(b"held").await.unwrap();
    let quiet = Duration::from_millis(50);
    let early = tokio::time::timeout(quiet, read(&mut pair.server, 4)).await;
    assert!(early.is_err(), "{early:?} came through");
    pair.proxy.resume();
    assert_eq!(read(&mut pair.server, 4).await, "held");
    pair.down("back").await;
}

#[tokio::test]
async fn a_link_that_swallowed_is_reset_when_it_resumes() {
    let mut pair = Pair::new().await;
    pair.up("x").await;
    pair.proxy.stall(Stall::Swallow);
    pair.client.write_all(b"lost").await.unwrap();
    let quiet = Duration::from_millis(50);
    let told = tokio::time::timeout(quiet, end(&mut pair.server)).await;
    assert!(told.is_err(), "the server was told: {told:?}");
    pair.proxy.resume();
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(end(&mut pair.server).await, reset);
    assert_eq!(end(&mut pair.client).await, reset);
}

#[tokio::test]
async fn refused_connections_do_not_disturb_those_that_exist() {
    let mut pair = Pair::new().await;
    pair.proxy.refuse().await;
    let refused = TcpStream::connect(pair.proxy.addr()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    pair.up("still here").await;
    pair.proxy.admit();
    TcpStream::connect(pair.proxy.addr()).await.unwrap();
}

#[tokio::test]
async fn a_half_closed_link_still_takes_what_clients_send() {
    let mut pair = Pair::new().await;
    pair.proxy.half_close();
    assert_eq!(end(&mut pair.client).await, Ok(0));
    pair.server.write_all(b"nobody reads this").await.unwrap();
    pair.up("still sent").await;
}

#[tokio::test]
async fn a_dead_target_resets_the_client() {
    let (listener, addr) = listen().await;
    drop(listener);
    let proxy = Proxy::start(addr);
    let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(end(&mut client).await, reset);
}
