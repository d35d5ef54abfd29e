//! Brokers with certificates that are not to be trusted, by a real Mosquitto with TLS.

use causeway::doctor::{Cause, StepName, Verdict};

use super::{Examination, examine, failed, found, plain};
use crate::harness::certificates::{Authority, Identity};
use crate::harness::mosquitto::{CertificateUse, Mosquitto};

async fn broker(authority: &Authority, server: Identity) -> Mosquitto {
    Mosquitto::builder()
        .tls_with(authority, server)
        .start()
        .await
}

/// A connector that trusts this authority and no other.
fn trusting(broker: &Mosquitto, authority: &Authority) -> String {
    let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
    plain(&url, &format!("ca_file = {:?}", authority.ca_file()))
}

#[tokio::test]
async fn a_good_certificate_is_shown_with_its_end() {
    let authority = Authority::new("Plant CA");
    let broker = broker(&authority, authority.server()).await;
    let diagnosis = examine(&trusting(&broker, &authority)).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
    let words = [
        "TLS 1.3",
        "made out for localhost, 127.0.0.1 by CN=Plant CA",
        "valid until",
    ];
    found(&diagnosis, StepName::Tls, Verdict::Ok, None, &words);
    let words = ["the broker's certificate is valid then"];
    found(&diagnosis, StepName::Clock, Verdict::Ok, None, &words);
    assert!(
        diagnosis.step(StepName::Certificate).is_none(),
        "nobody asks for one"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_its_date() {
    let authority = Authority::new("Plant CA");
    let broker = broker(&authority, authority.expired_server()).await;
    let diagnosis = examine(&trusting(&broker, &authority)).await;
    let words = [
        "has expired (valid until 2001-01-01T00:00:00Z)",
        "operator has to renew",
    ];
    failed(
        &diagnosis,
        StepName::Tls,
        Cause::ServerCertificateExpired,
        &words,
    );
    let words = ["after the broker's certificate has ended"];
    found(
        &diagnosis,
        StepName::Clock,
        Verdict::Warning,
        Some(Cause::ClockOff),
        &words,
    );
}

#[tokio::test]
async fn a_certificate_of_the_future_points_at_the_clock() {
    let authority = Authority::new("Plant CA");
    let broker = broker(&authority, authority.early_server()).await;
    let diagnosis = examine(&trusting(&broker, &authority)).await;
    let words = [
        "not valid yet (valid from 2099-01-01T00:00:00Z)",
        "see the step clock",
    ];
    failed(
        &diagnosis,
        StepName::Tls,
        Cause::ServerCertificateNotYetValid,
        &words,
    );
    let words = [
        "before the broker's certificate begins to be valid",
        "set the clock",
    ];
    failed(&diagnosis, StepName::Clock, Cause::ClockOff, &words);
}

#[tokio::test]
async fn certificates_are_held_against_the_doctors_clock() {
    let authority = Authority::new("Plant CA");
    let broker = broker(&authority, authority.early_server()).await;
    let year_2099 = 73 * 365 * 24 * 60 * 60;
    let doctor = Examination::with_clock_off_by(year_2099);
    let diagnosis = doctor
        .of("pump-1", &trusting(&broker, &authority), ".".as_ref())
        .await;
    found(&diagnosis, StepName::Tls, Verdict::Ok, None, &[]);
}

#[tokio::test]
async fn an_unknown_issuer_is_named() {
    let (known, stranger) = (Authority::new("Plant CA"), Authority::new("Other CA"));
    let server = broker(&stranger, stranger.server()).await;
    let diagnosis = examine(&trusting(&server, &known)).await;
    let words = [
        "ends at the issuer CN=Other CA",
        "ca.pem",
        "get the root certificate of CN=Other CA",
    ];
    failed(&diagnosis, StepName::Tls, Cause::IssuerUnknown, &words);

    // What users of akenza meet, with a CA file and without one.
    let lets_encrypt = Authority::new("ISRG Root X1");
    let server = broker(&lets_encrypt, lets_encrypt.server()).await;
    let diagnosis = examine(&trusting(&server, &known)).await;
    let words = [
        "ISRG Root X1 is the root of Let's Encrypt",
        "Remove ca_file",
    ];
    failed(&diagnosis, StepName::Tls, Cause::IssuerUnknown, &words);
    let url = format!("mqtts://localhost:{}", server.tls_addr().port());
    let diagnosis = examine(&plain(&url, "")).await;
    let words = [
        "this system's root certificates",
        "Update the package ca-certificates",
        "letsencrypt.org",
    ];
    failed(&diagnosis, StepName::Tls, Cause::IssuerUnknown, &words);
}

#[tokio::test]
async fn a_self_signed_certificate_is_told_from_an_unknown_issuer() {
    let authority = Authority::new("Plant CA");
    let server = authority.self_signed_server();
    let file = server.certificate_file.clone();
    let broker = broker(&authority, server).await;
    let diagnosis = examine(&trusting(&broker, &authority)).await;
    let words = [
        "not trusted",
        "vouches for this certificate but itself",
        "sha-256",
    ];
    failed(&diagnosis, StepName::Tls, Cause::SelfSigned, &words);
    // What the hint says helps.
    let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
    let diagnosis = examine(&plain(&url, &format!("ca_file = {file:?}"))).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
}

#[tokio::test]
async fn a_self_signed_certificate_as_openssl_makes_it() {
    let authority = Authority::new("Plant CA");
    let server = authority.self_signed_authority();
    let file = server.certificate_file.clone();
    let broker = broker(&authority, server).await;
    let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
    // Whether it is named or not: it cannot be used.
    for line in [String::new(), format!("ca_file = {file:?}")] {
        let diagnosis = examine(&plain(&url, &line)).await;
        let words = ["CA:TRUE", "vouches for itself", "CA:FALSE"];
        failed(&diagnosis, StepName::Tls, Cause::SelfSigned, &words);
    }
}

#[tokio::test]
async fn another_host_name_is_told_with_those_that_there_are() {
    let authority = Authority::new("Plant CA");
    let broker = broker(&authority, authority.server_for("broker.plant")).await;
    let diagnosis = examine(&trusting(&broker, &authority)).await;
    let words = [
        "not made out for the name localhost, only for: broker.plant",
        "server_name",
    ];
    failed(&diagnosis, StepName::Tls, Cause::OtherName, &words);
    // What the hint says helps.
    let text =
        trusting(&broker, &authority).replace("ca_file", "server_name = \"broker.plant\"\nca_file");
    let diagnosis = examine(&text).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
}

/// Lines for a connector whose devices may show a client certificate.
const OPTIONAL: &str = "override.session = \"device\"\noverride.connect.client_id = \"{device}\"\noverride.connect.tls_identity = \"optional\"";

#[tokio::test]
async fn a_demanded_client_certificate_is_told_from_one_that_is_not_taken() {
    let (authority, stranger) = (Authority::new("Device CA"), Authority::new("Other CA"));
    let broker = Mosquitto::builder().tls(&authority);
    let broker = broker
        .client_certificates(CertificateUse::Demand)
        .start()
        .await;
    let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
    let connector = plain(
        &url,
        &format!("ca_file = {:?}\n{OPTIONAL}", authority.ca_file()),
    );
    let diagnosis = examine(&connector).await;
    let words = [
        "demands a client certificate",
        "CertificateRequired",
        "identity_file",
    ];
    failed(
        &diagnosis,
        StepName::Certificate,
        Cause::ClientCertificateDemanded,
        &words,
    );

    let with = |identity: &Identity| {
        let (certificate, key) = (&identity.certificate_file, &identity.key_file);
        format!("{connector}identity_file = {certificate:?}\nidentity_key_file = {key:?}\n")
    };
    let diagnosis = examine(&with(&stranger.client("pump-1"))).await;
    let words = ["does not trust the issuer", "not those of CN=Other CA"];
    failed(
        &diagnosis,
        StepName::Certificate,
        Cause::ClientCertificateRefused,
        &words,
    );
    let diagnosis = examine(&with(&authority.client("pump-1"))).await;
    found(&diagnosis, StepName::Connect, Verdict::Ok, None, &[]);
    let words = ["CN=pump-1, and the broker took it"];
    found(&diagnosis, StepName::Certificate, Verdict::Ok, None, &words);
}

#[tokio::test]
async fn a_client_certificate_that_nobody_asks_for_is_noticed() {
    let authority = Authority::new("Device CA");
    let broker = Mosquitto::builder().tls(&authority).start().await;
    let identity = authority.client("pump-1");
    let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
    let connector = plain(
        &url,
        &format!("ca_file = {:?}\n{OPTIONAL}", authority.ca_file()),
    );
    let (certificate, key) = (&identity.certificate_file, &identity.key_file);
    let text = format!("{connector}identity_file = {certificate:?}\nidentity_key_file = {key:?}\n");
    let diagnosis = examine(&text).await;
    let cause = Some(Cause::ClientCertificateUnasked);
    found(
        &diagnosis,
        StepName::Certificate,
        Verdict::Warning,
        cause,
        &["does not ask for one"],
    );
}
