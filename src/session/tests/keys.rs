//! Keys that are swapped while a session runs, refused, or not there.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::watch;

use super::*;

/// Two keys; a refusal of the second brings the first back.
#[derive(Debug)]
struct Keys {
    current: watch::Sender<Option<TokenKey>>,
    first: TokenKey,
    second: TokenKey,
    said: Mutex<Vec<String>>,
}

impl KeyReports for Keys {
    fn accepted(&self, key: &str) {
        self.said.lock().unwrap().push(format!("{key} accepted"));
    }

    fn refused(&self, key: &str, why: &str) {
        self.said
            .lock()
            .unwrap()
            .push(format!("{key} refused: {why}"));
        if key == "second" {
            self.current.send_replace(Some(self.first.clone()));
        }
    }
}

impl Keys {
    fn new() -> Arc<Self> {
        let key = |id: &str| TokenKey {
            id: id.into(),
            key: Arc::new(SigningKey::new(Algorithm::Es256).unwrap().into()),
        };
        Arc::new(Self {
            current: watch::channel(None).0,
            first: key("first"),
            second: key("second"),
            said: Mutex::default(),
        })
    }

    fn activate_first(&self) {
        self.current.send_replace(Some(self.first.clone()));
    }

    fn activate_second(&self) {
        self.current.send_replace(Some(self.second.clone()));
    }

    /// The key that the token of a CONNECT names.
    fn shown(&self, peer: &Peer) -> &str {
        let token = peer.connect.password.as_ref().unwrap().expose();
        let header = token.split('.').next().unwrap();
        let header = URL_SAFE_NO_PAD.decode(header).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        let mut keys = [&self.first, &self.second].into_iter();
        let shown = keys.find(|key| header["kid"] == key.key.get().unwrap().spki_sha256());
        &shown.unwrap().id
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    async fn bench(self: &Arc<Self>, change: impl FnOnce(&mut SessionSpec)) -> Bench {
        let spec = TokenSpec {
            audience: "x".to_owned(),
            lifetime: Duration::from_secs(3600),
            kid: None,
            claims: serde_json::Map::new(),
        };
        let (kid, keys) = (TokenKid::SpkiSha256, self.current.subscribe());
        let source = TokenSource::new(spec, kid, keys, self.clone());
        Bench::new(|session| {
            session.connect().password = Password::Token(Box::new(source));
            change(session);
        })
        .await
    }
}

fn refusal(reason: Reason) -> ConnAck {
    ConnAck {
        reason,
        text: Some("no such key".to_owned()),
        ..ConnAck::default()
    }
}

#[tokio::test]
async fn another_key_renews_the_connection_once_what_is_in_flight_is_settled() {
    let keys = Keys::new();
    keys.activate_first();
    let bench = keys.bench(|_| {}).await;
    let ticket = bench.submit("1");
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(keys.shown(&peer), "first");
    let first = peer.publish().await;
    keys.activate_second();
    let behind = bench.submit("2");
    peer.puback(first.pkid, Reason::SUCCESS).await;
    assert_eq!(within("the first", ticket).await, DELIVERED);
    loop {
        match peer.next_but_subscribe().await {
            // It may have been sent before the swap was seen.
            Packet::Publish(publish) => peer.puback(publish.pkid, Reason::SUCCESS).await,
            Packet::Disconnect { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(keys.shown(&peer), "second");
    let last = bench.submit("3");
    let mut taken = peer.take().await;
    if taken == "2" {
        taken = peer.take().await;
    }
    assert_eq!(taken, "3");
    for ticket in [behind, last] {
        assert_eq!(within("an outcome", ticket).await, DELIVERED);
    }
    assert_eq!(keys.said(), ["first accepted", "second accepted"]);
    let status = bench.handle.status();
    assert_eq!(
        status
            .counters
            .renewals
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
    assert_eq!(status.snapshot().last_trouble, None);
}

#[tokio::test]
async fn a_new_key_that_is_refused_is_given_up_at_once_and_no_uplink_fails() {
    for (version, reason) in [
        (MqttVersion::V5, Reason::NOT_AUTHORIZED),
        (MqttVersion::V5, Reason::BAD_USER_NAME_OR_PASSWORD),
        (MqttVersion::V5, Reason::CLIENT_ID_NOT_VALID),
        (MqttVersion::V5, Reason::BANNED),
        (MqttVersion::V311, Reason::NOT_AUTHORIZED),
        (MqttVersion::V311, Reason::BAD_USER_NAME_OR_PASSWORD),
    ] {
        let keys = Keys::new();
        keys.activate_first();
        let bench = keys
            .bench(|spec| {
                spec.eager = true;
                spec.connect().version = VersionChoice::new(Some(version));
            })
            .await;
        let mut peer = Peer::welcome(&bench.listener).await;
        bench.until(State::Connected).await;
        keys.activate_second();
        assert!(matches!(
            peer.next_but_subscribe().await,
            Packet::Disconnect { .. }
        ));
        let mut peer = Peer::accept(&bench.listener).await;
        assert_eq!(keys.shown(&peer), "second");
        let ticket = bench.submit("1");
        peer.connack(refusal(reason)).await;
        let mut peer = Peer::welcome(&bench.listener).await;
        assert_eq!(keys.shown(&peer), "first");
        assert_eq!(peer.take().await, "1");
        assert_eq!(within("the outcome", ticket).await, DELIVERED, "{reason}");

        let trouble = bench.handle.status().snapshot().last_trouble.unwrap();
        assert!(
            trouble.what.contains(reason.name())
                && trouble.what.contains("the key first is used again")
                && trouble.hint.contains("/keys/{kid}"),
            "{trouble:?}"
        );
        let said = keys.said();
        assert_eq!((&*said[0], &*said[2]), ("first accepted", "first accepted"));
        assert!(said[1].starts_with("second refused: "), "{said:?}");
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_instead_of_answering_refuses_a_new_key_too() {
    let keys = Keys::new();
    keys.activate_second();
    let bench = keys.bench(|spec| spec.eager = true).await;
    drop(Peer::accept(&bench.listener).await);
    let peer = Peer::accept(&bench.listener).await;
    assert_eq!(keys.shown(&peer), "second", "once may be the link");
    drop(peer);
    let peer = Peer::accept(&bench.listener).await;
    assert_eq!(keys.shown(&peer), "first");
    assert_eq!(keys.said().len(), 1);
}

#[tokio::test]
async fn the_only_key_is_refused_like_any_credential() {
    let keys = Keys::new();
    keys.activate_first();
    let bench = keys.bench(|_| {}).await;
    let ticket = bench.submit("1");
    let mut peer = Peer::accept(&bench.listener).await;
    peer.connack(refusal(Reason::NOT_AUTHORIZED)).await;
    assert!(matches!(
        within("the outcome", ticket).await,
        Outcome::NotSent(NotSent::ConnectionRefused { .. })
    ));
    assert_eq!(bench.handle.status().state(), State::Refused);
    // Another key is tried at once, and not when the time for the next attempt has come.
    keys.activate_second();
    let peer = Peer::welcome(&bench.listener).await;
    assert_eq!(keys.shown(&peer), "second");
}

#[tokio::test]
async fn without_a_key_a_session_says_so_and_connects_as_soon_as_there_is_one() {
    let keys = Keys::new();
    let bench = keys.bench(|_| {}).await;
    bench.until(State::NoKey).await;
    let patient = bench
        .handle
        .submit_patiently(publish("1"), &Default::default())
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            within("the outcome", bench.submit("refused")).await,
            Outcome::NotSent(NotSent::NoKey)
        );
    }
    let trouble = bench.handle.status().snapshot().last_trouble.unwrap();
    assert!(trouble.hint.contains("POST /v1/devices/{device}/keys"));
    assert!(trouble.hint.contains("causeway keys"));
    keys.activate_first();
    let mut peer = Peer::welcome(&bench.listener).await;
    assert_eq!(peer.take().await, "1");
    assert_eq!(within("the outcome", patient).await, DELIVERED);
}

#[tokio::test]
async fn a_key_is_tried_although_nobody_needs_the_session() {
    let keys = Keys::new();
    keys.activate_first();
    let bench = keys.bench(|_| {}).await;
    assert_eq!(bench.handle.status().state(), State::Idle);
    keys.activate_second();
    let peer = Peer::welcome(&bench.listener).await;
    assert_eq!(keys.shown(&peer), "second");
}
