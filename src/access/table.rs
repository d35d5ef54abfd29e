//! All tokens and certificates, looked up for each request and replaced as a whole while requests run.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::grant::Grant;
use super::rule::{CertificateMatch, Credential, Rule, RuleName};
use super::token::TokenHash;

/// Who may do what, at the moment.
#[derive(Debug)]
pub struct Access {
    /// Held for a look-up, and never while somebody waits.
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// There without any tokens and certificates.
    anybody: Option<Arc<Grant>>,
    /// By a secret hash: how long a look-up takes tells how much of a hash matches, and nobody can choose a token by its
    /// hash. The whole hash is compared in constant time.
    tokens: HashMap<TokenHash, Arc<Grant>>,
    /// In the order in which they are tried.
    certificates: Vec<Arc<Grant>>,
}

/// What a request presents.
#[derive(Debug, Clone, Copy)]
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// A bearer token.
    Token(&'a str),
    /// A client certificate that the listener has verified.
    Certificate(Certificate<'a>),
    /// More than one token.
    Several,
}

/// A client certificate that the listener has verified.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// Its subject, as RFC 4514 writes it.
    pub subject: &'a str,
    /// Its subject alternative names.
    pub names: &'a [Box<str>],
    /// The SHA-256 of its DER.
    pub fingerprint: &'a [u8; 32],
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// Nothing was presented.
    #[error("there is no token")]
    Nothing,
    /// There is no such token.
    #[error("this token is not known here")]
    Token,
    /// There is no such certificate.
    #[error("there is no token, and the client certificate is not one of those that are let in")]
    Certificate,
    /// Which of them is meant?
    #[error("there is more than one token")]
    Several,
    /// It is over.
    #[error("the token or certificate {name} expired at {}", humantime::format_rfc3339_seconds(*.at))]
    Expired {
        /// What it is called.
        name: RuleName,
        /// Since when.
        at: SystemTime,
    },
}

impl Access {
    /// These rules. Without any, everybody may do everything.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let access = Self {
            table: RwLock::default(),
        };
        access.replace(rules);
        access
    }

    /// Everybody may do everything.
    pub fn open() -> Self {
        Self::new([])
    }

    /// Puts other rules in force. Those that are the same as before go on with what they have used up; the streams of all
    /// others end.
    pub fn replace(&self, rules: impl IntoIterator<Item = Rule>) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *table).into_grants();
        let mut rules = rules.into_iter().peekable();
        let anybody = rules.peek().is_none().then(Rule::of_anybody);
        let grants = rules
            .chain(anybody)
            .map(|rule| match before.entry(key(&rule)) {
                Entry::Occupied(same) if *same.get().rule() == rule => same.remove(),
                _ => Arc::new(Grant::new(rule)),
            });
        *table = Table::of(grants);
        drop(table);
        for grant in before.values() {
            grant.withdrawn.cancel();
        }
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.anybody.is_some()
    }

    /// In whose name a request comes. Where everybody may do everything, nothing that is presented is looked at.
    pub fn identify(
        &self,
        presented: Presented<'_>,
        now: SystemTime,
    ) -> Result<Arc<Grant>, Stranger> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(anybody) = &table.anybody {
            return Ok(Arc::clone(anybody));
        }
        let grant = match presented {
            Presented::Nothing => return Err(Stranger::Nothing),
            Presented::Several => return Err(Stranger::Several),
            Presented::Token(token) => table
                .tokens
                .get(&TokenHash::of(token))
                .ok_or(Stranger::Token)?,
            Presented::Certificate(certificate) => table
                .certificates
                .iter()
                .find(|grant| is_meant(grant.rule(), certificate))
                .ok_or(Stranger::Certificate)?,
        };
        let rule = grant.rule();
        match rule.expires {
            Some(at) if rule.is_expired(now) => Err(Stranger::Expired {
                name: rule.name.clone(),
                at,
            }),
            _ => Ok(Arc::clone(grant)),
        }
    }
}

impl Table {
    fn of(grants: impl Iterator<Item = Arc<Grant>>) -> Self {
        let mut table = Self::default();
        for grant in grants {
            match grant.rule().credential {
                Credential::None => table.anybody = Some(grant),
                Credential::Token(hash) => {
                    table.tokens.insert(hash, grant);
                }
                Credential::Certificate(_) => table.certificates.push(grant),
            }
        }
        let order = |grant: &Arc<Grant>| (is_pattern(grant.rule()), grant.rule().name.clone());
        table.certificates.sort_by_cached_key(order);
        table
    }

    fn into_grants(self) -> HashMap<(Family, RuleName), Arc<Grant>> {
        let all = self.anybody.into_iter().chain(self.certificates);
        all.chain(self.tokens.into_values())
            .map(|grant| (key(grant.rule()), grant))
            .collect()
    }
}

/// Each family has names of its own.
type Family = std::mem::Discriminant<Credential>;

fn key(rule: &Rule) -> (Family, RuleName) {
    (std::mem::discriminant(&rule.credential), rule.name.clone())
}

/// Those that mean one certificate, or one name, go before those that mean many.
fn is_pattern(rule: &Rule) -> bool {
    match &rule.credential {
        Credential::Certificate(CertificateMatch::Name(name)) => !name.is_exact(),
        _ => false,
    }
}

fn is_meant(rule: &Rule, certificate: Certificate<'_>) -> bool {
    let Credential::Certificate(meant) = &rule.credential else {
        return false;
    };
    match meant {
        CertificateMatch::Subject(subject) => **subject == *certificate.subject,
        CertificateMatch::Name(pattern) => certificate.names.iter().any(|n| pattern.matches(n)),
        CertificateMatch::Fingerprint(fingerprint) => fingerprint == certificate.fingerprint,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::access::rule::NamePattern;
    use crate::access::{Caller, Rate, Scope};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn rule(name: &str, credential: Credential) -> Rule {
        Rule {
            name: RuleName::parse(name).unwrap(),
            credential,
            ..Rule::of_anybody()
        }
    }

    fn token(name: &str) -> Rule {
        rule(name, Credential::Token(TokenHash::of(name)))
    }

    fn certificate(name: &str, meant: CertificateMatch) -> Rule {
        rule(name, Credential::Certificate(meant))
    }

    fn identify(access: &Access, presented: Presented<'_>) -> Result<String, Stranger> {
        let grant = access.identify(presented, NOW)?;
        Ok(grant.rule().name.to_string())
    }

    #[test]
    fn without_rules_everybody_is_let_in_and_with_one_only_who_is_known() {
        let access = Access::open();
        assert!(access.is_open());
        for presented in [Presented::Nothing, Presented::Token("a")] {
            assert_eq!(identify(&access, presented), Ok("anybody".to_owned()));
        }
        access.replace([token("a"), token("b")]);
        assert!(!access.is_open());
        assert_eq!(identify(&access, Presented::Token("b")), Ok("b".to_owned()));
        assert_eq!(
            identify(&access, Presented::Nothing),
            Err(Stranger::Nothing)
        );
        assert_eq!(
            identify(&access, Presented::Token("c")),
            Err(Stranger::Token)
        );
    }

    #[test]
    fn what_is_expired_is_refused_from_that_moment_on() {
        let at = NOW + Duration::from_secs(1);
        let access = Access::new([Rule {
            expires: Some(at),
            ..token("a")
        }]);
        let identify = |now| access.identify(Presented::Token("a"), now).map(drop);
        assert_eq!(identify(at - Duration::from_nanos(1)), Ok(()));
        let error = identify(at).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token or certificate a expired at 1970-01-01T00:00:01Z"
        );
    }

    #[test]
    fn certificates_are_known_by_what_is_exact_first() {
        let name = |text| CertificateMatch::Name(NamePattern::parse(text).unwrap());
        let access = Access::new([
            certificate("any", name("press-*")),
            certificate("one", name("press-7")),
            certificate("subject", CertificateMatch::Subject("CN=x".into())),
            certificate("fingerprint", CertificateMatch::Fingerprint([7; 32])),
        ]);
        let known = |subject: &str, names: &[&str], fingerprint: [u8; 32]| {
            let names: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
            identify(
                &access,
                Presented::Certificate(Certificate {
                    subject,
                    names: &names,
                    fingerprint: &fingerprint,
                }),
            )
        };
        let none = [0; 32];
        assert_eq!(known("CN=y", &["a", "press-7"], none).unwrap(), "one");
        assert_eq!(known("CN=y", &["a", "press-8"], none).unwrap(), "any");
        assert_eq!(known("CN=x", &["press-8"], none).unwrap(), "subject");
        assert_eq!(known("CN=y", &[], [7; 32]).unwrap(), "fingerprint");
        for stranger in ["CN=xx", "cn=x", "", "CN=x,O=y"] {
            let refused = known(stranger, &["my-press-7"], none);
            assert_eq!(refused, Err(Stranger::Certificate), "{stranger}");
        }
        // A token is not a certificate's name, nor the reverse.
        assert_eq!(
            identify(&access, Presented::Token("one")),
            Err(Stranger::Token)
        );
    }

    #[tokio::test]
    async fn what_stays_the_same_goes_on_and_all_else_ends() {
        let limited = |burst| Rule {
            rate: Rate::new(1, burst),
            ..token("limited")
        };
        let access = Access::new([limited(2), token("changed"), token("removed")]);
        let grant = |name| access.identify(Presented::Token(name), NOW).unwrap();
        let limited_before = grant("limited");
        let now = std::time::Instant::now();
        assert!(limited_before.take(now).is_ok() && limited_before.take(now).is_ok());
        let mut streams = ["limited", "changed", "removed"].map(|name| {
            let listener = Caller::begin(grant(name)).unwrap().listen().unwrap();
            Box::pin(listener.over())
        });
        for stream in &mut streams {
            assert!(stream.now_or_never().is_none());
        }
        let changed = Rule {
            scopes: [Scope::Keys].into_iter().collect(),
            ..token("changed")
        };
        access.replace([token("new"), changed, limited(2)]);
        let ended = streams.each_mut().map(|s| s.now_or_never().is_some());
        assert_eq!(ended, [false, true, true]);
        assert!(grant("limited").take(now).is_err());
        assert!(!grant("changed").allows(Scope::Uplink));
        assert!(grant("new").allows(Scope::Uplink));

        // From closed to open, and back: what anybody listened to ends too.
        access.replace([]);
        let anybody = access.identify(Presented::Nothing, NOW).unwrap();
        assert!((&mut streams[0]).now_or_never().is_some());
        let mut stream = Box::pin(anybody.over());
        access.replace([]);
        assert!((&mut stream).now_or_never().is_none());
        access.replace([token("a")]);
        assert!((&mut stream).now_or_never().is_some());
        assert!(anybody.is_over(NOW));
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_token_expires() {
        let expires = |left| {
            let expires = Some(SystemTime::now() + left);
            let grant = Arc::new(Grant::new(Rule {
                expires,
                ..token("a")
            }));
            Caller::begin(grant).unwrap().over()
        };
        expires(Duration::from_millis(20)).await;
        assert!(expires(Duration::from_secs(3600)).now_or_never().is_none());
    }
}
