//! The main listener as its clients meet it: HTTPS and HTTP/2, client certificates, and clients that are slow, many, or
//! do not speak HTTP as they should.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway::bridge::{listener_settings, raise_open_files};
use futures_util::future::join_all;
use reqwest::{Client, ClientBuilder, Method, Response, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::{TestBridge, config};
use crate::harness::certificates::{Authority, Identity};
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply, raw};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::shell::paste;

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";
const DOWNLINKS: &str = "/v1/devices/pump-1/downlinks";

/// A bridge with one device, and these lines under `[http]`.
async fn start(http: &str) -> (Mosquitto, TestBridge) {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::with_http(http, &device(&broker)).await;
    (broker, bridge)
}

fn device(broker: &Mosquitto) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\n[devices.pump-1]\nconnector = \"local\"\n",
        broker.addr()
    )
}

/// The same over HTTPS, with `client` as its client.
async fn start_secure(
    server: &Identity,
    more: &str,
    client: ClientBuilder,
) -> (Mosquitto, TestBridge) {
    let (broker, mut bridge) = start(&(certificate(server) + more)).await;
    bridge.http = Http::secure(bridge.addr(), client);
    (broker, bridge)
}

fn certificate(server: &Identity) -> String {
    let Identity {
        certificate_file,
        key_file,
    } = server;
    format!("tls_certificate_file = {certificate_file:?}\ntls_key_file = {key_file:?}\n")
}

async fn posted(http: &Http) -> Reply {
    http.post(UPLINKS, "text/plain", "1").await
}

/// An open stream of downlinks.
async fn listen(http: &Http) -> Response {
    let request = http.request(Method::GET, DOWNLINKS);
    let response = request.header("accept", "text/event-stream").send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// Reads until `text` has come.
async fn until(stream: &mut Response, text: &str) {
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = timeout(DEADLINE, stream.chunk()).await;
        let chunk = chunk.expect(text).unwrap();
        let chunk = chunk.unwrap_or_else(|| panic!("the stream ended: {read}"));
        read += &String::from_utf8_lossy(&chunk);
    }
}

/// Reads to the end, which must be one, and no break.
async fn until_the_end(mut stream: Response) {
    let rest = async { while stream.chunk().await.unwrap().is_some() {} };
    timeout(DEADLINE, rest).await.expect("the stream's end");
}

#[tokio::test]
async fn uplinks_and_downlinks_over_https_with_both_protocols() {
    let authority = Authority::new("Plant CA");
    let client = authority.trusting_client();
    let (broker, bridge) = start_secure(&authority.server(), "", client).await;
    let old = authority.trusting_client().http1_only();
    let old = Http::secure(bridge.addr(), old);
    let mut streams = Vec::new();
    for (http, version) in [(&bridge.http, Version::HTTP_2), (&old, Version::HTTP_11)] {
        let reply = posted(http).await;
        assert_eq!((reply.status, reply.version), (200, version));
        // Six streams, as many as a browser has connections for, are no obstacle to an uplink.
        let opened = join_all((0..6).map(|_| listen(http))).await;
        assert_eq!(opened[0].version(), version);
        assert_eq!(posted(http).await.status, 200);
        streams.extend(opened);
    }
    let mut message = Message::new("devices/pump-1/down/settings", "on");
    message.retain = true;
    broker.access().publish(&message).await.accepted();
    for stream in &mut streams {
        until(stream, "\"payload\":\"on\"").await;
    }
    let ends = join_all(streams.into_iter().map(until_the_end));
    let (_, _) = tokio::join!(ends, bridge.stop());
}

#[tokio::test]
async fn prior_knowledge_of_http_2_is_enough_in_plain_text() {
    let (_broker, bridge) = start("").await;
    let client = Client::builder().no_proxy().http2_prior_knowledge();
    let client = client.build().unwrap();
    let url = format!("http://{}{UPLINKS}", bridge.addr());
    let reply = Reply::to(
        client
            .post(url)
            .header("content-type", "text/plain")
            .body("1"),
    )
    .await;
    assert_eq!((reply.status, reply.version), (200, Version::HTTP_2));
}

#[tokio::test]
async fn tls_sessions_are_taken_up_again() {
    let authority = Authority::new("Plant CA");
    let client = authority.trusting_client();
    let (_broker, bridge) = start_secure(&authority.server(), "", client).await;
    let command = format!(
        "openssl s_client -connect {} -CAfile {:?} -tls1_2 -reconnect </dev/null 2>&1 | grep -c '^Reused, TLSv1.2'",
        bridge.addr(),
        authority.ca_file()
    );
    assert_eq!(paste(&command).await, "5");
}

#[tokio::test]
async fn the_wrong_protocol_is_told_so_or_nothing_and_never_garbage() {
    let authority = Authority::new("Plant CA");
    let client = authority.trusting_client();
    let (_broker, bridge) = start_secure(&authority.server(), "", client).await;
    for sent in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let answer = raw(bridge.addr(), sent.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("Write https:// instead of http://.\n"));
    }
    assert_eq!(raw(bridge.addr(), b"\0\x01\x02\x03").await, "");
    assert_eq!(posted(&bridge.http).await.status, 200);

    let (_broker, plain) = start("").await;
    let https = Http::secure(plain.addr(), authority.trusting_client());
    assert!(https.request(Method::GET, "/").send().await.is_err());
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    assert_eq!(raw(plain.addr(), hello).await, "");
    assert_eq!(posted(&plain.http).await.status, 200);
}

/// What curl says: the status, or `000` where there was no answer.
async fn curl(addr: SocketAddr, authority: &Authority, identity: Option<&Identity>) -> String {
    let show = |identity: &Identity| {
        let Identity {
            certificate_file,
            key_file,
        } = identity;
        format!("--cert {certificate_file:?} --key {key_file:?}")
    };
    let ca = authority.ca_file();
    let identity = identity.map(show).unwrap_or_default();
    let url = format!("https://{addr}/v1/devices");
    paste(&format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' --cacert {ca:?} {identity} {url} 2>&1 || true"
    ))
    .await
}

#[tokio::test]
async fn clients_show_certificates_where_they_must_and_where_they_may() {
    let (authority, other) = (Authority::new("Plant CA"), Authority::new("Other CA"));
    let (known, stranger) = (authority.client("gateway"), other.client("gateway"));
    for (word, nobody) in [("required", false), ("optional", true)] {
        let more = format!(
            "client_ca_file = {:?}\nclient_certificates = \"{word}\"\n",
            authority.ca_file()
        );
        let client = authority.trusting_client().identity(known.of_client());
        let (_broker, bridge) = start_secure(&authority.server(), &more, client).await;
        let addr = bridge.addr();
        assert_eq!(posted(&bridge.http).await.status, 200);
        assert_eq!(curl(addr, &authority, Some(&known)).await, "200");
        let refused = curl(addr, &authority, Some(&stranger)).await;
        assert!(refused.ends_with("000"), "{refused}");
        let without = curl(addr, &authority, None).await;
        assert_eq!(without == "200", nobody, "{without}");
        assert_eq!(posted(&bridge.http).await.status, 200);
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_under_open_streams() {
    let (old, new) = (Authority::new("Old CA"), Authority::new("New CA"));
    let server = old.server();
    let (broker, bridge) = start_secure(&server, "", old.trusting_client()).await;
    let text = certificate(&server) + &device(&broker);
    let mut stream = listen(&bridge.http).await;
    until(&mut stream, "retry: ").await;
    let of_new = || Http::secure(bridge.addr(), new.trusting_client());
    assert!(of_new().request(Method::GET, "/").send().await.is_err());

    let read = || {
        let text = format!("[http]\n{text}");
        listener_settings(&config(&text, "".as_ref()))
    };
    // One that cannot be used is an error that names it, and changes nothing.
    std::fs::copy(new.server().certificate_file, &server.certificate_file).unwrap();
    let error = read().unwrap_err().to_string();
    let file = server.certificate_file.display().to_string();
    assert!(error.starts_with("http.tls_certificate_file: "), "{error}");
    assert!(
        error.contains("do not belong together") && error.contains(&file),
        "{error}"
    );
    let again = Http::secure(bridge.addr(), old.trusting_client());
    assert_eq!(posted(&again).await.status, 200);

    let renewed = new.server();
    std::fs::copy(renewed.certificate_file, &server.certificate_file).unwrap();
    std::fs::copy(renewed.key_file, &server.key_file).unwrap();
    bridge.listener.replace(read().unwrap().0);
    assert_eq!(posted(&of_new()).await.status, 200);
    let again = Http::secure(bridge.addr(), old.trusting_client());
    assert!(again.request(Method::GET, "/").send().await.is_err());
    // The connection of the stream goes on, for new requests, too.
    assert_eq!(posted(&bridge.http).await.status, 200);
    let mut message = Message::new("devices/pump-1/down/settings", "on");
    message.retain = true;
    broker.access().publish(&message).await.accepted();
    until(&mut stream, "\"payload\":\"on\"").await;
}

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

#[tokio::test]
async fn a_page_may_send_what_its_origin_may_and_see_what_it_needs() {
    let (_broker, bridge) = start("cors_origins = [\"https://plant.example\"]").await;
    let page =
        |method, path, origin: &str| bridge.http.request(method, path).header("origin", origin);
    let preflight = page(Method::OPTIONS, UPLINKS, "https://plant.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    let preflight = Reply::to(preflight).await;
    assert_eq!(preflight.status, 204);
    for (header, word) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-headers", "idempotency-key"),
    ] {
        assert!(preflight.header(header).contains(word), "{header}");
    }
    let send = |origin: &str| page(Method::POST, UPLINKS, origin).body("1");
    let sent = Reply::to(send("https://plant.example")).await;
    assert_eq!(sent.status, 200);
    assert_eq!(
        sent.header("access-control-allow-origin"),
        "https://plant.example"
    );
    assert!(
        sent.header("access-control-expose-headers")
            .contains("location")
    );
    let own = format!("http://{}", bridge.addr());
    assert_eq!(Reply::to(send(&own)).await.status, 200);
    let refused = Reply::to(send("https://evil.example")).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("access-control-allow-origin"), "");
    assert!(refused.text().contains("cors_origins"));
}
