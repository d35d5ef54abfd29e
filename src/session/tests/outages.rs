//! A connection that is lost: what is sent again, in which order, and what is not.

use super::*;

#[tokio::test]
async fn what_was_unconfirmed_when_the_connection_broke_is_sent_again_first_and_in_order() {
    let bench = Bench::plain().await;
    let tickets: Vec<_> = ["1", "2", "3"].map(|text| bench.submit(text)).into();
    let mut peer = Peer::welcome(&bench.listener).await;
    let first = peer.publish().await;
    peer.publish().await;
    peer.puback(first.pkid, Reason::SUCCESS).await;
    let mut tickets = tickets.into_iter();
    assert_eq!(
        within("the first", tickets.next().unwrap()).await,
        DELIVERED
    );
    drop(peer);
    let later = bench.submit("4");
    let mut peer = Peer::welcome(&bench.listener).await;
    let again = peer.publish().await;
    assert_eq!(
        (payload(&again).as_str(), again.dup),
        ("2", false),
        "a new session has nothing to repeat"
    );
    peer.puback(again.pkid, Reason::SUCCESS).await;
    assert_eq!(
        (peer.take().await, peer.take().await),
        ("3".to_owned(), "4".to_owned())
    );
    for ticket in tickets.chain([later]) {
        assert_eq!(within("the rest", ticket).await, DELIVERED);
    }
}

#[tokio::test]
async fn in_a_session_that_the_broker_kept_the_same_identifier_is_repeated_with_dup() {
    let bench = Bench::new(|spec| spec.connect().session_expiry = 60).await;
    let ticket = bench.submit("1");
    let mut peer = Peer::welcome(&bench.listener).await;
    assert!(!peer.connect.clean_start && peer.connect.session_expiry == 60);
    let first = peer.publish().await;
    drop(peer);
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(ConnAck {
        session_present: true,
        ..ConnAck::default()
    })
    .await;
    let again = peer.publish().await;
    assert_eq!((again.pkid, again.dup), (first.pkid, true));
    peer.puback(again.pkid, Reason::SUCCESS).await;
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_sent_again() {
    let bench = Bench::plain().await;
    let (given_up, other) = (bench.submit("given up"), bench.submit("other"));
    let mut peer = Peer::welcome(&bench.listener).await;
    peer.publish().await;
    peer.publish().await;
    assert_eq!(given_up.withdraw(), Withdrawn::Unconfirmed);
    drop(peer);
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "other");
    assert_eq!(within("the outcome", other).await, DELIVERED);
}

#[tokio::test]
async fn messages_withdrawn_during_an_outage_are_never_sent_and_make_room() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    drop(Peer::accept(&bench.listener).await);
    bench.until(State::BackingOff).await;
    for _ in 0..100 {
        let ticket = bench.submit_once_there_is_room("withdrawn").await;
        assert_eq!(ticket.withdraw(), Withdrawn::NotSent);
    }
    let last = bench.submit_once_there_is_room("last").await;
    assert_eq!(Peer::welcome(&bench.listener).await.take().await, "last");
    assert_eq!(within("the outcome", last).await, DELIVERED);
}
