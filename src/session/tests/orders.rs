//! A running session that is told to be another one, to carry other devices, or to end.

use super::*;

impl Bench {
    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn carry(&self, device: &str) {
        let id = DeviceId::parse(device).unwrap();
        self.control.carry(id, routes_of(device), None);
    }

    fn drop_device(&self, device: &str) {
        self.control.drop_device(DeviceId::parse(device).unwrap());
    }

    async fn has_begun(&self) {
        within("subscriptions", self.handle.status().has_begun()).await;
    }

    fn connects(&self) -> u64 {
        let counters = &self.handle.status().counters;
        counters.connects.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Peer {
    /// Grants the next SUBSCRIBE and tells its filters.
    async fn subscribe(&mut self) -> Vec<String> {
        match self.next().await {
            Packet::Subscribe { pkid, filters } => {
                let reasons = vec![Reason(1); filters.len()];
                self.send(Packet::SubAck { pkid, reasons }).await;
                filters.into_iter().map(|(filter, _)| filter).collect()
            }
            other => panic!("{other:?} instead of SUBSCRIBE"),
        }
    }

    /// Takes the next UNSUBSCRIBE, answers it or not, and tells its filters.
    async fn unsubscribe(&mut self, answer: bool) -> Vec<String> {
        match self.next().await {
            Packet::Unsubscribe { pkid, filters } => {
                if answer {
                    self.send(Packet::UnsubAck { pkid }).await;
                }
                filters
            }
            other => panic!("{other:?} instead of UNSUBSCRIBE"),
        }
    }

    async fn goodbye(&mut self) {
        match self.next().await {
            Packet::Disconnect { reason, .. } => assert_eq!(reason, Reason::SUCCESS),
            other => panic!("{other:?} instead of DISCONNECT"),
        }
    }

    async fn welcome_back(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener).await;
        peer.connack(ConnAck {
            session_present: true,
            ..ConnAck::default()
        })
        .await;
        peer
    }
}

#[tokio::test]
async fn devices_join_and_leave_on_the_connection_that_there_is() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.subscribe().await, ["down/a/#"]);
    bench.has_begun().await;

    bench.carry("b");
    let waiting = bench.handle.status().has_begun();
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
    assert!(early.is_err(), "the broker has not granted it yet");
    assert_eq!(peer.subscribe().await, ["down/b/#"]);
    within("the subscription", waiting).await;

    bench.drop_device("a");
    assert_eq!(peer.unsubscribe(true).await, ["down/a/#"]);
    bench.has_begun().await;
    assert_eq!(bench.connects(), 1);
}

#[tokio::test]
async fn a_device_that_left_while_the_broker_was_away_is_given_up_in_the_session_that_it_kept() {
    let bench = Bench::new(|spec| spec.connect().session_expiry = 100).await;
    bench.carry("b");
    bench.handle.wake();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.subscribe().await, ["down/a/#", "down/b/#"]);
    // The answer to the first attempt never comes.
    bench.drop_device("b");
    assert_eq!(peer.unsubscribe(false).await, ["down/b/#"]);
    drop(peer);
    let mut peer = Peer::welcome_back(&bench.listener).await;
    assert_eq!(peer.unsubscribe(true).await, ["down/b/#"]);
    assert_eq!(peer.subscribe().await, ["down/a/#"]);
    bench.has_begun().await;
    drop(peer);
    let mut peer = Peer::welcome_back(&bench.listener).await;
    assert_eq!(peer.subscribe().await, ["down/a/#"], "nothing is owed");
}

#[tokio::test]
async fn another_connection_takes_over_what_was_not_confirmed_in_its_order() {
    let bench = Bench::plain().await;
    let (first, second) = (bench.submit("1"), bench.submit("2"));
    let mut peer = Peer::welcome(&bench.listener).await;
    let (one, _) = (peer.publish().await, peer.publish().await);
    let mut other = spec(bench.port());
    other.connect().client_id = "other".into();
    bench.control.replace(other);
    // What is in flight is settled, and nothing new is sent.
    let third = bench.submit("3");
    peer.puback(one.pkid, Reason::SUCCESS).await;
    assert_eq!(within("the first", first).await, DELIVERED);
    drop(peer);
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.connect.client_id, "other");
    assert_eq!(peer.take().await, "2");
    assert_eq!(peer.take().await, "3");
    assert_eq!(within("the second", second).await, DELIVERED);
    assert_eq!(within("the third", third).await, DELIVERED);
}

#[tokio::test]
async fn an_idle_connection_says_goodbye_to_its_successor() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    let mut peer = Peer::welcome(&bench.listener).await;
    peer.subscribe().await;
    bench.control.replace(spec(bench.port()));
    peer.goodbye().await;
    Peer::welcome(&bench.listener).await.subscribe().await;
    bench.has_begun().await;
}

#[tokio::test]
async fn what_is_adjusted_needs_no_new_connection() {
    let bench = Bench::plain().await;
    bench.handle.wake();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.subscribe().await, ["down/a/#"]);
    let mut other = spec(bench.port());
    other.routes = Routes::default();
    other
        .routes
        .carry(&DeviceId::parse("a").unwrap(), routes_of("new"));
    bench.control.adjust(other);
    assert_eq!(peer.subscribe().await, ["down/new/#"]);
    assert_eq!(peer.unsubscribe(true).await, ["down/a/#"]);
    bench.has_begun().await;
    assert_eq!(bench.connects(), 1);
}

#[tokio::test]
async fn an_order_interrupts_waiting_for_a_broker_that_does_not_answer() {
    let bench = Bench::plain().await;
    let ticket = bench.submit("1");
    // This one never says CONNACK, which the session would wait for much longer.
    let silent = Peer::accept(&bench.listener).await;
    bench.control.replace(spec(bench.port()));
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "1");
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
    let trouble = bench.handle.status().snapshot().last_trouble;
    assert_eq!(trouble, None, "nobody waited until it was given up");
    drop(silent);

    // The same while it waits to try again.
    let Bench { listener, .. } = &bench;
    drop(peer);
    let refused = Peer::accept(listener).await;
    drop(refused);
    bench.until(State::BackingOff).await;
    bench.control.replace(spec(bench.port()));
    Peer::welcome(listener).await;
}

#[tokio::test]
async fn a_session_that_is_closed_settles_what_is_in_flight_and_gives_back_the_rest() {
    let bench = Bench::new(|spec| spec.window = 1).await;
    let (first, second) = (bench.submit("1"), bench.submit("2"));
    let mut peer = Peer::welcome(&bench.listener).await;
    let one = peer.publish().await;
    bench.control.close();
    peer.puback(one.pkid, Reason::SUCCESS).await;
    assert_eq!(within("the first", first).await, DELIVERED);
    peer.goodbye().await;
    let given_back = Outcome::NotSent(NotSent::Closing);
    assert_eq!(within("the second", second).await, given_back);
    within("the end", bench.task).await.unwrap();
    assert_eq!(bench.handle.status().state(), State::Closed);
}

#[tokio::test]
async fn a_session_that_nobody_needed_yet_ends_and_changes_without_a_connection() {
    let bench = Bench::plain().await;
    let mut other = spec(bench.port());
    other.connect().client_id = "other".into();
    bench.control.replace(other);
    bench.carry("b");
    bench.handle.wake();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.connect.client_id, "other");
    assert_eq!(peer.subscribe().await, ["down/a/#", "down/b/#"]);

    let bench = Bench::plain().await;
    bench.control.close();
    within("the end", bench.task).await.unwrap();
}
