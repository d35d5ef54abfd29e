//! The broker is as strict as it was asked to be.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::access::{Access, Message, Version};
use super::super::certificates::Authority;
use super::super::subscriber::Subscriber;
use super::*;

#[tokio::test]
async fn what_a_client_publishes_the_observer_sees_whole() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["a/#", "b"]).await;
    let message = Message {
        content_type: Some("text/plain".into()),
        user_properties: vec![("traceparent".into(), "00-1".into())],
        ..Message::new("a/b", *b"line\nwith\ttab\0and\xff")
    };
    broker.access().publish(&message).await.accepted();
    let zero = Message {
        qos: 0,
        ..Message::new("b", "old")
    };
    let old = broker.access().version(Version::V311);
    assert_eq!(old.publish(&zero).await.puback, None);
    assert_eq!(observer.wait_count(2).await, [message, zero.clone()]);
    assert_eq!(observer.messages()[1].text(), "old");
    let access = broker.access().client_id("sensor-1");
    access.publish(&zero).await;
    broker.log().wait_for("as sensor-1 (p5").await;
}

#[tokio::test]
async fn tls_and_passwords_keep_strangers_out() {
    let authority = Authority::new("Test CA");
    let broker = Mosquitto::builder()
        .tls(&authority)
        .user("causeway", "let me in")
        .max_inflight(5)
        .start()
        .await;
    let message = Message::new("a", "b");
    let right = broker.tls_access().user("causeway", "let me in");
    right.publish(&message).await.accepted();

    let wrong = broker.tls_access().user("causeway", "wrong");
    for stranger in [wrong, broker.tls_access(), broker.access()] {
        let said = stranger.publish(&message).await;
        assert_eq!(said.puback, None);
        assert!(
            said.output.contains("Not authorized") || said.output.contains("not authorised"),
            "{said:?}"
        );
    }
    let elsewhere = Authority::new("Other CA");
    let untrusting = Access::new(broker.tls_addr()).tls(&elsewhere.ca_file());
    let said = untrusting.publish(&message).await;
    assert!(
        said.output.contains("certificate verify failed"),
        "{said:?}"
    );
}

#[tokio::test]
async fn an_acl_denies_by_reason_code_with_mqtt_5_and_silently_with_3() {
    let broker = Mosquitto::builder()
        .acl("topic readwrite open/#\n")
        .start()
        .await;
    let (open, closed) = (Message::new("open/a", "b"), Message::new("closed", "b"));
    broker.access().publish(&open).await.accepted();
    assert_eq!(broker.access().publish(&closed).await.puback, Some(0x87));
    let old = broker.access().version(Version::V311);
    assert_eq!(old.publish(&closed).await.puback, Some(0));
}

#[tokio::test]
async fn a_client_certificate_can_be_demanded_and_be_the_user_name() {
    let authority = Authority::new("Test CA");
    let message = Message::new("of/sensor-1", "x");
    let broker = Mosquitto::builder()
        .tls(&authority)
        .client_certificates(CertificateUse::UserName)
        .acl("pattern readwrite of/%u\n")
        .start()
        .await;
    let of = |name| broker.tls_access().identity(authority.client(name));
    of("sensor-1").publish(&message).await.accepted();
    let foreign = of("sensor-2").publish(&message).await;
    assert_eq!(foreign.puback, Some(0x87), "{foreign:?}");
    assert_eq!(broker.tls_access().publish(&message).await.puback, None);

    let broker = Mosquitto::builder()
        .tls_with(&authority, authority.server())
        .client_certificates(CertificateUse::Demand)
        .start()
        .await;
    let anybody = broker.tls_access().identity(authority.client("anybody"));
    anybody.publish(&message).await.accepted();
    assert_eq!(broker.tls_access().publish(&message).await.puback, None);
}

#[tokio::test]
async fn a_killed_broker_comes_back_on_its_port_with_its_sessions() {
    let mut broker = Mosquitto::builder().persistent().start().await;
    let observer = broker.access().client_id("observer");
    let observer = Subscriber::persistent(&observer, &["#"]).await;
    let message = Message {
        retain: true,
        ..Message::new("kept", "1")
    };
    broker.access().publish(&message).await.accepted();
    observer.wait_count(1).await;

    broker.save().await;
    broker.kill9();
    let refused = broker.access().publish(&message).await;
    assert!(refused.output.contains("refused"), "{refused:?}");
    broker.restart().await;
    let second = Message::new("kept", "2");
    broker.access().publish(&second).await.accepted();
    let seen = |messages: &[Message]| messages.iter().any(|m| m.text() == "2");
    observer.wait_until("the second message", seen).await;

    let late = Subscriber::start(&broker.access(), &["kept"]).await;
    let retained = late.wait_count(1).await;
    assert!(retained[0].retain && retained[0].text() == "1");
    broker.stop().await;
    assert_eq!(broker.access().publish(&second).await.puback, None);
}

#[tokio::test]
async fn it_speaks_websockets() {
    let broker = Mosquitto::builder().websockets().start().await;
    let request = "GET /mqtt HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: mqtt\r\n\r\n";
    let mut stream = TcpStream::connect(broker.websockets_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 101");
}
