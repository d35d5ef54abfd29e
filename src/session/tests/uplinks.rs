//! What becomes of uplinks on a connection that holds: confirmed, limited by what the broker takes, expired, paced.

use super::*;

#[tokio::test]
async fn a_lazy_session_connects_on_first_use_and_confirms_what_the_broker_confirmed() {
    let bench = Bench::plain().await;
    assert_eq!(bench.handle.status().state(), State::Idle);
    let (first, second) = (bench.submit("1"), bench.submit("2"));
    let mut peer = Peer::welcome(&bench.listener).await;
    let (one, two) = (peer.publish().await, peer.publish().await);
    assert_eq!(
        (payload(&one), payload(&two)),
        ("1".to_owned(), "2".to_owned())
    );
    assert_eq!(one.content_type.as_deref(), Some("application/json"));
    peer.puback(two.pkid, Reason::NOT_AUTHORIZED).await;
    peer.puback(one.pkid, Reason::NO_MATCHING_SUBSCRIBERS).await;
    assert_eq!(
        within("an outcome", first).await,
        Outcome::Delivered {
            reason: Reason::NO_MATCHING_SUBSCRIBERS
        }
    );
    assert_eq!(
        within("an outcome", second).await,
        Outcome::Refused {
            reason: Reason::NOT_AUTHORIZED,
            text: None
        }
    );
}

#[tokio::test]
async fn qos_0_is_sent_and_qos_2_is_delivered_once_completed() {
    let bench = Bench::plain().await;
    let sent = bench
        .handle
        .submit(
            Publish {
                qos: Qos::AtMostOnce,
                ..publish("0")
            },
            &Default::default(),
        )
        .unwrap();
    let twice = bench
        .handle
        .submit(
            Publish {
                qos: Qos::ExactlyOnce,
                ..publish("2")
            },
            &Default::default(),
        )
        .unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(payload(&peer.publish().await), "0");
    assert_eq!(within("sent", sent).await, Outcome::Sent);
    let pkid = peer.publish().await.pkid;
    peer.send(Packet::Ack(Ack {
        kind: AckKind::PubRec,
        pkid,
        reason: Reason::SUCCESS,
        text: None,
    }))
    .await;
    assert!(
        matches!(peer.next().await, Packet::Ack(Ack { kind: AckKind::PubRel, pkid: p, .. }) if p == pkid)
    );
    peer.send(Packet::Ack(Ack {
        kind: AckKind::PubComp,
        pkid,
        reason: Reason::SUCCESS,
        text: None,
    }))
    .await;
    assert_eq!(within("the outcome", twice).await, DELIVERED);
}

#[tokio::test]
async fn no_more_is_in_flight_than_the_broker_takes() {
    let bench = Bench::plain().await;
    let tickets: Vec<_> = (0..5).map(|n| bench.submit(&n.to_string())).collect();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        receive_maximum: Some(2),
        ..ConnAck::default()
    })
    .await;
    let (first, second) = (peer.publish().await, peer.publish().await);
    let more = tokio::time::timeout(Duration::from_millis(200), peer.publish()).await;
    assert!(
        more.is_err(),
        "a third was sent although the broker takes two"
    );
    for pkid in [first.pkid, second.pkid] {
        peer.puback(pkid, Reason::SUCCESS).await;
    }
    for expected in ["2", "3", "4"] {
        assert_eq!(peer.take().await, expected);
    }
    for ticket in tickets {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
}

#[tokio::test]
async fn what_the_broker_said_it_does_not_take_is_not_sent() {
    let bench = Bench::new(|spec| spec.eager = true).await;
    let mut peer = Peer::accept(&bench.listener).await;
    let limits = ConnAck {
        max_packet_size: Some(40),
        max_qos: Some(1),
        retain_available: Some(false),
        ..ConnAck::default()
    };
    peer.connack(limits).await;
    let cases = [
        (
            Publish {
                payload: "x".repeat(100).into(),
                ..publish("")
            },
            NotSent::TooLarge { limit: 40 },
        ),
        (
            Publish {
                qos: Qos::ExactlyOnce,
                ..publish("")
            },
            NotSent::Qos { highest: 1 },
        ),
        (
            Publish {
                retain: true,
                ..publish("")
            },
            NotSent::Retain,
        ),
    ];
    for (publish, why) in cases {
        let outcome = within(
            "an outcome",
            bench.handle.submit(publish, &Default::default()).unwrap(),
        )
        .await;
        assert_eq!(outcome, Outcome::NotSent(why));
    }
}

#[tokio::test]
async fn what_has_expired_is_not_sent_and_mqtt_5_carries_what_is_left() {
    let bench = Bench::plain().await;
    let expiring = |after| Publish {
        expires_at: Some(Instant::now() + after),
        ..publish("x")
    };
    let over = bench
        .handle
        .submit(expiring(Duration::ZERO), &Default::default())
        .unwrap();
    let last = bench
        .handle
        .submit(expiring(Duration::from_secs(100)), &Default::default())
        .unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "x");
    assert_eq!(within("the first outcome", over).await, Outcome::Expired);
    assert_eq!(within("the second outcome", last).await, DELIVERED);
}

#[tokio::test]
async fn patient_messages_are_paced_and_hold_back_what_is_behind_them() {
    let bench = Bench::new(|spec| spec.pace = Some(Arc::new(Pace::new(10)))).await;
    let mut tickets = vec![bench.submit("direct")];
    for number in 0..6 {
        let text = number.to_string();
        tickets.push(
            bench
                .handle
                .submit_patiently(publish(&text), &Default::default())
                .await
                .unwrap(),
        );
    }
    tickets.push(bench.submit("behind"));
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "direct");
    let start = Instant::now();
    for expected in ["0", "1", "2", "3", "4", "5", "behind"] {
        assert_eq!(peer.take().await, expected);
    }
    // Not a measure of speed: a machine that is slow only makes it longer.
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    for ticket in tickets {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
}
