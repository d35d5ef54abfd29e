//! What a device may do, and who else claims to be it.

use std::time::Duration;

use causeway::doctor::{Cause, StepName, TestMessage, Verdict};
use tempfile::TempDir;

use super::{Examination, akenza, examine, failed, found, plain};
use crate::harness::access::{Message, Version};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::pretended::Pretended;
use crate::harness::subscriber::Subscriber;

#[tokio::test]
async fn nothing_is_published_unless_it_is_wished() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let text = plain(&format!("mqtt://{}", broker.addr()), "");
    let diagnosis = examine(&text).await;
    let cause = Some(Cause::NotAsked);
    found(
        &diagnosis,
        StepName::Publish,
        Verdict::Skipped,
        cause,
        &["--publish"],
    );
    let message = TestMessage {
        payload: Some("21.5".into()),
        subtopic: Some("a/b".parse_subtopic()),
        content_type: None,
    };
    for wished in [TestMessage::default(), message] {
        let doctor = Examination::publishing(wished);
        let diagnosis = doctor.of("pump-1", &text, ".".as_ref()).await;
        found(
            &diagnosis,
            StepName::Publish,
            Verdict::Ok,
            None,
            &["confirmed"],
        );
    }
    let seen = observer.wait_count(2).await;
    let seen: Vec<_> = seen.iter().map(|m| (m.topic.as_str(), m.text())).collect();
    let expected = [
        ("devices/pump-1/up", r#"{"causeway":"doctor"}"#),
        ("devices/pump-1/up/a/b", "21.5"),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_topic_that_is_not_allowed() {
    let broker = Mosquitto::builder().acl("topic read #\n").start().await;
    let url = format!("mqtt://{}", broker.addr());
    let publish = || Examination::publishing(TestMessage::default());
    let diagnosis = publish().of("pump-1", &plain(&url, ""), ".".as_ref()).await;
    let words = [
        "not authorized (0x87)",
        "allow this device to publish",
        "topic: devices/pump-1/up",
    ];
    failed(&diagnosis, StepName::Publish, Cause::PublishRefused, &words);
    // With 3.1.1 a broker confirms what it drops, and nobody can know.
    let text = plain(&url, "mqtt_version = \"3.1.1\"");
    let diagnosis = publish().of("pump-1", &text, ".".as_ref()).await;
    let words = ["a broker also confirms what it then drops"];
    found(&diagnosis, StepName::Publish, Verdict::Ok, None, &words);
}

#[tokio::test]
async fn topics_are_shown_without_the_secret_that_stands_in_them() {
    let broker = Mosquitto::builder().user("conn-1", "hunter2").start().await;
    let text = format!(
        "[connectors.akenza]\nprofile = \"akenza-secret\"\nurl = \"mqtt://{}\"\nsecret = \"hunter2\"\n\
         variables = {{ connector_id = \"conn-1\" }}\n[devices.pump-1]\nconnector = \"akenza\"\n",
        broker.addr()
    );
    let doctor = Examination::publishing(TestMessage::default());
    let diagnosis = doctor.of("pump-1", &text, ".".as_ref()).await;
    for (step, topic) in [
        (StepName::Subscribe, "filters: /down/…/id/pump-1/#"),
        (StepName::Publish, "topic: /up/…/id/pump-1"),
    ] {
        found(&diagnosis, step, Verdict::Ok, None, &[topic]);
    }
    let all = serde_json::to_string(&diagnosis).unwrap();
    assert!(!all.contains("hunter2"), "{all}");
}

#[tokio::test]
async fn a_subscription_that_is_refused() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let other = "override.downlink = [{ filter = \"/down/device/id/other-{device}/#\", prefix = \"/down/device/id/other-{device}/\" }]";
    for (version, code) in [("5", "not authorized (0x87)"), ("3.1.1", "0x80")] {
        let text = akenza(
            &broker,
            "pump-1",
            &format!("mqtt_version = \"{version}\"\n{other}"),
        );
        let diagnosis = Examination::default()
            .of("pump-1", &text, folder.path())
            .await;
        let words = [
            "refuses 1 of 1 subscriptions",
            code,
            "downlinks do not arrive",
            "filters: /down/device/id/other-pump-1/#",
        ];
        failed(
            &diagnosis,
            StepName::Subscribe,
            Cause::SubscriptionRefused,
            &words,
        );
    }
}

#[tokio::test]
async fn a_message_that_the_platform_does_not_take() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let publish = |payload: &'static str| {
        Examination::publishing(TestMessage {
            payload: Some(payload.into()),
            ..TestMessage::default()
        })
    };
    let foreign = "override.uplink.topic = \"/up/device/id/other-{device}[/{subtopic}]\"";
    let text = akenza(&broker, "pump-1", foreign);
    let diagnosis = publish("{}").of("pump-1", &text, folder.path()).await;
    failed(
        &diagnosis,
        StepName::Publish,
        Cause::PublishRefused,
        &["not authorized (0x87)"],
    );
    // With 3.1.1 this platform hangs up.
    let text = akenza(
        &broker,
        "pump-1",
        &format!("mqtt_version = \"3.1.1\"\n{foreign}"),
    );
    let diagnosis = publish("{}").of("pump-1", &text, folder.path()).await;
    failed(
        &diagnosis,
        StepName::Publish,
        Cause::PublishRefused,
        &["closed the connection over the message"],
    );
    let text = akenza(&broker, "pump-1", "");
    let diagnosis = publish("no JSON").of("pump-1", &text, folder.path()).await;
    failed(
        &diagnosis,
        StepName::Publish,
        Cause::PublishNotCarried,
        &["not JSON"],
    );
}

#[tokio::test]
async fn another_client_with_the_same_id_is_found_out() {
    let broker = Mosquitto::start().await;
    for version in [Version::V5, Version::V311] {
        // It comes back by itself each time it is thrown off.
        let other = broker.access().client_id("causeway-local").version(version);
        let other = Subscriber::start(&other, &["devices/#"]).await;
        let mqtt = match version {
            Version::V5 => "5",
            Version::V311 => "3.1.1",
        };
        let text = plain(
            &format!("mqtt://{}", broker.addr()),
            &format!("mqtt_version = \"{mqtt}\""),
        );
        let doctor = Examination {
            watch: Duration::from_secs(30),
            ..Examination::default()
        };
        let diagnosis = doctor.of("pump-1", &text, ".".as_ref()).await;
        let words = ["another client", "causeway-local", "stop the other program"];
        failed(&diagnosis, StepName::Takeover, Cause::TakenOver, &words);
        drop(other);
    }
    let text = plain(&format!("mqtt://{}", broker.addr()), "");
    let diagnosis = examine(&text).await;
    found(
        &diagnosis,
        StepName::Takeover,
        Verdict::Ok,
        None,
        &["nobody took the connection over"],
    );
}

#[tokio::test]
async fn what_waits_for_the_device_still_waits_afterwards() {
    let broker = Mosquitto::start().await;
    let text = plain(&format!("mqtt://{}", broker.addr()), "");
    // The device's session begins, as a bridge's would.
    examine(&text).await;
    let waiting = Message::new("devices/pump-1/down/set", "open");
    broker.access().publish(&waiting).await.accepted();
    let doctor = Examination {
        watch: Duration::from_millis(500),
        ..Examination::default()
    };
    let diagnosis = doctor.of("pump-1", &text, ".".as_ref()).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
    found(
        &diagnosis,
        StepName::Takeover,
        Verdict::Ok,
        None,
        &["1 came and were not acknowledged"],
    );
    // A client in the device's place gets it.
    let device = broker.access().client_id("causeway-local");
    let device = Subscriber::persistent(&device, &["devices/pump-1/down/#"]).await;
    assert_eq!(device.wait_count(1).await[0].text(), "open");
}

trait ParseSubtopic {
    fn parse_subtopic(&self) -> causeway::topic::SubTopic;
}

impl ParseSubtopic for str {
    fn parse_subtopic(&self) -> causeway::topic::SubTopic {
        causeway::topic::SubTopic::parse(self).unwrap()
    }
}
