//! What is taken, where, and how a refusal is told.

use serde_json::json;

use super::client::{puback, publish};
use super::setup::{BOTH, SECRET, Setup};
use crate::broker::MqttVersion;
use crate::demo::broker::{AckMode, Moment};
use crate::message::Qos;
use crate::mqtt::packet::{Packet, Publish};
use crate::mqtt::reason::Reason;

#[tokio::test]
async fn a_device_publishes_under_its_own_topic() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut client = setup.ec_client(version).await;
        let bare = publish("/up/device/id/ec", 1, r#"{"t": 1.50}"#);
        assert_eq!(client.publish(bare).await, Some(puback(1, Reason::SUCCESS)));
        let sub = publish("/up/device/id/ec/alerts/critical", 2, "7");
        assert_eq!(client.publish(sub).await, Some(puback(2, Reason::SUCCESS)));
        let qos_0 = Packet::Publish(publish("/up/device/id/ec/qos0", 0, "{}"));
        client.send(&qos_0).await;
        client.ping().await;
    }
    let taken: Vec<_> = setup.taken();
    let shown: Vec<_> = taken
        .iter()
        .map(|t| (&t["number"], &t["topic"], &t["payload"]))
        .collect();
    assert_eq!(
        shown[..3],
        [
            (&json!(1), &json!("default"), &json!({"t": 1.5})),
            (&json!(2), &json!("alerts_critical"), &json!(7)),
            (&json!(3), &json!("qos0"), &json!({})),
        ]
    );
    assert_eq!(taken.len(), 6);
    assert_eq!(taken[0]["content_type"], json!("application/json"));
    assert_eq!(setup.records.refused().len(), 0);
}

#[tokio::test]
async fn a_connector_publishes_for_its_devices() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut client = setup.connector_client(version).await;
        for device in ["s1", "s2"] {
            let topic = format!("/up/{SECRET}/id/{device}/a/b");
            let answer = client.publish(publish(&topic, 1, "{}")).await;
            assert_eq!(answer, Some(puback(1, Reason::SUCCESS)));
        }
    }
    assert_eq!(setup.taken().len(), 4);
    assert!(
        !serde_json::to_string(&setup.taken())
            .unwrap()
            .contains(SECRET)
    );
}

#[tokio::test]
async fn a_foreign_topic_is_refused() {
    let setup = Setup::start().await;
    let secret_of_other = format!("/up/{SECRET}/id/other");
    let with_secret = format!("/up/{SECRET}/id/s1");
    for version in BOTH {
        for (of_device, topic) in [
            (true, "/up/device/id/rsa"),
            (true, "up/device/id/ec"),
            (true, "/up/device/id/ec2"),
            (true, "/up/device/id/ec/"),
            (true, "/down/device/id/ec/x"),
            (true, &*with_secret),
            (false, "/up/device/id/s1"),
            (false, "/up/wrong/id/s1"),
            (false, &*secret_of_other),
        ] {
            let mut client = match of_device {
                true => setup.ec_client(version).await,
                false => setup.connector_client(version).await,
            };
            let answer = client.publish(publish(topic, 5, "{}")).await;
            match version {
                MqttVersion::V5 => {
                    assert_eq!(answer, Some(puback(5, Reason::NOT_AUTHORIZED)), "{topic}")
                }
                MqttVersion::V311 => assert_eq!(answer, None, "{topic}"),
            }
        }
    }
    assert_eq!(setup.taken().len(), 0);
    let refused = setup.records.refused();
    assert_eq!(refused.len(), 18);
    assert!(refused.iter().all(|r| !r.detail.contains(SECRET)));
}

#[tokio::test]
async fn content_is_checked_as_the_version_can_tell() {
    let setup = Setup::start().await;
    let with_type = |content_type: &str, payload| Publish {
        content_type: Some(content_type.to_owned()),
        ..publish("/up/device/id/ec", 1, payload)
    };
    let mut client = setup.ec_client(MqttVersion::V5).await;
    let invalid = Some(puback(1, Reason::PAYLOAD_FORMAT_INVALID));
    assert_eq!(client.publish(with_type("image/png", "{}")).await, invalid);
    assert_eq!(
        client.publish(with_type("application/json", "{")).await,
        invalid
    );
    let csv = client.publish(with_type("text/csv", "a,b")).await;
    assert_eq!(csv, Some(puback(1, Reason::SUCCESS)));

    let mut client = setup.ec_client(MqttVersion::V311).await;
    let dropped = client.publish(publish("/up/device/id/ec", 1, "a,b")).await;
    assert_eq!(dropped, Some(puback(1, Reason::SUCCESS)));

    let taken = setup.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0]["content_type"], json!("text/csv"));
    assert_eq!(taken[0]["payload_base64"], json!("YSxi"));
    assert_eq!(setup.records.refused().len(), 3);
}

#[tokio::test]
async fn qos_2_is_refused() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut client = setup.ec_client(version).await;
        let qos_2 = Publish {
            qos: Qos::ExactlyOnce,
            ..publish("/up/device/id/ec", 1, "{}")
        };
        client.send(&Packet::Publish(qos_2)).await;
        client.ended_with(Reason::QOS_NOT_SUPPORTED).await;
    }
}

#[tokio::test]
async fn acknowledgements_are_held_back_dropped_and_refused_on_demand() {
    let setup = Setup::start().await;
    let faults = setup.broker.faults().clone();
    for version in BOTH {
        let mut client = setup.ec_client(version).await;
        faults.acks(AckMode::Hold);
        for pkid in [3, 1, 2] {
            client
                .send(&Packet::Publish(publish("/up/device/id/ec", pkid, "1")))
                .await;
        }
        // The acknowledgements would have come first.
        client.ping().await;
        faults.acks(AckMode::Send);
        for pkid in [3, 1, 2] {
            assert_eq!(client.receive().await, Some(puback(pkid, Reason::SUCCESS)));
        }

        faults.acks(AckMode::Drop);
        client
            .send(&Packet::Publish(publish("/up/device/id/ec", 4, "1")))
            .await;
        client.ping().await;
        faults.acks(AckMode::Send);
        client.ping().await;
    }
    assert_eq!(setup.taken().len(), 8);

    let mut client = setup.ec_client(MqttVersion::V5).await;
    let quota = Reason(0x97);
    faults.refuse_publishes("/id/ec/full", quota);
    let refused = client
        .publish(publish("/up/device/id/ec/full", 1, "1"))
        .await;
    assert_eq!(refused, Some(puback(1, quota)));
    let taken = client
        .publish(publish("/up/device/id/ec/empty", 2, "1"))
        .await;
    assert_eq!(taken, Some(puback(2, Reason::SUCCESS)));
    assert_eq!(setup.taken().len(), 9);
}

#[tokio::test]
async fn a_connection_is_closed_before_or_after_a_message_was_taken() {
    let setup = Setup::start().await;
    for (moment, taken) in [(Moment::BeforeTaking, 0), (Moment::AfterTaking, 1)] {
        setup.broker.faults().close_on_next_publish(moment);
        let mut client = setup.ec_client(MqttVersion::V5).await;
        let answer = client.publish(publish("/up/device/id/ec", 1, "1")).await;
        assert_eq!(answer, None);
        assert_eq!(setup.taken().len(), taken);
    }
    let mut client = setup.ec_client(MqttVersion::V5).await;
    let answer = client.publish(publish("/up/device/id/ec", 1, "1")).await;
    assert_eq!(answer, Some(puback(1, Reason::SUCCESS)));
}

#[tokio::test]
async fn more_than_the_receive_maximum_ends_the_connection() {
    let setup = Setup::start().await;
    setup.broker.faults().acks(AckMode::Hold);
    let mut client = setup.ec_client(MqttVersion::V5).await;
    for pkid in 1..=201 {
        client
            .send(&Packet::Publish(publish("/up/device/id/ec", pkid, "1")))
            .await;
    }
    client.ended_with(Reason(0x93)).await;
    assert_eq!(setup.taken().len(), 200);
}

#[tokio::test]
async fn a_packet_that_is_too_large_ends_the_connection() {
    let setup = Setup::start().await;
    for version in BOTH {
        let mut client = setup.ec_client(version).await;
        // PUBLISH with a remaining length of 1 MiB: too large together with its header.
        client.send_raw(&[0x32, 0x80, 0x80, 0x40]).await;
        client.ended_with(Reason::PACKET_TOO_LARGE).await;
    }
}
