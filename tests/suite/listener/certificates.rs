//! Certificates: the clients' own, and the listener's when it is replaced.

use std::net::SocketAddr;

use causeway::bridge::listener_settings;
use reqwest::Method;

use super::{certificate, listen, posted, start_secure, until};
use crate::harness::access::Message;
use crate::harness::bridge::{config, pump};
use crate::harness::certificates::{Authority, Identity};
use crate::harness::http::Http;
use crate::harness::shell::paste;

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
    let text = certificate(&server) + &pump(broker.addr());
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
