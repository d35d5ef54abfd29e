//! Who is let in, and why others are not.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::setup::{BOTH, SECRET, Setup, connect, generate, spec, token};
use crate::broker::MqttVersion;
use crate::identity::{Algorithm, TokenSpec, issue};
use crate::mqtt::packet::Connect;
use crate::mqtt::reason::Reason;
use crate::secret::Secret;

const BAD: Reason = Reason::BAD_USER_NAME_OR_PASSWORD;
const NOT: Reason = Reason::NOT_AUTHORIZED;

#[tokio::test]
async fn good_credentials_of_every_kind_are_let_in() {
    let setup = Setup::start().await;
    for version in BOTH {
        for (id, key) in [("rsa", &setup.rsa), ("ec", &setup.ec)] {
            let with_kid = TokenSpec {
                kid: Some(key.spki_sha256().to_owned()),
                ..spec(id)
            };
            for spec in [spec(id), with_kid] {
                let mut client = setup.client(version).await;
                client
                    .connected(connect(id, "unused", token(key, &spec)))
                    .await;
            }
        }
        setup.connector_client(version).await;
    }
    assert_eq!(setup.broker.faults().connects_of("rsa"), 4);
    assert_eq!(setup.broker.faults().connects_of("any"), 2);
    assert_eq!(setup.records.refused().len(), 0);
}

#[tokio::test]
async fn mqtt_5_is_told_what_the_broker_takes() {
    let setup = Setup::start().await;
    let mut client = setup.client(MqttVersion::V5).await;
    let ack = client.connect(setup.ec_connect()).await;
    assert_eq!(ack.max_qos, Some(1));
    assert_eq!(ack.max_packet_size, Some(1024 * 1024));
}

/// What is wrong with a CONNECT, the reason it gets, and a word of the explanation.
fn refusals(setup: &Setup) -> Vec<(&'static str, Connect, Reason, &'static str)> {
    let ec = |token: Secret| connect("ec", "unused", token);
    let changed = |change: &dyn Fn(&mut TokenSpec)| {
        let mut spec = spec("ec");
        change(&mut spec);
        token(&setup.ec, &spec)
    };
    let issued_at = |time: SystemTime| issue(&setup.ec, &spec("ec"), time).unwrap().jwt;
    let now = SystemTime::now();
    let wrong_key = token(&generate(Algorithm::Es256), &spec("ec"));
    let other_algorithm = token(&setup.rsa, &spec("ec"));
    let no_password = Connect {
        password: None,
        ..setup.ec_connect()
    };
    vec![
        ("wrong key", ec(wrong_key), BAD, "signature"),
        ("the other algorithm", ec(other_algorithm), BAD, "algorithm"),
        ("no algorithm", ec(unsigned("none")), BAD, "malformed"),
        ("a symmetric one", ec(unsigned("HS256")), BAD, "algorithm"),
        (
            "another kid",
            ec(changed(&|s| s.kid = Some("0".repeat(64)))),
            BAD,
            "'kid'",
        ),
        ("not a token", ec(Secret::new("password")), BAD, "malformed"),
        ("no password", no_password, BAD, "no password"),
        (
            "another audience",
            ec(changed(&|s| s.audience.push('/'))),
            NOT,
            "audience",
        ),
        (
            "expired",
            ec(issued_at(now - Duration::from_secs(601))),
            NOT,
            "expired",
        ),
        (
            "issued in the future",
            ec(issued_at(now + Duration::from_secs(60))),
            NOT,
            "future",
        ),
        (
            "an unknown client id",
            connect("other", "unused", token(&setup.ec, &spec("other"))),
            Reason::CLIENT_ID_NOT_VALID,
            "not a device",
        ),
        (
            "another device's client id",
            connect("rsa", "unused", token(&setup.ec, &spec("rsa"))),
            BAD,
            "algorithm",
        ),
        (
            "a device of a connector with a token",
            connect("s1", "unused", token(&setup.ec, &spec("s1"))),
            Reason::CLIENT_ID_NOT_VALID,
            "not a device",
        ),
        (
            "wrong secret",
            connect("any", "connector", Secret::new("wrong")),
            BAD,
            "secret",
        ),
        (
            "unknown connector",
            connect("any", "other", Secret::new(SECRET)),
            BAD,
            "connector's id",
        ),
    ]
}

/// A token whose header names an algorithm that no registered key has.
fn unsigned(algorithm: &str) -> Secret {
    let part = |json: String| URL_SAFE_NO_PAD.encode(json);
    let header = part(format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#));
    let claims = r#"{"iat":0,"exp":99999999999,"aud":"https://akenza.io/devices/ec"}"#;
    Secret::new(format!("{header}.{}.", part(claims.to_owned())))
}

#[tokio::test]
async fn bad_credentials_are_refused_with_their_reason() {
    let setup = Setup::start().await;
    for version in BOTH {
        for (case, connect, reason, word) in refusals(&setup) {
            let password = connect.password.clone();
            let mut client = setup.client(version).await;
            let ack = client.connect(connect).await;
            assert_eq!(ack.reason, reason, "{case}, MQTT {version}");
            if version == MqttVersion::V5 {
                let text = ack.text.unwrap_or_default();
                assert!(text.contains(word), "{case}: {text}");
            }
            assert_eq!(client.receive().await, None, "{case} keeps its connection");
            let refused = setup.records.refused();
            let detail = &refused.last().unwrap().detail;
            assert!(detail.contains(word), "{case}: {detail}");
            assert!(password.is_none_or(|p| !detail.contains(p.expose())));
        }
    }
    assert_eq!(setup.broker.faults().connects().len(), 0);
}

#[tokio::test]
async fn a_client_is_sent_away_when_its_token_expires() {
    let setup = Setup::start().await;
    for version in BOTH {
        let short = TokenSpec {
            lifetime: Duration::from_secs(2),
            ..spec("ec")
        };
        let mut client = setup.client(version).await;
        client
            .connected(connect("ec", "unused", token(&setup.ec, &short)))
            .await;
        client.ended_with(Reason::MAXIMUM_CONNECT_TIME).await;
    }
}

#[tokio::test]
async fn an_unknown_version_and_what_is_not_mqtt_are_turned_away() {
    let setup = Setup::start().await;
    let mut client = setup.client(MqttVersion::V5).await;
    client
        .send_raw(b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x00\x00")
        .await;
    let ack = client.receive().await;
    let reason = match ack {
        Some(crate::mqtt::packet::Packet::ConnAck(ack)) => ack.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason, Reason::UNSUPPORTED_PROTOCOL_VERSION);

    let mut client = setup.client(MqttVersion::V5).await;
    client.send_raw(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn a_version_or_everybody_can_be_shut_out() {
    let setup = Setup::start().await;
    let faults = setup.broker.faults();
    faults.refuse_v5(true);
    let refused = setup
        .client(MqttVersion::V5)
        .await
        .connect(setup.ec_connect())
        .await;
    assert_eq!(refused.reason, Reason::UNSUPPORTED_PROTOCOL_VERSION);
    setup.ec_client(MqttVersion::V311).await;

    faults.refuse_v5(false);
    faults.refuse_connects(Some(Reason::SERVER_UNAVAILABLE));
    for version in BOTH {
        let refused = setup
            .client(version)
            .await
            .connect(setup.ec_connect())
            .await;
        assert_eq!(refused.reason, Reason::SERVER_UNAVAILABLE);
    }
    faults.refuse_connects(None);
    setup.ec_client(MqttVersion::V5).await;
}
