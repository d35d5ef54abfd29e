//! Where a collector is.

use std::fmt;
use std::str::FromStr;

use crate::broker::{AuthorityError, Host, authority};

/// The path that OTLP posts traces to, below the collector's own.
const TRACES: &str = "/v1/traces";

/// `http://HOST:PORT` or `https://HOST:PORT` of a collector that takes OTLP over HTTP; with a path where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl {
    /// Whether it is spoken to in TLS.
    pub is_tls: bool,
    /// Its host.
    pub host: Host,
    /// Its port. Without one in the URL it is that of the scheme, 80 or 443.
    pub port: u16,
    path: Box<str>,
}

/// Why a collector's URL was refused. It is not repeated, as it may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCollectorUrl {
    /// Neither http nor https.
    #[error(
        "a collector is written http://HOST:4318 or https://HOST:4318; OTLP over gRPC is not spoken"
    )]
    Scheme,
    /// `user:password@`.
    #[error("user name and password do not belong into the URL: write a header into headers_file")]
    UserInfo,
    /// The port of OTLP over gRPC.
    #[error("4317 is the port of OTLP over gRPC; OTLP over HTTP is mostly on 4318")]
    Grpc,
    /// Something that no path has.
    #[error("behind host and port there may only be a path")]
    Path,
    /// Host or port.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl CollectorUrl {
    /// The path that spans are posted to: the URL's own, and `/v1/traces`.
    pub fn traces(&self) -> String {
        match self.path.strip_suffix(TRACES) {
            Some(base) => format!("{base}{TRACES}"),
            None => format!("{}{TRACES}", self.path),
        }
    }

    /// Host and port as a request's `Host` has them.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl FromStr for CollectorUrl {
    type Err = InvalidCollectorUrl;

    fn from_str(text: &str) -> Result<Self, InvalidCollectorUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidCollectorUrl::Scheme)?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(InvalidCollectorUrl::Scheme),
        };
        if rest.contains('@') {
            return Err(InvalidCollectorUrl::UserInfo);
        }
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let is_path = |b: u8| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b);
        if !path.bytes().all(is_path) {
            return Err(InvalidCollectorUrl::Path);
        }
        let (host, port) = authority(host)?;
        if port == Some(4317) {
            return Err(InvalidCollectorUrl::Grpc);
        }
        Ok(Self {
            is_tls,
            host,
            port: port.unwrap_or(if is_tls { 443 } else { 80 }),
            path: path.trim_end_matches('/').into(),
        })
    }
}

/// Without its path.
impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_where_traces_go() {
        for (text, shown, traces) in [
            (
                "http://localhost:4318",
                "http://localhost:4318",
                "/v1/traces",
            ),
            ("http://[::1]:4318/", "http://[::1]:4318", "/v1/traces"),
            (
                "HTTPS://Tempo.example/otlp",
                "https://tempo.example:443",
                "/otlp/v1/traces",
            ),
            ("http://a/v1/traces", "http://a:80", "/v1/traces"),
            ("http://a/x/v1/traces/", "http://a:80", "/x/v1/traces"),
        ] {
            let url: CollectorUrl = text.parse().unwrap();
            assert_eq!(
                (&*url.to_string(), &*url.traces()),
                (shown, traces),
                "{text}"
            );
        }
        use InvalidCollectorUrl as No;
        for (text, why) in [
            ("localhost:4318", No::Scheme),
            ("grpc://localhost:4317", No::Scheme),
            ("http://u:hunter2@a", No::UserInfo),
            ("http://a:4317", No::Grpc),
            ("http://a/x?y", No::Path),
            ("http://a/x y", No::Path),
            ("http://a/\r\n", No::Path),
            ("http://", No::Authority(AuthorityError::Host)),
            ("http://a:0", No::Authority(AuthorityError::Port)),
        ] {
            assert_eq!(text.parse::<CollectorUrl>(), Err(why), "{text}");
        }
    }
}
