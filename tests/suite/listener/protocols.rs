//! HTTPS and HTTP/2 beside plain HTTP/1.1, and what neither of them is.

use futures_util::future::join_all;
use reqwest::{Client, Method, Version};

use super::{UPLINKS, listen, posted, start, start_secure, until, until_the_end};
use crate::harness::access::Message;
use crate::harness::certificates::Authority;
use crate::harness::http::{Http, Reply, raw};
use crate::harness::shell::paste;

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
