//! `causeway access`: tokens for programs that use the bridge.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use toml::Value;
use zeroize::Zeroizing;

use super::error::CliError;
use crate::access::{
    DevicePattern, PatternError, Rate, RuleName, Scope, TokenHash, check_token, new_token,
};

const EXAMPLES: &str = "\
Examples:
  causeway access new press-7 --scopes uplink --devices 'press-7-*'
  token=$(causeway access new dashboard --scopes devices:read,downlink --expires 90days 2>>causeway.toml)
  causeway access hash <token-from-elsewhere

The token alone is printed on standard output, and is kept nowhere. Its section for the configuration, with the hash of it, is
printed on standard error.";

/// Make tokens (bearer tokens of the HTTP interface) for programs that use the bridge
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a token: print it once, and the section that lets it in
    #[command(after_help = EXAMPLES)]
    New(New),
    /// Print the hash of a token that you bring along, read from standard input
    #[command(after_help = EXAMPLES)]
    Hash,
}

#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// What to call it in the configuration, in answers and in logs
    #[arg(value_parser = RuleName::parse)]
    name: RuleName,
    /// What it is for, with commas between: uplink, downlink, devices:read, devices:write, keys
    #[arg(long, value_delimiter = ',', required = true, value_name = "SCOPES")]
    scopes: Vec<Scope>,
    /// For which devices, with commas between; * stands for any characters [default: all]
    #[arg(long, value_delimiter = ',', value_parser = pattern, value_name = "PATTERNS")]
    devices: Vec<DevicePattern>,
    /// From when on it is refused: 2030-01-31T12:00:00Z, or a time from now: 90days
    #[arg(long, value_parser = end, value_name = "WHEN")]
    expires: Option<SystemTime>,
    /// How many requests a second it may make [default: any number]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(Rate::MAX)))]
    rate: Option<u32>,
}

impl Command {
    pub(super) fn run(self) -> Result<String, CliError> {
        match self {
            Self::New(new) => {
                let token = new_token().map_err(|error| {
                    CliError::Failed(format!("the system has no randomness: {error}"))
                })?;
                eprint!("{}", new.section(TokenHash::of(token.expose())));
                Ok(format!("{}\n", token.expose()))
            }
            Self::Hash => hash(io::stdin().lock()),
        }
    }
}

impl New {
    /// The section for the configuration. Nothing else is printed with it, so that it can be appended to a file.
    fn section(&self, hash: TokenHash) -> String {
        let list = |texts: Vec<&str>| {
            let texts = texts.into_iter().map(|text| Value::String(text.to_owned()));
            Value::Array(texts.collect())
        };
        let scopes = list(self.scopes.iter().map(|scope| scope.name()).collect());
        let mut text = format!(
            "\n[access.tokens.{}]\nhash = \"{hash}\"\nscopes = {scopes}\n",
            self.name
        );
        if !self.devices.is_empty() {
            let devices = list(self.devices.iter().map(DevicePattern::as_str).collect());
            let _ = writeln!(text, "devices = {devices}");
        }
        if let Some(expires) = self.expires {
            let expires = humantime::format_rfc3339_seconds(expires);
            let _ = writeln!(text, "expires = {expires}");
        }
        if let Some(rate) = self.rate {
            let _ = writeln!(text, "rate = {rate}");
        }
        text
    }
}

fn pattern(text: &str) -> Result<DevicePattern, PatternError> {
    DevicePattern::parse(text)
}

fn end(text: &str) -> Result<SystemTime, String> {
    let now = SystemTime::now();
    let end = match humantime::parse_rfc3339(text) {
        Ok(end) => Some(end),
        Err(_) => humantime::parse_duration(text)
            .ok()
            .and_then(|left| now.checked_add(left)),
    };
    match end {
        Some(end) if end > now && end < now + LONGEST => Ok(end),
        Some(end) if end <= now => Err("that is over already".to_owned()),
        _ => Err("write 2030-01-31T12:00:00Z, or a time from now, such as 90days".to_owned()),
    }
}

/// RFC 3339 has four digits for a year.
const LONGEST: Duration = Duration::from_secs(5000 * 365 * 24 * 3600);

/// One line end does not belong to the token.
fn hash(mut from: impl Read) -> Result<String, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = from.by_ref().take(64 * 1024).read_to_string(&mut text);
    read.map_err(|error| CliError::Io("standard input".into(), error))?;
    let token = text.strip_suffix('\n').unwrap_or(&text);
    let token = token.strip_suffix('\r').unwrap_or(token);
    check_token(token).map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(format!("{}\n", TokenHash::of(token)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::access::Credential;
    use crate::config::Config;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn new(args: &[&str]) -> Result<New, clap::Error> {
        let line = Line::try_parse_from([&["access", "new"], args].concat())?;
        match line.command {
            Command::New(new) => Ok(new),
            Command::Hash => panic!("not new"),
        }
    }

    #[test]
    fn the_section_is_what_was_asked_for() {
        let args = [
            "ci",
            "--scopes",
            "uplink,devices:read",
            "--devices",
            "pump-*,a \"b\"",
            "--devices",
            "ü",
            "--expires",
            "2030-01-31T12:00:00Z",
            "--rate",
            "7",
        ];
        let section = new(&args).unwrap().section(TokenHash::of("abc"));
        let config = Config::from_text(&section, "x", "".as_ref(), []).unwrap();
        let [rule] = &*config.access else {
            panic!("{section}");
        };
        assert_eq!(rule.name.as_str(), "ci");
        assert_eq!(rule.credential, Credential::Token(TokenHash::of("abc")));
        assert_eq!(rule.scopes.to_string(), "uplink, devices:read");
        assert_eq!(rule.devices.to_string(), "pump-*, a \"b\", ü");
        let expires = humantime::parse_rfc3339("2030-01-31T12:00:00Z").unwrap();
        assert_eq!((rule.expires, rule.rate), (Some(expires), Rate::new(7, 7)));

        let least = new(&["ci", "--scopes", "keys"]).unwrap();
        let section = least.section(TokenHash::of("abc"));
        assert_eq!(section.lines().count(), 4, "{section}");
        assert!(Config::from_text(&section, "x", "".as_ref(), []).is_ok());
    }

    #[test]
    fn what_is_no_token_to_make_is_wrong_usage() {
        for args in [
            &["ci"][..],
            &["CI", "--scopes", "uplink"],
            &["ci", "--scopes", ""],
            &["ci", "--scopes", "uplink,all"],
            &["ci", "--scopes", "uplink", "--devices", "a/b"],
            &["ci", "--scopes", "uplink", "--expires", "soon"],
            &[
                "ci",
                "--scopes",
                "uplink",
                "--expires",
                "2020-01-01T00:00:00Z",
            ],
            &["ci", "--scopes", "uplink", "--expires", "9999999999years"],
            &["ci", "--scopes", "uplink", "--expires", "8000years"],
            &["ci", "--scopes", "uplink", "--rate", "0"],
        ] {
            assert_eq!(new(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
        assert!(new(&["ci", "--scopes", "uplink", "--expires", "90days"]).is_ok());
    }

    #[test]
    fn a_hash_is_that_of_the_token_without_its_line_end() {
        let expected = format!("{}\n", TokenHash::of("0123456789abcdef"));
        for text in [
            "0123456789abcdef",
            "0123456789abcdef\n",
            "0123456789abcdef\r\n",
        ] {
            assert_eq!(hash(text.as_bytes()).unwrap(), expected);
        }
        for bad in [
            "",
            "\n",
            "short",
            "0123456789 abcdef",
            "0123456789abcdef\n\n",
        ] {
            assert!(hash(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(hash(&b"\xff\xfe0123456789abcdef"[..]).is_err());
    }
}
