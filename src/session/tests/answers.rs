//! What a session tells of the broker's answers to those who ask.

use super::*;

#[tokio::test]
async fn what_the_broker_answered_is_known_and_whose_subscription_it_refuses() {
    let bench = Bench::plain().await;
    let (status, device) = (bench.handle.status(), DeviceId::parse("a").unwrap());
    assert!(status.snapshot().last_answer.is_none());
    bench.handle.retry();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        reason: Reason::USE_ANOTHER_SERVER,
        server_reference: Some("other.example".to_owned()),
        ..ConnAck::default()
    })
    .await;
    within("the refusal", status.attempted(0)).await;
    let answer = status.snapshot().last_answer.unwrap();
    assert_eq!(
        (answer.version, answer.ack.reason.0),
        (MqttVersion::V5, 0x9C)
    );
    assert_eq!(
        answer.ack.server_reference.as_deref(),
        Some("other.example")
    );

    let mut peer = Peer::welcome(&bench.listener).await;
    within("the connection", status.attempted(1)).await;
    assert!(!status.snapshot().last_answer.unwrap().ack.reason.is_error());
    let Packet::Subscribe { pkid, .. } = peer.next().await else {
        panic!("no SUBSCRIBE");
    };
    let reasons = vec![Reason::NOT_AUTHORIZED];
    peer.send(Packet::SubAck { pkid, reasons }).await;
    within("the subscription", status.has_begun()).await;
    let refused = status.refused_subscription(&device);
    assert_eq!(refused, Some(Reason::NOT_AUTHORIZED));

    // What one connection is refused says nothing of the next.
    drop(peer);
    Peer::welcome(&bench.listener).await;
    within("another connection", status.attempted(3)).await;
    assert_eq!(status.refused_subscription(&device), None);
}

#[tokio::test]
async fn a_session_has_begun_when_its_subscriptions_are_answered() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    let status = Arc::clone(bench.handle.status());
    let begun = tokio::spawn(async move { status.has_begun().await });
    let mut peer = Peer::welcome(&bench.listener).await;
    let Packet::Subscribe { pkid, .. } = peer.next().await else {
        panic!("no SUBSCRIBE");
    };
    assert!(!begun.is_finished());
    peer.send(Packet::SubAck {
        pkid,
        reasons: vec![Reason(1)],
    })
    .await;
    within("the beginning", begun).await.unwrap();
}
