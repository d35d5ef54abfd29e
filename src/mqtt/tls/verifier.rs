//! Verification of a broker's certificate: webpki decides, and its refusals are put into words.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use humantime::format_rfc3339_seconds;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::words::{CertificateProblem, RefusedCertificate};
use crate::identity::CertificateText;

/// Which roots a certificate was held against.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    System,
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("this system's root certificates"),
            Self::File(file) => write!(f, "the certificates in {}", file.display()),
        }
    }
}

/// What to do about a certificate of another name.
const OTHER_NAME: &str = "connect by a name that is in it, or, if it is the right broker, name that one with server_name";

/// Leaves every decision to webpki, and puts its refusals into words.
#[derive(Debug)]
pub(super) struct ExplainingVerifier {
    pub(super) webpki: Arc<WebPkiServerVerifier>,
    pub(super) origin: Origin,
}

/// What was refused, as rustls carries it to the caller.
#[derive(Debug)]
pub(super) struct Explanation(pub(super) RefusedCertificate);

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        match self.0.hint.as_str() {
            "" => Ok(()),
            hint => write!(f, "; {hint}"),
        }
    }
}

impl std::error::Error for Explanation {}

impl ServerCertVerifier for ExplainingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.webpki
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| {
                let rustls::Error::InvalidCertificate(error) = error else {
                    return error;
                };
                let problem = problem(&error);
                let (what, hint) = explain(
                    &error,
                    problem,
                    end_entity,
                    intermediates,
                    server_name,
                    &self.origin,
                );
                let chain = std::iter::once(end_entity).chain(intermediates);
                let explanation = Explanation(RefusedCertificate {
                    problem,
                    chain: chain.map(|der| der.clone().into_owned()).collect(),
                    by_system_roots: matches!(self.origin, Origin::System),
                    what,
                    hint,
                });
                let other = OtherError(Arc::new(explanation));
                rustls::Error::InvalidCertificate(CertificateError::Other(other))
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

fn problem(error: &CertificateError) -> CertificateProblem {
    match error {
        CertificateError::UnknownIssuer => CertificateProblem::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            CertificateProblem::Expired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateProblem::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateProblem::OtherName
        }
        // rustls has no name of its own for it.
        CertificateError::Other(other) if other.0.to_string().contains("CaUsedAsEndEntity") => {
            CertificateProblem::Authority
        }
        _ => CertificateProblem::Other,
    }
}

/// What is wrong, and what to do about it.
fn explain(
    error: &CertificateError,
    problem: CertificateProblem,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    server_name: &ServerName<'_>,
    origin: &Origin,
) -> (String, String) {
    let host = server_name.to_str();
    let Some(leaf) = CertificateText::of(end_entity) else {
        let what = format!("the certificate of {host} is not readable");
        return (what, String::new());
    };
    let who = format!("the certificate of {host} ({})", leaf.subject);
    const CLOCK: &str = "also check this machine's clock";
    let (what, hint) = match problem {
        CertificateProblem::UnknownIssuer => {
            let top = intermediates
                .last()
                .and_then(|top| CertificateText::of(top));
            let issuer = top.map_or(leaf.issuer, |top| top.issuer);
            let what = format!(
                "{who} is not trusted: its chain ends at the issuer {issuer}, which is not among {origin}"
            );
            let hint = "get that issuer's root certificate and name it with ca_file";
            (what, hint)
        }
        CertificateProblem::Expired => {
            let end = format_rfc3339_seconds(leaf.not_after);
            (format!("{who} has expired (valid until {end})"), CLOCK)
        }
        CertificateProblem::NotYetValid => {
            let start = format_rfc3339_seconds(leaf.not_before);
            let what = format!("{who} is not valid yet (valid from {start})");
            (what, CLOCK)
        }
        CertificateProblem::OtherName if leaf.names.is_empty() => {
            let what = format!(
                "{who} is not made out for the name {host}: it has no subjectAltName at all, and a common name is not \
                 looked at (RFC 9525)"
            );
            (what, "have one issued with subjectAltName")
        }
        CertificateProblem::OtherName => {
            let names = leaf.names.join(", ");
            let what = format!("{who} is not made out for the name {host}, only for: {names}");
            (what, OTHER_NAME)
        }
        CertificateProblem::Authority => {
            let what = format!("{who} is an authority's own (CA:TRUE), which cannot be a server's");
            let hint =
                "have that authority issue one for the broker, and name the authority with ca_file";
            (what, hint)
        }
        CertificateProblem::Other => {
            let what = match error {
                CertificateError::BadEncoding => format!("{who} is not readable"),
                CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. } => {
                    format!("{who} is not meant for servers")
                }
                CertificateError::Revoked => format!("{who} has been revoked"),
                other => format!("{who} is not acceptable: {other:?}"),
            };
            (what, "")
        }
    };
    (what, hint.to_owned())
}
