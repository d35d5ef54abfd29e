//! The client certificate: what the broker asks for, what there is to show, and what the broker says to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, SignatureScheme};
use x509_cert::der::Decode as _;
use x509_cert::name::Name;

use super::report::{Cause, Finding, moment};
use crate::identity::{CertificateText, ClientIdentity, Warning};
use crate::mqtt::tls::{TlsCause, TlsFailure};

/// Notes whether the broker asks for a client certificate, and whose it takes.
#[derive(Debug)]
pub(super) struct Asking {
    inner: Arc<dyn ResolvesClientCert>,
    asked: Mutex<Option<Vec<String>>>,
}

impl Asking {
    /// In front of what would answer.
    pub(super) fn before(inner: Arc<dyn ResolvesClientCert>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            asked: Mutex::default(),
        })
    }

    /// The issuers that were named, if the broker has asked; none named means any.
    pub(super) fn asked(&self) -> Option<Vec<String>> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl ResolvesClientCert for Asking {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let named = issuers.iter().filter_map(|der| Name::from_der(der).ok());
        let named = named.map(|name| name.to_string()).collect();
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(named);
        self.inner.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// What is known of both sides.
#[derive(Debug, Default)]
pub(super) struct Shown<'a> {
    /// What would be shown.
    pub(super) identity: Option<&'a ClientIdentity>,
    /// Whether a handshake was begun with the broker at all.
    pub(super) met: bool,
    /// Whose certificates the broker takes, if it asks for one.
    pub(super) asked: Option<Vec<String>>,
    /// What the broker said to what it was shown.
    pub(super) refusal: Option<&'a TlsFailure>,
}

/// How the client certificate is; `None` where there is none and none is asked for.
pub(super) fn judge(shown: &Shown<'_>, now: SystemTime) -> Option<Finding> {
    let finding = match (shown.identity, &shown.asked) {
        (None, None) => return shown.refusal.map(|refusal| refused(refusal, None)),
        (None, Some(issuers)) => demanded(shown.refusal, issuers),
        (Some(identity), asked) => {
            let finding = match (identity.validity_at(now), shown.refusal) {
                (Some(warning @ (Warning::Expired { .. } | Warning::NotYetValid { .. })), _) => {
                    outside_its_time(&warning)
                }
                (_, Some(refusal)) => refused(refusal, Some(identity)),
                (Some(_), None) => Finding::warning(
                    Cause::ClientCertificateExpiresSoon,
                    format!(
                        "the certificate of {} is valid until {} and not for longer",
                        identity.subject(),
                        moment(identity.validity().not_after())
                    ),
                )
                .hint("have a new one issued in time; the bridge takes it at its next start, or when it is told to reload"),
                (None, None) => presented(identity, asked.as_deref(), shown.met),
            };
            describe(finding, identity)
        }
    };
    let issuers = shown.asked.as_ref().filter(|issuers| !issuers.is_empty());
    Some(match issuers {
        Some(issuers) => finding.fact("the broker takes those of", issuers.join("; ")),
        None => finding,
    })
}

fn demanded(refusal: Option<&TlsFailure>, issuers: &[String]) -> Finding {
    let whose = match issuers {
        [] => String::new(),
        some => format!(" issued by {}", some.join(", or ")),
    };
    let hint = format!(
        "name the device's certificate{whose} and its key with identity_file: the file that the platform handed out"
    );
    match refusal.map(|refusal| &refusal.cause) {
        Some(TlsCause::Alert(alert)) => Finding::failed(
            Cause::ClientCertificateDemanded,
            format!("the broker demands a client certificate (TLS alert {alert:?}), and there is none to show"),
        )
        .hint(hint),
        Some(_) => Finding::failed(
            Cause::ClientCertificateDemanded,
            "the broker demands a client certificate, and there is none to show",
        )
        .hint(hint),
        None => Finding::warning(
            Cause::ClientCertificateDemanded,
            "the broker asks for a client certificate, and there is none to show; some brokers let clients in without",
        )
        .hint(hint),
    }
}

fn outside_its_time(warning: &Warning) -> Finding {
    match warning {
        Warning::Expired {
            file,
            subject,
            not_after,
        } => Finding::failed(
            Cause::ClientCertificateExpired,
            format!(
                "{}: the certificate of '{subject}' expired on {}",
                file.display(),
                moment(*not_after)
            ),
        )
        .hint(
            "have a new certificate issued by the platform, and put it where identity_file points",
        ),
        other => Finding::failed(Cause::ClientCertificateNotYetValid, other.to_string())
            .hint("most likely this machine's clock is behind: see the step clock"),
    }
}

fn refused(refusal: &TlsFailure, identity: Option<&ClientIdentity>) -> Finding {
    let hint = match (&refusal.cause, identity) {
        (TlsCause::Alert(AlertDescription::UnknownCA), Some(identity)) => format!(
            "the broker only takes certificates of issuers that it knows, and not those of {}: use the certificate that the \
             platform issued for this device, or have its issuer registered there",
            CertificateText::of(&identity.chain()[0]).map_or_else(String::new, |text| text.issuer)
        ),
        _ => "use the certificate that the platform issued for this device; one that was replaced or revoked there no \
              longer counts"
            .to_owned(),
    };
    Finding::failed(Cause::ClientCertificateRefused, refusal.to_string()).hint(hint)
}

fn presented(identity: &ClientIdentity, asked: Option<&[String]>, met: bool) -> Finding {
    let seen = format!(
        "the key belongs to the certificate of {}",
        identity.subject()
    );
    match asked {
        Some(issuers) => {
            let own = identity.chain().iter().filter_map(|der| CertificateText::of(der));
            let known = own.flat_map(|text| [text.subject, text.issuer]).any(|name| issuers.contains(&name));
            if issuers.is_empty() || known {
                return Finding::ok(format!("{seen}, and the broker took it"));
            }
            Finding::warning(
                Cause::ClientCertificateRefused,
                format!("{seen}; the broker names other issuers than its own as those that it takes"),
            )
            .hint("use the certificate that the platform issued for this device")
        }
        None if met => Finding::warning(
            Cause::ClientCertificateUnasked,
            format!("{seen}, but the broker does not ask for one: it goes by user name and password, or lets anybody in"),
        )
        .hint("check that this is the broker's port for client certificates"),
        None => Finding::ok(format!("{seen}; the broker was not reached, and has not seen it")),
    }
}

fn describe(finding: Finding, identity: &ClientIdentity) -> Finding {
    let Some(text) = CertificateText::of(&identity.chain()[0]) else {
        return finding;
    };
    finding
        .fact("certificate", text.subject)
        .fact("issued by", text.issuer)
        .moment("valid from", text.not_before)
        .moment("valid until", text.not_after)
        .fact("sha-256", super::tls::fingerprint(&identity.chain()[0]))
}
