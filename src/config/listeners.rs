//! The sections about this program itself: `[http]`, `[management]`, `[log]`, `[limits]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::environment::RUST_LOG;
use super::error::Origin;
use super::files::Files;
use super::https;
use super::model::{Connections, Http, Limits, Log, LogFormat, Management};
use super::section::Section;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// MQTT's largest packet is one byte short of 256 MiB (MQTT 5 §1.5.5); the last MiB is left to topic and properties.
const MAX_BODY: usize = 255 * MIB;

/// `guarded`: there are tokens or certificates of clients that are let in.
pub(super) fn http(mut section: Section<'_>, files: &Files<'_>, guarded: bool) -> Http {
    let listen = listen(&mut section, 8080);
    let https = https::https(&mut section, files);
    let allow_anonymous = section.flag("allow_anonymous", false);
    if allow_anonymous && guarded {
        section.error(
            "allow_anonymous",
            "there are tokens or certificates under [access], so nobody is let in without one; remove the one or the other",
        );
    }
    let max_body = section.bytes("max_body", MIB, 1..=MAX_BODY);
    let max_wait = section.duration("max_wait", seconds(60), seconds(1)..=seconds(3600));
    let wait = section.duration(
        "wait",
        seconds(5).min(max_wait),
        Duration::from_millis(1)..=max_wait,
    );
    let cors_origins = section.list("cors_origins");
    for origin in &cors_origins {
        if !is_origin(origin) {
            section.error(
                "cors_origins",
                format_args!(
                    "{origin:?} is no origin: write scheme and host, such as \"https://plant.example\" or \
                     \"http://localhost:3000\", or \"*\" alone for any"
                ),
            );
        }
    }
    let connections = connections(&mut section);
    let http = Http {
        listen,
        https,
        connections,
        cors_origins,
        allow_anonymous,
        max_body,
        wait,
        max_wait,
    };
    if !listen.ip().is_loopback() && http.lets_anybody_in(guarded) && !allow_anonymous {
        section.error(
            "listen",
            format_args!(
                "{listen} is reached from other machines, and anybody could send as any device: \
                 make a token (`causeway access new`), or demand client certificates (http.client_ca_file), \
                 or listen on 127.0.0.1, or write http.allow_anonymous = true where something else keeps strangers out"
            ),
        );
    }
    section.finish();
    http
}

fn connections(section: &mut Section<'_>) -> Connections {
    let per_address = section.optional_count("max_connections_per_address", 1..=1_000_000);
    Connections {
        max: section.count("max_connections", 10_000, 1..=1_000_000) as usize,
        per_address: per_address.map(|count| count as usize),
        max_head: section.bytes("max_head", 32 * KIB, KIB..=64 * KIB),
        max_headers: section.count("max_headers", 100, 8..=1000) as usize,
        head_timeout: section.duration("head_timeout", seconds(20), seconds(1)..=seconds(600)),
        idle_timeout: section.duration("idle_timeout", seconds(75), seconds(1)..=seconds(86_400)),
        body_timeout: section.duration("body_timeout", seconds(20), seconds(1)..=seconds(3600)),
        min_body_rate: section.bytes("min_body_rate", 500, 1..=1024 * MIB),
    }
}

pub(super) fn management(mut section: Section<'_>, http: &Http) -> Management {
    let listen = listen(&mut section, 9090);
    if listen.port() != 0 && listen == http.listen {
        section.error(
            "listen",
            format_args!("{listen} is http.listen already; the two listeners need an address each"),
        );
    }
    section.finish();
    Management { listen }
}

pub(super) fn log(mut section: Section<'_>) -> Log {
    let formats = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    let format = section.choice("format", &formats, LogFormat::Human);
    // RUST_LOG is shared with other programs, and may name parts of theirs.
    let shared = section.place_of("level").origin == Origin::Variable(RUST_LOG.into());
    let level = section
        .parsed("level", |text| check_level(text, shared))
        .unwrap_or_else(|| "info".to_owned());
    section.finish();
    Log { format, level }
}

pub(super) fn limits(mut section: Section<'_>, http: &Http) -> Limits {
    let limits = Limits {
        connects_per_second: section.count("connects_per_second", 100, 1..=100_000),
        concurrent_connects: section.count("concurrent_connects", 64, 1..=100_000) as usize,
        queued_uplinks: section.count("queued_uplinks", 1000, 1..=1_000_000) as usize,
        queued_bytes: section.bytes("queued_bytes", 64 * MIB, 1..=1024 * 1024 * MIB),
    };
    if limits.queued_bytes < http.max_body {
        section.error(
            "queued_bytes",
            "is below http.max_body: the longest body that is taken would never find room",
        );
    }
    section.finish();
    limits
}

/// An origin as a browser sends it (RFC 6454 §6.2): no path behind the host.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    text == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
        })
}

fn listen(section: &mut Section<'_>, default_port: u16) -> SocketAddr {
    let parse = |text: &str| {
        text.parse::<SocketAddr>().map_err(|_| {
            format!(
                "must be an IP address and a port, such as \"127.0.0.1:{default_port}\" or \"[::1]:{default_port}\"; names are not looked up"
            )
        })
    };
    section
        .parsed("listen", parse)
        .unwrap_or_else(|| (Ipv4Addr::LOCALHOST, default_port).into())
}

fn check_level(text: &str, shared: bool) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let parts = || text.split(',').map(str::trim);
    // A word that is no level is taken for the name of a part, so that a typing mistake silences everything.
    let mistyped = parts()
        .find(|part| !part.contains('=') && !LEVELS.iter().any(|l| part.eq_ignore_ascii_case(l)));
    match mistyped {
        Some(part) if !shared => {
            return Err(format!(
                "{part:?} is no level; there are: {}; or write part=level",
                LEVELS.join(", ")
            ));
        }
        _ => {}
    }
    if let Some(part) = parts().find(|part| part.contains('[')) {
        return Err(format!(
            "{part:?}: spans and fields cannot be told apart here; write part=level, in CAUSEWAY__LOG__LEVEL if other \
             programs need this"
        ));
    }
    // Nothing at all would be everything.
    let parts: Vec<_> = parts().filter(|part| !part.is_empty()).collect();
    let level = match parts.is_empty() {
        true => "error".to_owned(),
        false => parts.join(","),
    };
    match level.parse::<Targets>() {
        Ok(_) => Ok(level),
        Err(error) => Err(error.to_string()),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
