//! Tokens and certificates.

use std::time::{Duration, SystemTime};

use super::{Folder, TOKENS};
use crate::access::{CertificateMatch, Credential, Rate, Rule, TokenHash};
use crate::config::Config;

fn named<'a>(config: &'a Config, name: &str) -> &'a Rule {
    let rule = config.access.iter().find(|rule| rule.name.as_str() == name);
    rule.unwrap()
}

fn is_token(rule: &Rule, token: &str) -> bool {
    rule.credential == Credential::Token(TokenHash::of(token))
}

#[test]
fn everything_about_a_token_arrives() {
    let text = r#"
        [http]
        listen = "0.0.0.0:80"
        tls_certificate_file = "key.pem"
        client_ca_file = "ca.pem"
        client_certificates = "optional"
        [access.tokens]
        inline = { token = "0123456789abcdef", scopes = ["downlink"] }
        [access.tokens.file]
        token_file = "token"
        scopes = ["keys", "devices:read", "devices:write"]
        devices = ["pump-*", "valve"]
        expires = 2030-01-31T13:00:00.5+01:00
        rate = 10
        burst = 30
        max_requests = 4
        max_streams = 5
        [access.certificates]
        subject = { subject = "CN=press-7,O=Plant", scopes = ["uplink"], expires = "1970-01-01T00:00:00-00:30" }
        name = { san = "press-*.example", scopes = ["uplink"], rate = 3 }
        fingerprint = { fingerprint = "BA:78:16bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", scopes = ["uplink"] }
        "#;
    let config = Folder::new().read(&format!("{text}{TOKENS}"), &[]).unwrap();
    assert_eq!(config.access.len(), 6);
    assert!(is_token(named(&config, "ci"), "abc"));

    let inline = named(&config, "inline");
    assert!(is_token(inline, "0123456789abcdef"));
    assert!(inline.devices.is_all() && inline.scopes.to_string() == "downlink");
    let limits = (inline.rate, inline.max_requests, inline.max_streams);
    assert_eq!((inline.expires, limits), (None, (None, None, None)));

    let file = named(&config, "file");
    assert!(is_token(file, "s3cret-in-a-file-0123456789"));
    assert_eq!(file.scopes.to_string(), "devices:read, devices:write, keys");
    assert_eq!(file.devices.to_string(), "pump-*, valve");
    let expires = humantime::parse_rfc3339("2030-01-31T12:00:00.5Z").unwrap();
    assert_eq!(file.expires, Some(expires));
    assert_eq!(file.rate, Rate::new(10, 30));
    assert_eq!((file.max_requests, file.max_streams), (Some(4), Some(5)));

    let credential = |name| match &named(&config, name).credential {
        Credential::Certificate(meant) => meant.clone(),
        other => panic!("{other:?}"),
    };
    let subject = CertificateMatch::Subject("CN=press-7,O=Plant".into());
    assert_eq!(credential("subject"), subject);
    assert!(
        matches!(credential("name"), CertificateMatch::Name(name) if name.as_str() == "press-*.example")
    );
    assert!(matches!(
        credential("fingerprint"),
        CertificateMatch::Fingerprint([0xba, 0x78, .., 0xad])
    ));
    assert_eq!(named(&config, "name").rate, Rate::new(3, 3));
    let half_past = SystemTime::UNIX_EPOCH + Duration::from_secs(30 * 60);
    assert_eq!(named(&config, "subject").expires, Some(half_past));
}

#[test]
fn the_environment_may_name_a_token() {
    let env = [
        ("CAUSEWAY__ACCESS__TOKENS__CI__TOKEN", "0123456789abcdef"),
        ("CAUSEWAY__ACCESS__TOKENS__CI__SCOPES", "uplink keys"),
        (
            "CAUSEWAY__ACCESS__TOKENS__CI__EXPIRES",
            "2030-01-31T12:00:00Z",
        ),
    ];
    let config = Folder::new().read("", &env).unwrap();
    let rule = named(&config, "ci");
    assert!(is_token(rule, "0123456789abcdef") && rule.expires.is_some());
    assert_eq!(rule.scopes.to_string(), "uplink, keys");
}

#[test]
fn a_token_that_is_over_is_warned_of() {
    let text = format!("{TOKENS}expires = 2020-01-01T00:00:00Z\n");
    let config = Folder::new().read(&text, &[]).unwrap();
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    let [warning] = &*warnings else {
        panic!("{warnings:?}");
    };
    assert!(
        warning.starts_with("causeway.toml:4: access.tokens.ci.expires: is over"),
        "{warning}"
    );
}

#[test]
fn nothing_of_a_token_is_kept_or_printed() {
    let text = "[access.tokens.ci]\ntoken = \"0123456789abcdef\"\nscopes = [\"uplink\"]\n";
    let config = Folder::new().read(text, &[]).unwrap();
    let printed = format!("{config:?}");
    let hash = TokenHash::of("0123456789abcdef").to_string();
    assert!(!printed.contains("0123456789abcdef") && !printed.contains(&hash[7..]));
}
