//! Subscriptions, and messages to clients that are there, away, or slow.

use bytes::Bytes;

use super::client::{Client, puback};
use super::setup::{BOTH, SECRET, Setup, device};
use crate::broker::MqttVersion;
use crate::demo::broker::{Delivery, NoDownlink};
use crate::message::Qos;
use crate::mqtt::packet::{Connect, Packet};
use crate::mqtt::reason::Reason;

const FILTER: &str = "/down/device/id/ec/#";

fn send(setup: &Setup, id: &str, topic: &str) -> Delivery {
    let payload = Bytes::from_static(b"{}");
    let json = Some("application/json".to_owned());
    let sent = setup
        .broker
        .send_downlink(&device(id), topic, payload, json);
    sent.unwrap()
}

async fn persistent(setup: &Setup, version: MqttVersion, receive_maximum: u16) -> (Client, bool) {
    let mut client = setup.client(version).await;
    let connect = Connect {
        clean_start: false,
        session_expiry: 3600,
        receive_maximum,
        ..setup.ec_connect()
    };
    let present = client.connected(connect).await;
    (client, present)
}

#[tokio::test]
async fn a_downlink_reaches_its_device() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut client = setup.ec_client(version).await;
        assert_eq!(client.subscribe(FILTER).await, Reason(1));
        assert_eq!(send(&setup, "ec", "a/b").connected, 1);
        let message = client.message().await;
        assert_eq!(message.topic, "/down/device/id/ec/a/b");
        assert_eq!((message.qos, message.dup), (Qos::AtLeastOnce, false));
        assert_eq!(message.payload, "{}");
        let expected = (version == MqttVersion::V5).then_some("application/json");
        assert_eq!(message.content_type.as_deref(), expected);
    }
    assert_eq!(send(&setup, "rsa", "a"), Delivery::default());
    let payload = Bytes::new();
    let unknown = setup
        .broker
        .send_downlink(&device("unknown"), "a", payload, None);
    assert_eq!(unknown, Err(NoDownlink::UnknownDevice));
}

#[tokio::test]
async fn a_connector_gets_the_downlinks_of_its_devices() {
    let setup = Setup::start().await;
    let mut client = setup.connector_client(MqttVersion::V5).await;
    let filter = format!("/down/{SECRET}/id/s2/#");
    assert_eq!(client.subscribe(&filter).await, Reason(1));
    assert_eq!(send(&setup, "s1", "a"), Delivery::default());
    assert_eq!(send(&setup, "s2", "").connected, 1);
    let message = client.message().await;
    assert_eq!(message.topic, format!("/down/{SECRET}/id/s2/default"));
}

#[tokio::test]
async fn foreign_subscriptions_are_refused() {
    let setup = Setup::start().await;
    let wild = format!("/down/{SECRET}/id/+/#");
    let of_connector = format!("/down/{SECRET}/id/s1/#");
    for version in BOTH {
        let mut device = setup.ec_client(version).await;
        let mut connector = setup.connector_client(version).await;
        for filter in [
            "#",
            "/down/#",
            "/down/device/id/+/#",
            "/down/device/id/rsa/#",
            "/down/device/id/ec",
            "/up/device/id/ec/#",
            &of_connector,
        ] {
            let expected = match version {
                MqttVersion::V5 => Reason::NOT_AUTHORIZED,
                MqttVersion::V311 => Reason::UNSPECIFIED,
            };
            assert_eq!(device.subscribe(filter).await, expected, "{filter}");
        }
        for filter in [FILTER, &*wild, "/down/+/id/s1/#", "/down/wrong/id/s1/#"] {
            assert!(connector.subscribe(filter).await.is_error(), "{filter}");
        }
    }
    let refused = setup.records.refused();
    assert_eq!(refused.len(), 22);
    assert!(refused.iter().all(|r| !r.detail.contains(SECRET)));
}

#[tokio::test]
async fn an_unsubscribed_client_gets_nothing() {
    let setup = Setup::start().await;
    let mut client = setup.ec_client(MqttVersion::V5).await;
    client.subscribe(FILTER).await;
    let filters = vec![FILTER.to_owned()];
    client.send(&Packet::Unsubscribe { pkid: 2, filters }).await;
    assert_eq!(client.receive().await, Some(Packet::UnsubAck { pkid: 2 }));
    assert_eq!(send(&setup, "ec", "a"), Delivery::default());
}

#[tokio::test]
async fn downlinks_wait_for_a_client_that_is_away_and_are_sent_again_until_acknowledged() {
    let setup = Setup::start().await;
    for version in BOTH {
        let (mut client, present) = persistent(&setup, version, 20).await;
        assert!(!present);
        client.subscribe(FILTER).await;
        send(&setup, "ec", "1");
        send(&setup, "ec", "2");
        let (first, second) = (client.message().await, client.message().await);
        client.send(&puback(first.pkid, Reason::SUCCESS)).await;
        client.ping().await;
        let reason = Reason::SUCCESS;
        client
            .send(&Packet::Disconnect { reason, text: None })
            .await;
        assert_eq!(client.receive().await, None);

        assert_eq!(send(&setup, "ec", "3").kept, 1);
        let (mut client, present) = persistent(&setup, version, 20).await;
        assert!(present);
        let again = client.message().await;
        assert_eq!((again.pkid, again.dup), (second.pkid, true));
        assert_eq!(again.topic, "/down/device/id/ec/2");
        let waiting = client.message().await;
        assert_eq!(
            (&*waiting.topic, waiting.dup),
            ("/down/device/id/ec/3", false)
        );
        setup.broker.forget_sessions();
    }
}

#[tokio::test]
async fn a_client_gets_no_more_than_it_takes_at_once() {
    let setup = Setup::start().await;
    let (mut client, _) = persistent(&setup, MqttVersion::V5, 1).await;
    client.subscribe(FILTER).await;
    send(&setup, "ec", "1");
    send(&setup, "ec", "2");
    let first = client.message().await;
    // The second message would have come first.
    client.ping().await;
    client.send(&puback(first.pkid, Reason::SUCCESS)).await;
    assert_eq!(client.message().await.topic, "/down/device/id/ec/2");
}
