//! `[access.tokens.NAME]` and `[access.certificates.NAME]`: who may do what.

use std::time::SystemTime;

use super::error::{Place, Report};
use super::files::Files;
use super::model::Http;
use super::section::Section;
use crate::access::{
    CertificateMatch, Credential, DevicePattern, Devices, NamePattern, Rate, Rule, RuleName, Scope,
    Scopes, TokenHash, check_token,
};

/// The highest number of requests or streams at a time.
const MAX_AT_A_TIME: u32 = 1_000_000;

/// Reads all of them.
pub(super) fn read(mut section: Section<'_>, files: &Files<'_>) -> Vec<Rule> {
    let tokens = section.section("tokens").sections();
    let certificates = section.section("certificates").sections();
    section.finish();
    let mut rules: Vec<Rule> = Vec::new();
    for (name, mut section) in tokens {
        let credential = token(&mut section, files).map(Credential::Token);
        if let Some(rule) = rule(name, section, credential, &rules) {
            rules.push(rule);
        }
    }
    for (name, mut section) in certificates {
        let credential = certificate(&mut section).map(Credential::Certificate);
        if let Some(rule) = rule(name, section, credential, &rules) {
            rules.push(rule);
        }
    }
    rules
}

/// A certificate that no client is asked for would be no use.
pub(super) fn check_certificates(rules: &[Rule], http: &Http, place: &Place, report: &Report) {
    let is_certificate = |rule: &Rule| matches!(rule.credential, Credential::Certificate(_));
    let are_asked_for = http
        .https
        .as_ref()
        .is_some_and(|https| https.clients.is_some());
    if !are_asked_for && rules.iter().any(is_certificate) {
        let message = "has no effect without http.client_ca_file, which names those whose certificates are taken";
        report.error(place, message);
    }
}

/// What both kinds have in common. `None` is reported.
fn rule(
    name: &str,
    mut section: Section<'_>,
    credential: Option<Credential>,
    others: &[Rule],
) -> Option<Rule> {
    let name = RuleName::parse(name)
        .map_err(|error| section.report().error(section.place(), error))
        .ok();
    let same = others
        .iter()
        .find(|other| Some(&other.credential) == credential.as_ref());
    if let Some(same) = same {
        let message = format!("{} is the same; each needs one of its own", same.name);
        section.report().error(section.place(), message);
    }
    let scopes = scopes(&mut section);
    let devices = devices(&mut section);
    let expires = section.time("expires");
    if expires.is_some_and(|expires| expires <= SystemTime::now()) {
        let place = section.place_of("expires");
        let message = "is over: whoever presents it is refused; remove the section, or renew it";
        section.report().warning(&place, message);
    }
    let rate = rate(&mut section);
    let mut at_a_time = |key| section.optional_count(key, 1..=MAX_AT_A_TIME);
    let (max_requests, max_streams) = (at_a_time("max_requests"), at_a_time("max_streams"));
    section.finish();
    Some(Rule {
        name: name?,
        credential: credential?,
        scopes,
        devices,
        expires,
        rate,
        max_requests,
        max_streams,
    })
}

/// `hash`, or the token itself in `token` or the file that `token_file` names. Only its hash is kept.
fn token(section: &mut Section<'_>, files: &Files<'_>) -> Option<TokenHash> {
    let plain = ["token", "token_file"].into_iter().find(|k| section.has(k));
    match (section.has("hash"), plain) {
        (true, Some(plain)) => section.error(
            plain,
            "there is hash too: keep one of them, the hash or the token",
        ),
        (false, None) => section.error(
            "hash",
            "is missing: `causeway access new` makes a token and prints its hash; or name a file with token_file",
        ),
        _ => {}
    }
    let hash = section.parsed("hash", str::parse);
    let Some(token) = files.secret(section, "token", "token_file") else {
        return hash;
    };
    match check_token(token.expose()) {
        Ok(()) => Some(TokenHash::of(token.expose())),
        Err(error) => {
            section.error(plain.unwrap_or("token"), error);
            None
        }
    }
}

/// One of `subject`, `san` and `fingerprint`.
fn certificate(section: &mut Section<'_>) -> Option<CertificateMatch> {
    let given: Vec<_> = ["subject", "san", "fingerprint"]
        .into_iter()
        .filter(|key| section.has(key))
        .collect();
    match *given {
        [_] => {}
        [] => section.error(
            "subject",
            "is missing: name the certificate by its subject (as `openssl x509 -noout -subject -nameopt RFC2253` prints it), \
             one of its names (san), or its fingerprint",
        ),
        [_, second, ..] => section.error(second, format_args!("there is {} too: keep one", given[0])),
    }
    let subject = section.parsed("subject", |text| match text {
        "" => Err("is empty"),
        _ => Ok(CertificateMatch::Subject(text.into())),
    });
    let name = section.parsed("san", |text| {
        NamePattern::parse(text).map(CertificateMatch::Name)
    });
    let fingerprint = section.parsed("fingerprint", fingerprint);
    let named = subject.or(name).or(fingerprint);
    named.filter(|_| given.len() == 1)
}

/// As `openssl x509 -noout -fingerprint -sha256` prints it, with or without colons.
fn fingerprint(text: &str) -> Result<CertificateMatch, &'static str> {
    const FORM: &str = "must be the SHA-256 of the certificate: 64 hexadecimal digits, as \
                        `openssl x509 -noout -fingerprint -sha256` prints them, with or without colons";
    let digits: Vec<_> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or(FORM)?;
    let bytes: Vec<_> = digits
        .chunks(2)
        .map(|pair| pair[0] * 16 + pair.get(1).unwrap_or(&0))
        .collect();
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) if digits.len() == 64 => Ok(CertificateMatch::Fingerprint(bytes)),
        _ => Err(FORM),
    }
}

fn scopes(section: &mut Section<'_>) -> Scopes {
    let what = format!("say what it is for, some of: {}", Scopes::all());
    let names = section.filled_list("scopes", None, &what);
    let scope = |name: &String| match name.parse::<Scope>() {
        Ok(scope) => Some(scope),
        Err(error) => {
            section.error("scopes", error);
            None
        }
    };
    names.iter().filter_map(scope).collect()
}

fn devices(section: &mut Section<'_>) -> Devices {
    let what = "it would be for no device; remove the key where it is for all of them";
    let texts = section.filled_list("devices", Some("*"), what);
    let pattern = |text: &String| match DevicePattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            section.error("devices", error);
            None
        }
    };
    Devices::of(texts.iter().filter_map(pattern))
}

fn rate(section: &mut Section<'_>) -> Option<Rate> {
    let per_second = section.optional_count("rate", 1..=Rate::MAX);
    if per_second.is_none() && section.has("burst") {
        section.error("burst", "has no effect without rate");
    }
    let least = per_second.unwrap_or(1);
    let burst = section.optional_count("burst", least..=Rate::MAX);
    Rate::new(per_second?, burst.unwrap_or(least))
}
