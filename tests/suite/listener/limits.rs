//! Clients that are slow, many, or say too much: they are cut, and the others are served.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway::bridge::raise_open_files;
use futures_util::future::join_all;
use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{DOWNLINKS, UPLINKS, posted, start};
use crate::harness::DEADLINE;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply, raw};

/// A connection on which this is sent at once, and then a byte at a time, until the bridge ends it. Gives what came back.
async fn drip(addr: SocketAddr, at_once: &str, drops: bool) -> String {
    let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
    writer.write_all(at_once.as_bytes()).await.unwrap();
    let writing = async {
        while drops && writer.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = writing => {}
        _ = reader.read_to_end(&mut answer) => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn half_open_connections_and_slow_clients_are_cut_while_others_are_served() {
    // Both ends of each connection are in this process.
    raise_open_files();
    let limits = "head_timeout = \"4s\"\nbody_timeout = \"4s\"\nmin_body_rate = 1000\n";
    let (_broker, bridge) = start(limits).await;
    let addr = bridge.addr();
    let body = format!(
        "POST {UPLINKS} HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 100000\r\n\r\n"
    );
    let chunked = body.replace("content-length: 100000", "transfer-encoding: chunked") + "fff\r\n";
    let kinds = [
        (String::new(), false, ""),
        ("GET / HTTP/1.1\r\nx: ".to_owned(), false, "HTTP/1.1 408 "),
        ("GET / HTTP/1.1\r\nx: ".to_owned(), true, "HTTP/1.1 408 "),
        (body, true, "HTTP/1.1 408 "),
        (chunked, true, "HTTP/1.1 408 "),
    ];
    let attacker = |(at_once, drops, expected): (String, bool, &'static str)| {
        tokio::spawn(async move {
            let answer = drip(addr, &at_once, drops).await;
            // Who still sends when the connection is closed may find it reset, and nothing in it.
            let told = answer.starts_with(expected) || drops && answer.is_empty();
            assert!(told, "{at_once:?}: {answer:?}");
            !answer.is_empty()
        })
    };
    let attackers: Vec<_> = kinds
        .iter()
        .flat_map(|kind| vec![kind.clone(); 100])
        .map(attacker)
        .collect();
    let attack = tokio::spawn(join_all(attackers));
    let figures = bridge.listener.figures();
    eventually("all to be connected", DEADLINE, async || {
        figures.accepted.load(Ordering::Relaxed) >= 500
    })
    .await;
    let mut served = 0;
    while !attack.is_finished() {
        // Each with a connection of its own, and all on one.
        assert_eq!(posted(&Http::new(addr)).await.status, 200);
        assert_eq!(posted(&bridge.http).await.status, 200);
        served += 1;
    }
    let told = attack.await.unwrap();
    let told = told
        .into_iter()
        .filter(|told| *told.as_ref().unwrap())
        .count();
    // All of those who were silent after half a head, and some of the others.
    assert!(served > 0 && told > 100, "{served} served, {told} told");
}

#[tokio::test]
async fn one_address_cannot_have_all_connections() {
    let (_broker, bridge) = start("max_connections_per_address = 2").await;
    let from = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        Client::builder()
            .no_proxy()
            .local_address(address)
            .build()
            .unwrap()
    };
    let url = format!("http://{}{DOWNLINKS}", bridge.addr());
    let mut streams = Vec::new();
    for _ in 0..2 {
        let stream = from("127.0.0.1").get(&url).send().await.unwrap();
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    // It may be told, or reset before it has read that.
    if let Ok(refused) = from("127.0.0.1").get(&url).send().await {
        assert_eq!(refused.status(), 503);
    }
    let other = from("127.0.0.2").get(&url).send().await.unwrap();
    assert_eq!(other.status(), 200);
    drop(streams);
    let figures = bridge.listener.figures();
    let gone = async || figures.open() <= 1;
    eventually("the streams to be gone", DEADLINE, gone).await;
    assert_eq!(
        from("127.0.0.1").get(&url).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn heads_have_a_size_and_name_one_host() {
    let (_broker, bridge) = start("max_head = \"4KiB\"\nmax_headers = 20").await;
    let get = |more: &str| format!("GET /v1/devices HTTP/1.1\r\n{more}connection: close\r\n\r\n");
    let long = "x".repeat(5_000);
    let many: String = (0..20).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (more, status) in [
        ("host: x\r\n".to_owned(), "200"),
        (format!("host: x\r\nx: {long}\r\n"), "431"),
        (format!("host: x\r\n{many}"), "431"),
        (String::new(), "400"),
        ("host: x\r\nHost: x\r\n".to_owned(), "400"),
        ("host: x y\r\n".to_owned(), "400"),
    ] {
        let answer = raw(bridge.addr(), get(&more).as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{more:.50}: {answer}"
        );
    }
    let answer = raw(bridge.addr(), b"GET /v1/devices HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");

    let client = Client::builder().no_proxy().http2_prior_knowledge();
    let client = client.build().unwrap();
    let url = format!("http://{}/v1/devices", bridge.addr());
    let status = async |request: reqwest::RequestBuilder| Reply::to(request).await.status;
    assert_eq!(status(client.get(&url)).await, 200);
    assert_eq!(status(client.get(&url).header("x", &long)).await, 431);
    let many = (0..20).fold(client.get(&url), |request, n| {
        request.header(format!("x-{n}"), "1")
    });
    assert_eq!(status(many).await, 431);
    assert_eq!(status(client.get(&url)).await, 200);
}
