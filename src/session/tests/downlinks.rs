//! Downlinks: acknowledged in order, and only when they are taken.

use super::*;

impl Bench {
    async fn given(&mut self) -> Given {
        within("downlinks", self.given.recv()).await.unwrap()
    }
}

impl Peer {
    async fn downlink(&mut self, pkid: u16) {
        self.downlink_on("down/a/set/led", pkid).await;
    }

    /// A downlink whose payload is its packet identifier; 0 is QoS 0.
    async fn downlink_on(&mut self, topic: &str, pkid: u16) {
        let qos = match pkid {
            0 => Qos::AtMostOnce,
            _ => Qos::AtLeastOnce,
        };
        self.send(Packet::Publish(packet::Publish {
            dup: false,
            qos,
            retain: false,
            topic: topic.to_owned(),
            pkid,
            payload: pkid.to_string().into(),
            content_type: Some("text/plain".to_owned()),
        }))
        .await;
    }

    async fn acknowledged(&mut self) -> u16 {
        loop {
            match self.next().await {
                Packet::Ack(Ack {
                    kind: AckKind::PubAck,
                    pkid,
                    reason: Reason::SUCCESS,
                    ..
                }) => return pkid,
                Packet::Subscribe { .. } => {}
                other => panic!("{other:?} instead of PUBACK"),
            }
        }
    }

    /// An uplink and its confirmation: whatever the session had sent before has come by then.
    async fn round_trip(&mut self, bench: &Bench) {
        let ticket = bench.submit("round trip");
        assert_eq!(self.take().await, "round trip");
        assert_eq!(within("the outcome", ticket).await, DELIVERED);
    }
}

async fn connected(change: impl FnOnce(&mut SessionSpec)) -> (Bench, Peer) {
    let bench = Bench::new(change).await;
    bench.handle.wake();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert!(
        matches!(peer.next().await, Packet::Subscribe { filters, .. } if filters[0].0 == "down/a/#")
    );
    (bench, peer)
}

#[tokio::test]
async fn downlinks_find_their_device_and_are_acknowledged_when_they_are_taken() {
    let (mut bench, mut peer) = connected(|_| {}).await;
    peer.downlink(77).await;
    let given = bench.given().await;
    let downlink = &given.downlinks[0];
    assert_eq!(
        (downlink.device.as_str(), &*downlink.topic),
        ("a", "set/led")
    );
    assert_eq!(&downlink.payload[..], b"77");
    // Uplinks go on meanwhile, and no acknowledgement is among them.
    peer.round_trip(&bench).await;
    peer.round_trip(&bench).await;
    given.take();
    assert_eq!(peer.acknowledged().await, 77);
}

#[tokio::test]
async fn what_comes_while_a_batch_is_stored_is_the_next_batch() {
    let (mut bench, mut peer) = connected(|_| {}).await;
    peer.downlink(1).await;
    let first = bench.given().await;
    peer.downlink(2).await;
    peer.downlink_on("nobody/listens/here", 3).await;
    peer.downlink(0).await;
    peer.downlink(4).await;
    peer.round_trip(&bench).await;
    first.take();
    assert_eq!(peer.acknowledged().await, 1);
    let second = bench.given().await;
    assert_eq!(second.payloads(), ["2", "0", "4"]);
    peer.round_trip(&bench).await;
    second.take();
    for pkid in [2, 3, 4] {
        assert_eq!(peer.acknowledged().await, pkid);
    }
}

#[tokio::test]
async fn what_was_not_taken_is_not_acknowledged_and_tried_again_in_order() {
    let (mut bench, mut peer) = connected(|_| {}).await;
    peer.downlink(1).await;
    bench.given().await.refuse();
    peer.downlink(2).await;
    for _ in 0..2 {
        let again = bench.given().await;
        assert_eq!(again.payloads(), ["1"]);
        peer.round_trip(&bench).await;
        again.refuse();
    }
    let trouble = bench.handle.status().snapshot().last_trouble.unwrap();
    assert!(trouble.what.contains("the disk is full"), "{trouble:?}");
    bench.given().await.take();
    assert_eq!(peer.acknowledged().await, 1);
    bench.given().await.take();
    assert_eq!(peer.acknowledged().await, 2);
}

#[tokio::test]
async fn nothing_is_acknowledged_for_a_connection_that_has_ended() {
    let (mut bench, mut peer) = connected(|spec| spec.connect().session_expiry = 60).await;
    peer.downlink(1).await;
    let given = bench.given().await;
    drop(peer);
    let mut peer = Peer::welcome(&bench.listener).await;
    // It may be dropped: nobody waits for it any more.
    let _ = given.answer.send(Ok(()));
    peer.downlink(2).await;
    bench.given().await.take();
    assert_eq!(peer.acknowledged().await, 2);
}

#[tokio::test]
async fn the_end_waits_for_what_has_come_and_leaves_what_comes_later_to_the_next_connection() {
    let (mut bench, mut peer) = connected(|spec| spec.connect().session_expiry = 60).await;
    peer.downlink(1).await;
    let first = bench.given().await;
    peer.downlink(2).await;
    peer.round_trip(&bench).await;
    bench.shutdown.cancel();
    // All run in one thread, and the session is the next to run.
    tokio::task::yield_now().await;
    peer.downlink(3).await;
    first.take();
    assert_eq!(peer.acknowledged().await, 1);
    let second = bench.given().await;
    assert_eq!(second.payloads(), ["2"]);
    second.take();
    assert_eq!(peer.acknowledged().await, 2);
    assert!(matches!(peer.next().await, Packet::Disconnect { .. }));
    within("the end", bench.task).await.unwrap();
    assert!(bench.given.recv().await.is_none(), "3 was taken");
}

#[tokio::test]
async fn qos_0_gives_way_while_nothing_can_be_stored() {
    let (mut bench, mut peer) = connected(|_| {}).await;
    peer.downlink(1).await;
    bench.given().await.refuse();
    let stuck = bench.given().await;
    peer.downlink(2).await;
    for _ in 0..5000 {
        peer.downlink(0).await;
    }
    peer.round_trip(&bench).await;
    stuck.take();
    assert_eq!(peer.acknowledged().await, 1);
    let next = bench.given().await;
    assert_eq!(next.payloads()[0], "2");
    assert!(next.downlinks.len() < 2000, "{}", next.downlinks.len());
    let dropped = &bench.handle.status().counters.downlinks_dropped;
    let dropped = dropped.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(dropped as usize + next.downlinks.len(), 5001);
}

#[tokio::test]
async fn a_slow_sink_holds_up_the_broker_and_nothing_is_lost() {
    let (mut bench, mut peer) = connected(|_| {}).await;
    let sending = tokio::spawn(async move {
        for _ in 0..10_000 {
            peer.downlink(0).await;
        }
        peer
    });
    let mut count = 0;
    while count < 10_000 {
        let given = bench.given().await;
        assert!(given.downlinks.len() < 3000, "{}", given.downlinks.len());
        count += given.downlinks.len();
        given.take();
    }
    sending.await.unwrap();
}
