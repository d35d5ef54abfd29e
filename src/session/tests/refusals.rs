//! A broker that does not let the session in, or puts it out.

use super::*;

#[tokio::test]
async fn refused_credentials_are_told_at_once() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::NOT_AUTHORIZED,
        text: Some("no such key".to_owned()),
        ..ConnAck::default()
    })
    .await;
    let refused = NotSent::ConnectionRefused {
        reason: Reason::NOT_AUTHORIZED,
        text: Some("no such key".into()),
    };
    assert_eq!(
        within("the outcome", ticket).await,
        Outcome::NotSent(refused.clone())
    );
    assert_eq!(bench.handle.status().state(), State::Refused);
    assert_eq!(
        within("the next outcome", bench.submit("2")).await,
        Outcome::NotSent(refused)
    );
}

#[tokio::test]
async fn a_patient_message_outlives_a_refused_connection() {
    let bench = Bench::plain().await;
    let patient = bench
        .handle
        .submit_patiently(publish("patient"), &Default::default())
        .await
        .unwrap();
    let turned = bench.submit("turned patient");
    turned.make_patient();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::NOT_AUTHORIZED,
        ..ConnAck::default()
    })
    .await;
    bench.until(State::Refused).await;
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "patient");
    assert_eq!(peer.take().await, "turned patient");
    assert_eq!(within("the outcome", patient).await, DELIVERED);
    assert_eq!(within("the outcome", turned).await, DELIVERED);
}

#[tokio::test]
async fn a_takeover_is_recognised() {
    let bench = Bench::new(|spec| spec.eager = true).await;
    let mut peer = Peer::welcome(&bench.listener).await;
    bench.until(State::Connected).await;
    peer.send(Packet::Disconnect {
        reason: Reason::SESSION_TAKEN_OVER,
        text: None,
    })
    .await;
    bench.until(State::TakenOver).await;
    let trouble = bench.handle.status().snapshot().last_trouble.unwrap();
    assert!(trouble.what.contains("session taken over"), "{trouble:?}");
}

#[tokio::test]
async fn a_broker_that_refuses_mqtt_5_gets_3_1_1() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    assert_eq!(peer.codec.version, MqttVersion::V5);
    peer.stream.write_all(&[0x20, 2, 0, 1]).await.unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.codec.version, MqttVersion::V311);
    assert_eq!(peer.take().await, "1");
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
    let csv = Publish {
        content_type: ContentType::parse("text/csv").ok(),
        ..publish("a,b")
    };
    let outcome = within(
        "the outcome",
        bench.handle.submit(csv, &Default::default()).unwrap(),
    )
    .await;
    assert_eq!(outcome, Outcome::NotSent(NotSent::ContentType));
}

#[tokio::test]
async fn a_version_that_was_written_down_is_kept() {
    let bench =
        Bench::new(|spec| spec.connect().version = VersionChoice::new(Some(MqttVersion::V5))).await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::UNSUPPORTED_PROTOCOL_VERSION,
        ..ConnAck::default()
    })
    .await;
    let why = NotSent::ConnectionRefused {
        reason: Reason::UNSUPPORTED_PROTOCOL_VERSION,
        text: None,
    };
    assert_eq!(within("the outcome", ticket).await, Outcome::NotSent(why));
}
