//! When a certificate is valid, and what to say as that ends.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds;

use super::certificate::Certificate;

/// How long before its end a certificate is worth a warning.
pub const EXPIRY_NOTICE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Something about a client identity that will fail, now or soon, or was not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The certificate's time is over.
    Expired {
        /// Its file.
        file: PathBuf,
        /// Whom it names.
        subject: String,
        /// Its last moment.
        not_after: SystemTime,
    },
    /// The certificate's time ends within [`EXPIRY_NOTICE`].
    ExpiresSoon {
        /// Its file.
        file: PathBuf,
        /// Whom it names.
        subject: String,
        /// Its last moment.
        not_after: SystemTime,
    },
    /// The certificate's time has yet to come, or the clock is wrong.
    NotYetValid {
        /// Its file.
        file: PathBuf,
        /// Whom it names.
        subject: String,
        /// Its first moment.
        not_before: SystemTime,
    },
    /// A listener's certificate that says of no host that it is its own.
    NoHost {
        /// Its file.
        file: PathBuf,
        /// Whom it names.
        subject: String,
    },
    /// A passphrase was given for a key that is not encrypted.
    PassphraseNotNeeded {
        /// The key's file.
        file: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired {
                file,
                subject,
                not_after,
            } => write!(
                f,
                "{}: the certificate of '{subject}' expired on {}; have a new one issued",
                file.display(),
                format_rfc3339_seconds(*not_after)
            ),
            Self::ExpiresSoon {
                file,
                subject,
                not_after,
            } => write!(
                f,
                "{}: the certificate of '{subject}' expires on {}; have a new one issued in time",
                file.display(),
                format_rfc3339_seconds(*not_after)
            ),
            Self::NotYetValid {
                file,
                subject,
                not_before,
            } => write!(
                f,
                "{}: the certificate of '{subject}' is valid from {} on only; is the clock right?",
                file.display(),
                format_rfc3339_seconds(*not_before)
            ),
            Self::NoHost { file, subject } => write!(
                f,
                "{}: the certificate of '{subject}' names no host (subjectAltName), so that no client will take it; have \
                 one issued for the names and addresses that clients use",
                file.display()
            ),
            Self::PassphraseNotNeeded { file } => write!(
                f,
                "{}: a passphrase was given, but the private key in this file is not encrypted",
                file.display()
            ),
        }
    }
}

/// What of a certificate is needed to warn of its end.
#[derive(Debug, Clone)]
pub struct Validity {
    file: PathBuf,
    subject: String,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl Validity {
    pub(super) fn of(file: &Path, certificate: &Certificate) -> Self {
        let (not_before, not_after) = certificate.validity();
        Self {
            file: file.to_owned(),
            subject: certificate.subject(),
            not_before,
            not_after,
        }
    }

    /// The certificate's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// The last moment at which it is valid.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether it has expired, will soon, or is not valid yet. Both ends belong to its time (RFC 5280 §4.1.2.5).
    pub fn at(&self, now: SystemTime) -> Option<Warning> {
        let file = self.file.clone();
        let subject = self.subject.clone();
        let not_after = self.not_after;
        if now > not_after {
            Some(Warning::Expired {
                file,
                subject,
                not_after,
            })
        } else if now < self.not_before {
            Some(Warning::NotYetValid {
                file,
                subject,
                not_before: self.not_before,
            })
        } else if not_after
            .duration_since(now)
            .is_ok_and(|left| left < EXPIRY_NOTICE)
        {
            Some(Warning::ExpiresSoon {
                file,
                subject,
                not_after,
            })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClientIdentity;
    use crate::identity::handshake::Authority;
    use crate::identity::openssl::{Bench, named};

    #[test]
    fn a_certificate_outside_its_time_is_a_warning_with_the_date() {
        let bench = Bench::new();
        let authority = Authority::new(&bench);
        bench.run("ecparam -genkey -name prime256v1 -out a.key");
        Authority::issue(&bench, "a", 365);
        let (key, pem) = (bench.read("a.key"), bench.read("a.pem"));
        let read = |now| {
            let certificate = Some((named("a.pem"), &pem[..]));
            let read = ClientIdentity::read(named("a.key"), &key, certificate, None, now);
            read.expect("it is read")
        };
        let (identity, _) = read(SystemTime::now());
        assert!(authority.shake_hands(&identity).is_ok());
        let end = identity.not_after();
        let second = Duration::from_secs(1);
        let date = humantime::format_rfc3339_seconds(end).to_string();

        assert_eq!(identity.validity_at(end - EXPIRY_NOTICE), None);
        for (now, says) in [
            (end - EXPIRY_NOTICE + second, format!("expires on {date}")),
            (end, format!("expires on {date}")),
            (end + second, format!("expired on {date}")),
            (SystemTime::UNIX_EPOCH, "is valid from 20".to_owned()),
        ] {
            let (_, warnings) = read(now);
            let text: Vec<String> = warnings.iter().map(Warning::to_string).collect();
            let expected = format!("a.pem: the certificate of 'CN=a,O=Test' {says}");
            assert!(
                text.len() == 1 && text[0].starts_with(&expected),
                "{text:?}"
            );
        }
    }
}
