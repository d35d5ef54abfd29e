//! Connections that the session itself ends: for a fresh token, and at the shutdown.

use super::*;

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
