//! Keys and tokens, against a broker that checks what akenza checks.

use std::fs;

use causeway::doctor::{Cause, StepName, Verdict};
use causeway::mqtt::reason::Reason;
use tempfile::TempDir;

use super::{Examination, akenza, examine, failed, found};
use crate::harness::certificates::Authority;
use crate::harness::keys::{KeyForm, PASSPHRASE};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::pretended::{Pretended, make_key};

#[tokio::test]
async fn a_good_key_is_shown_for_comparison() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let text = akenza(&broker, "pump-1", "");
    let diagnosis = Examination::default()
        .of("pump-1", &text, folder.path())
        .await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
    let words = ["ES256", "20 minutes", "https://akenza.io/devices/pump-1"];
    found(&diagnosis, StepName::Token, Verdict::Ok, None, &words);
    let facts = &diagnosis.step(StepName::Token).unwrap().finding.facts;
    assert_eq!(facts.get("kid").unwrap().len(), 64);
    assert_eq!(facts.get("kid"), facts.get("public key"));
    found(
        &diagnosis,
        StepName::Subscribe,
        Verdict::Ok,
        None,
        &["grants the subscription"],
    );
}

#[tokio::test]
async fn a_key_that_the_platform_does_not_know() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    // Another one than was registered.
    make_key(folder.path(), "pump-1");
    make_key(folder.path(), "stranger");
    let text = akenza(&broker, "pump-1", "");
    let diagnosis = Examination::default()
        .of("pump-1", &text, folder.path())
        .await;
    let kid = diagnosis
        .step(StepName::Token)
        .unwrap()
        .finding
        .facts
        .get("kid")
        .unwrap()
        .to_owned();
    let words = [
        "bad user name or password (0x86)",
        "among them is the public key",
        kid.as_str(),
    ];
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::CredentialsRefused,
        &words,
    );

    let text = akenza(&broker, "stranger", "");
    let diagnosis = Examination::default()
        .of("stranger", &text, folder.path())
        .await;
    let words = ["client identifier not valid", "a device stranger on akenza"];
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::ClientIdRefused,
        &words,
    );
    let text = akenza(&broker, "stranger", "mqtt_version = \"3.1.1\"");
    let diagnosis = Examination::default()
        .of("stranger", &text, folder.path())
        .await;
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::ClientIdRefused,
        &["identifier rejected (return code 2)"],
    );
}

#[tokio::test]
async fn a_clock_that_is_off_is_suspected_when_the_broker_speaks_of_time() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let text = akenza(&broker, "pump-1", "");
    for seconds in [3600, -3600] {
        let doctor = Examination::with_clock_off_by(seconds);
        let diagnosis = doctor.of("pump-1", &text, folder.path()).await;
        let words = [
            "not authorized",
            "finds the token's time wrong",
            "this clock says",
        ];
        failed(&diagnosis, StepName::Connect, Cause::NotAuthorized, &words);
    }
}

#[tokio::test]
async fn what_a_broker_answers_is_put_into_words() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &["pump-1"]).await;
    let text = akenza(&broker, "pump-1", "");
    for (reason, cause, words) in [
        (Reason::BANNED, Cause::Banned, "shut this client out"),
        (
            Reason::SERVER_UNAVAILABLE,
            Cause::Unavailable,
            "tries again by itself",
        ),
        (Reason::SERVER_MOVED, Cause::Redirected, "new address"),
    ] {
        broker.faults.refuse_connects(Some(reason));
        let diagnosis = Examination::default()
            .of("pump-1", &text, folder.path())
            .await;
        failed(
            &diagnosis,
            StepName::Connect,
            cause,
            &[words, reason.name()],
        );
    }
    broker.faults.refuse_connects(None);
    broker.faults.refuse_v5(true);
    let diagnosis = Examination::default()
        .of("pump-1", &text, folder.path())
        .await;
    let words = [
        "with MQTT 3.1.1",
        "does not speak MQTT 5",
        "mqtt_version = \"3.1.1\"",
    ];
    found(&diagnosis, StepName::Connect, Verdict::Ok, None, &words);
    let pinned = akenza(&broker, "pump-1", "mqtt_version = \"5\"");
    let diagnosis = Examination::default()
        .of("pump-1", &pinned, folder.path())
        .await;
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::Version,
        &["write mqtt_version = \"3.1.1\""],
    );
}

#[tokio::test]
async fn a_passphrase_that_is_wrong_and_a_key_that_is_none() {
    let folder = TempDir::new().unwrap();
    let broker = Pretended::start(folder.path(), &[]).await;
    let key = KeyForm::EcPkcs8Encrypted.make(folder.path());
    fs::rename(key, folder.path().join("pump-1.pem")).unwrap();
    fs::write(folder.path().join("passphrase"), "hunter2\n").unwrap();
    let text = akenza(&broker, "pump-1", "") + "passphrase_file = \"passphrase\"\n";
    let diagnosis = Examination::default()
        .of("pump-1", &text, folder.path())
        .await;
    let words = ["pump-1.pem: the passphrase is wrong", "passphrase_file"];
    failed(&diagnosis, StepName::Token, Cause::WrongPassphrase, &words);
    assert!(!format!("{diagnosis:?}").contains("hunter2"));
    // The way to the broker is looked at all the same.
    found(&diagnosis, StepName::Tcp, Verdict::Ok, None, &[]);

    fs::write(folder.path().join("pump-1.pem"), "no key").unwrap();
    let text = akenza(&broker, "pump-1", "");
    let diagnosis = Examination::default()
        .of("pump-1", &text, folder.path())
        .await;
    failed(
        &diagnosis,
        StepName::Token,
        Cause::KeyUnusable,
        &["pump-1.pem", "private_key_file"],
    );
}

#[tokio::test]
async fn the_passphrase_of_a_client_certificate_is_told_apart() {
    let authority = Authority::new("Device CA");
    let broker = Mosquitto::builder().tls(&authority).start().await;
    let folder = TempDir::new().unwrap();
    let key = KeyForm::RsaPkcs8EncryptedPbe1.make(folder.path());
    let certificate = authority.certify(
        &folder.path().join("RsaPkcs8EncryptedPbe1.plain.pem"),
        "pump-1",
        30,
    );
    let both = [fs::read(&key).unwrap(), fs::read(certificate).unwrap()].concat();
    fs::write(folder.path().join("sap.pem"), both).unwrap();
    let sap = |passphrase: &str| {
        format!(
            "[connectors.sap]\nprofile = \"sap-iot\"\nurl = \"mqtts://localhost:{}\"\nca_file = {:?}\n\
             [devices.pump-1]\nconnector = \"sap\"\nidentity_file = \"sap.pem\"\npassphrase = \"{passphrase}\"\n",
            broker.tls_addr().port(),
            authority.ca_file()
        )
    };
    let diagnosis = Examination::default()
        .of("pump-1", &sap("hunter2"), folder.path())
        .await;
    let words = [
        "sap.pem: the passphrase is wrong",
        "came with the certificate",
    ];
    failed(
        &diagnosis,
        StepName::Certificate,
        Cause::WrongPassphrase,
        &words,
    );
    found(&diagnosis, StepName::Tls, Verdict::Ok, None, &[]);
    let diagnosis = Examination::default()
        .of("pump-1", &sap(PASSPHRASE), folder.path())
        .await;
    found(
        &diagnosis,
        StepName::Connect,
        Verdict::Ok,
        None,
        &["MQTT 3.1.1"],
    );
}

#[tokio::test]
async fn a_login_that_is_wrong() {
    let broker = Mosquitto::builder().user("plant", "hunter2").start().await;
    let url = format!("mqtt://{}", broker.addr());
    let with = |more: &str| super::plain(&url, more);
    let diagnosis = examine(&with("")).await;
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::NotAuthorized,
        &["wants a user name"],
    );
    let wrong = "variables = { username = \"plant\" }\nsecret = \"hunter3\"";
    let diagnosis = examine(&with(wrong)).await;
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::NotAuthorized,
        &["check user name"],
    );
    let right = wrong.replace("hunter3", "hunter2");
    let diagnosis = examine(&with(&right)).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
    assert!(!format!("{diagnosis:?}").contains("hunter"));
}
