//! A device that leaves its session: its messages leave the queue in any order, and none is overtaken by another one.

use super::*;
use crate::session::Tenure;

#[tokio::test]
async fn nothing_overtakes_what_was_taken_out_of_the_queue_before_it() {
    let bench = Bench::plain().await;
    let leaving = Arc::new(Tenure::default());
    let mut tickets: Vec<_> = ["1", "2", "3"]
        .map(|text| bench.handle.submit(publish(text), &leaving).unwrap())
        .into();
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        receive_maximum: Some(1),
        ..ConnAck::default()
    })
    .await;
    let first = peer.publish().await;
    assert_eq!(payload(&first), "1");

    leaving.end();
    drop(tickets.remove(1));
    let other = bench.submit("another device's");
    peer.puback(first.pkid, Reason::SUCCESS).await;

    let next = peer.publish().await;
    assert_eq!(payload(&next), "another device's");
    peer.puback(next.pkid, Reason::SUCCESS).await;
    assert_eq!(
        within("the first outcome", tickets.remove(0)).await,
        DELIVERED
    );
    assert_eq!(within("the other outcome", other).await, DELIVERED);
    assert_eq!(tickets.remove(0).attempts(), 0);
}

#[tokio::test]
async fn what_was_sent_is_not_sent_again_on_another_connection() {
    let bench = Bench::plain().await;
    let leaving = Arc::new(Tenure::default());
    let sent = bench.handle.submit(publish("1"), &leaving).unwrap();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(payload(&peer.publish().await), "1");
    leaving.end();
    drop(peer);
    let other = bench.submit("another device's");
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "another device's");
    assert_eq!(within("the other outcome", other).await, DELIVERED);
    assert_eq!(sent.attempts(), 1);
}
