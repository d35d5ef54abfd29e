//! A message that the broker hangs up over, and one that only looks so.

use super::*;

#[tokio::test]
async fn a_message_that_the_broker_hangs_up_over_is_set_aside_and_blocks_nobody() {
    let bench = Bench::plain().await;
    let (poison, other) = (bench.submit("poison"), bench.submit("other"));
    let mut alone = 0;
    let mut peer = loop {
        let mut peer = Peer::welcome(&bench.listener).await;
        let first = match peer.next_but_subscribe().await {
            Packet::PingReq => {
                peer.send(Packet::PingResp).await;
                alone += 1;
                peer.publish().await
            }
            Packet::Publish(publish) => publish,
            other => panic!("{other:?}"),
        };
        if payload(&first) != "poison" {
            peer.puback(first.pkid, Reason::SUCCESS).await;
            break peer;
        }
    };
    assert_eq!(alone, 2, "tried alone before it is set aside");
    let outcome = within("the outcome", poison).await;
    assert!(
        matches!(
            outcome,
            Outcome::Refused {
                reason: Reason::UNSPECIFIED,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(within("the other outcome", other).await, DELIVERED);
    let next = bench.submit("next");
    assert_eq!(peer.take().await, "next");
    assert_eq!(within("the next outcome", next).await, DELIVERED);
}

#[tokio::test]
async fn a_message_that_is_innocent_is_delivered_when_it_is_tried_alone() {
    let bench = Bench::plain().await;
    let tickets = [bench.submit("1"), bench.submit("2")];
    for _ in 0..3 {
        let mut peer = Peer::welcome(&bench.listener).await;
        assert_eq!(payload(&peer.publish().await), "1");
    }
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.next_but_subscribe().await, Packet::PingReq);
    peer.send(Packet::PingResp).await;
    assert_eq!(
        (peer.take().await, peer.take().await),
        ("1".to_owned(), "2".to_owned())
    );
    for ticket in tickets {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
}
