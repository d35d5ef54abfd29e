//! `[store] url`: a store on NATS JetStream in place of a file.

use std::net::IpAddr;

use super::files::Files;
use super::section::Section;
use crate::secret::Secret;
use crate::store::{NatsLogin, NatsServers};

const KEYS: [&str; 7] = [
    "credentials_file",
    "user",
    "password",
    "password_file",
    "ca_file",
    "replicas",
    "prefix",
];
const DEFAULT_PREFIX: &str = "causeway";

/// `None` where the store is a file, or there is none.
pub(super) fn servers(
    section: &mut Section<'_>,
    files: &Files<'_>,
    enabled: bool,
) -> Option<NatsServers> {
    let is_there = section.has("url");
    let before = section.report().errors();
    let urls = section.list("url");
    let login = login(section, files);
    let ca_file = section.text("ca_file").map(|path| files.resolve(path));
    let replicas = replicas(section);
    let prefix = prefix(section);
    if !is_there {
        for key in KEYS.into_iter().filter(|key| section.has(key)) {
            section.error(
                key,
                "has no effect without url, which puts the store on NATS JetStream",
            );
        }
        return None;
    }
    if section.has("path") {
        section.error(
            "path",
            "there are both path and url: the store is a file or on NATS JetStream; keep one of them",
        );
    }
    if !enabled {
        section.error(
            "url",
            "has no effect with enabled = false: nothing is stored; remove one of the two",
        );
    }
    check(section, &urls, login.as_ref());
    // What is wrong is wrong in every build, and said first.
    if cfg!(not(feature = "nats")) && section.report().errors() == before {
        section.error(
            "url",
            "this build has no NATS; one that was made with `cargo build --features nats` has it",
        );
    }
    Some(NatsServers {
        urls,
        login,
        ca_file,
        replicas,
        prefix,
    })
}

fn check(section: &Section<'_>, urls: &[String], login: Option<&NatsLogin>) {
    if urls.is_empty() {
        section.error("url", "is empty: name at least one nats-server");
    }
    for url in urls {
        let host = match host(url) {
            Ok(host) => host,
            Err(problem) => {
                // The address itself may hold a secret.
                section.error("url", problem);
                continue;
            }
        };
        let is_local = host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if matches!(login, Some(NatsLogin::Password { .. }))
            && url.starts_with("nats://")
            && !is_local
        {
            section.report().warning(
                &section.place_of("url"),
                "the password crosses the network unencrypted where the server does not ask for TLS; tls:// does",
            );
        }
    }
}

/// The host of an address.
fn host(url: &str) -> Result<&str, &'static str> {
    const FORM: &str = "must be nats://host:port or tls://host:port, one or a list of them";
    let rest = url
        .strip_prefix("nats://")
        .or_else(|| url.strip_prefix("tls://"))
        .ok_or(FORM)?;
    if rest.contains('@') {
        return Err(
            "must not hold a user or a password; there are user, password_file and credentials_file for them",
        );
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(FORM)?;
            host.parse::<IpAddr>().map_err(|_| FORM)?;
            (host, port.strip_prefix(':'))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if host.is_empty() || !host.bytes().all(is_host) || !is_port {
        return Err(FORM);
    }
    Ok(host)
}

fn login(section: &mut Section<'_>, files: &Files<'_>) -> Option<NatsLogin> {
    let credentials = files.private(section, "credentials_file");
    let user = section.text("user").map(str::to_owned);
    let password = files.secret(section, "password", "password_file");
    let has_password = section.has("password") || section.has("password_file");
    if section.has("credentials_file") {
        for key in ["user", "password", "password_file"] {
            if section.has(key) {
                section.error(key, "there is credentials_file too: keep one of them");
            }
        }
        let file = credentials?;
        return match std::str::from_utf8(&file.bytes) {
            Ok(text) => Some(NatsLogin::Credentials(Secret::new(text))),
            Err(_) => {
                let path = file.path.display();
                section.error("credentials_file", format_args!("{path} is not UTF-8 text"));
                None
            }
        };
    }
    match (user, password) {
        (Some(user), Some(password)) => Some(NatsLogin::Password { user, password }),
        (Some(_), None) if !has_password => {
            section.error("user", "needs password_file or password");
            None
        }
        (None, _) if has_password && !section.has("user") => {
            let key = ["password_file", "password"];
            let key = key.into_iter().find(|key| section.has(key));
            section.error(key.unwrap_or("password"), "needs user");
            None
        }
        _ => None,
    }
}

fn replicas(section: &mut Section<'_>) -> usize {
    let replicas = section.count("replicas", 1, 1..=5);
    if replicas.is_multiple_of(2) {
        section.error("replicas", "must be 1, 3 or 5");
    }
    replicas as usize
}

fn prefix(section: &mut Section<'_>) -> String {
    let prefix = section.text("prefix").unwrap_or(DEFAULT_PREFIX);
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if prefix.is_empty() || prefix.len() > 32 || !prefix.bytes().all(fits) {
        section.error(
            "prefix",
            "must be 1 to 32 of the characters a-z, 0-9, - and _",
        );
    }
    prefix.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_nothing_secret() {
        for (url, expected) in [
            ("nats://localhost:4222", "localhost"),
            ("tls://nats.example.com", "nats.example.com"),
            ("nats://127.0.0.1:4222/", "127.0.0.1"),
            ("nats://[::1]:4222", "::1"),
        ] {
            assert_eq!(host(url), Ok(expected));
        }
        for bad in [
            "",
            "localhost",
            "mqtt://a",
            "nats://",
            "nats://a:b",
            "nats://a:0",
            "nats://a/b",
            "nats://user:s3cret@a",
            "nats://[x]:1",
            "nats://a b",
        ] {
            assert!(host(bad).is_err(), "{bad:?} was taken");
        }
    }
}
