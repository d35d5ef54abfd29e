//! Which of many sessions connects first.

use std::sync::atomic::Ordering;

use super::*;

/// Sessions that share a gate through which one at a time gets, and the broker that they connect to.
struct Crowd {
    listener: TcpListener,
    shared: Shared,
}

impl Crowd {
    async fn new() -> Self {
        let gate = Arc::new(ConnectGate::new(1000, 1));
        let shared = Shared {
            gate,
            ..Shared::for_tests()
        };
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            shared,
        }
    }

    fn session(&self, name: &str) -> SessionHandle {
        let mut spec = spec(self.listener.local_addr().unwrap().port());
        spec.connect().client_id = name.into();
        spec.eager = true;
        let (session, handle, _) = Session::new(spec, &self.shared);
        tokio::spawn(session.run(self.shared.clone()));
        handle
    }

    /// Lets the next one in and gives its name.
    async fn next(&self) -> (String, Peer) {
        let mut peer = Peer::accept(&self.listener).await;
        let name = peer.connect.client_id.clone();
        peer.connack(ConnAck::default()).await;
        (name, peer)
    }
}

#[tokio::test]
async fn a_session_with_something_to_send_connects_before_those_without() {
    let crowd = Crowd::new().await;
    let _first = crowd.session("first");
    let mut first = Peer::accept(&crowd.listener).await;
    // While that one is under way.
    let _others = ["a", "b", "c"].map(|name| crowd.session(name));
    let last = crowd.session("last");
    let ticket = last.submit(publish("1"), &Default::default()).unwrap();
    within("the uplink to be seen", async {
        while last.status().held.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(last.queued(), 1);
    first.connack(ConnAck::default()).await;
    let (name, mut peer) = crowd.next().await;
    assert_eq!(name, "last");
    assert_eq!(peer.take().await, "1");
    assert_eq!(within("the outcome", ticket).await, DELIVERED);
    let mut rest = Vec::new();
    for _ in 0..3 {
        rest.push(crowd.next().await.0);
    }
    assert_eq!(rest, ["a", "b", "c"]);
}
