//! How a session begins, is renewed, and ends.

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

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_nothing_is_lost_or_reordered() {
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let spec = TokenSpec {
        audience: "x".to_owned(),
        lifetime: Duration::from_secs(1),
        kid: None,
        claims: serde_json::Map::new(),
    };
    let bench = Bench::new(|s| {
        let key = TokenKey {
            id: "a".into(),
            key: Arc::new(key.into()),
        };
        let kid = TokenKid::Fixed(None);
        s.connect().password = Password::Token(Box::new(TokenSource::fixed(spec, kid, key)));
    })
    .await;
    let handle = bench.handle.clone();
    let feeder = tokio::spawn(async move {
        for number in 0u32.. {
            match handle.submit(publish(&number.to_string()), &Default::default()) {
                Ok(ticket) => assert_eq!(within("an outcome", ticket).await, DELIVERED),
                Err(SubmitError::Closed) => return,
                Err(SubmitError::Full) => panic!("full"),
            }
        }
    });
    let mut expected = 0;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let mut peer = Peer::welcome(&bench.listener).await;
        tokens.push(peer.connect.password.clone().unwrap().expose().to_owned());
        loop {
            match peer.next().await {
                Packet::Publish(publish) => {
                    assert_eq!(payload(&publish), expected.to_string());
                    expected += 1;
                    peer.puback(publish.pkid, Reason::SUCCESS).await;
                }
                Packet::Subscribe { .. } => {}
                Packet::Disconnect {
                    reason: Reason::SUCCESS,
                    ..
                } => break,
                other => panic!("{other:?}"),
            }
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "every CONNECT has a token of its own");
    assert!(expected > 0);
    feeder.abort();
}

#[tokio::test]
async fn the_shutdown_settles_what_is_in_flight_and_says_goodbye() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    let mut peer = Peer::welcome(&bench.listener).await;
    let pkid = peer.publish().await.pkid;
    bench.shutdown.cancel();
    peer.puback(pkid, Reason::SUCCESS).await;
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
    assert_eq!(
        peer.next().await,
        Packet::Disconnect {
            reason: Reason::SUCCESS,
            text: None
        }
    );
    within("the end", bench.task).await.unwrap();
    assert_eq!(
        bench.handle.submit(publish("2"), &Default::default()).err(),
        Some(SubmitError::Closed)
    );
}
