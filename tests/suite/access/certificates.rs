//! Client certificates in the place of tokens: a real TLS client.

use super::{TAIL, World, token};
use crate::harness::certificates::{Authority, Identity};
use crate::harness::shell::paste;

/// What curl is answered: the status code, or `000` where there was no answer.
async fn status(world: &World, ca: &Authority, who: Option<&Identity>, more: &str) -> String {
    let identity = who.map_or(String::new(), |who| {
        let (certificate, key) = (who.certificate_file.display(), who.key_file.display());
        format!("--cert {certificate} --key {key}")
    });
    let (ca, port) = (ca.ca_file(), world.bridge.addr().port());
    let ca = ca.display();
    paste(&format!(
        "curl -s -o /dev/null -w '%{{http_code}}' --cacert {ca} {identity} https://localhost:{port}{more} || true"
    ))
    .await
}

#[tokio::test]
async fn a_certificate_is_as_good_as_a_token() {
    let (ca, others) = (Authority::new("Plant"), Authority::new("Another plant"));
    let server = ca.server();
    let http = format!(
        "tls_certificate_file = {:?}\ntls_key_file = {:?}\nclient_ca_file = {:?}\nclient_certificates = \"optional\"",
        server.certificate_file,
        server.key_file,
        ca.ca_file()
    );
    let certificate = |name: &str, who: &str, scope: &str| {
        format!(
            "[access.certificates.{name}]\n{who}\nscopes = [\"{scope}\"]\ndevices = [\"pump-*\"]\n"
        )
    };
    let rules = [
        certificate("console", "subject = \"CN=console\"", "devices:read"),
        certificate("presses", "san = \"press-*.plant.example\"", "devices:read"),
        certificate("writer", "subject = \"CN=writer\"", "uplink"),
        token("program", &["devices:read"], ""),
    ];
    let world = World::with_http(&http, &rules.concat()).await;
    let console = ca.client("console");
    let (press, presser) = (
        ca.client_for("any", &["a.example", "press-7.plant.example"]),
        ca.client_for("any", &["press-7.plant.example.org"]),
    );
    let (writer, stranger, forged) = (
        ca.client("writer"),
        ca.client("console2"),
        others.client("console"),
    );
    let pump = "/v1/devices/pump-1";
    let with_token = format!("{pump} -H 'Authorization: Bearer program{TAIL}'");
    let wrong_token = format!("{pump} -H 'Authorization: Bearer nobody{TAIL}'");
    for (who, more, expected) in [
        (Some(&console), pump, "200"),
        (Some(&console), "/v1/devices/valve-1", "403"),
        (Some(&press), pump, "200"),
        (Some(&presser), pump, "401"),
        (Some(&writer), pump, "403"),
        (Some(&stranger), pump, "401"),
        (Some(&forged), pump, "000"),
        (None, pump, "401"),
        (None, &with_token, "200"),
        // A token goes before the certificate, for better or worse.
        (Some(&stranger), &with_token, "200"),
        (Some(&console), &wrong_token, "401"),
    ] {
        let seen = status(&world, &ca, who, more).await;
        assert_eq!(seen, expected, "{who:?} {more}");
    }
}
