//! The TLS handshake: the broker's certificate and its chain, and what speaks there instead where it fails.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;

use super::clock::{Evidence, words};
use super::recognise::Peer;
use super::report::{Cause, Finding};
use crate::identity::CertificateText;
use crate::mqtt::tls::{CertificateProblem, RefusedCertificate, TlsCause, TlsFailure};

/// A certificate with less left than this, or than a sixth of its whole time, should have been renewed: Let's Encrypt's
/// clients do so with a third left.
const RENEWED_BY: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A handshake that succeeded.
#[derive(Debug)]
pub(super) struct Shaken {
    /// `TLS 1.3`.
    pub(super) version: &'static str,
    /// What the broker presented: its certificate, then its issuers as far as it sent them.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The application protocol that was agreed on.
    pub(super) alpn: Option<String>,
}

/// What a handshake that succeeded says of the broker.
pub(super) fn judge(shaken: &Shaken, now: SystemTime) -> Finding {
    let Some(leaf) = shaken
        .chain
        .first()
        .and_then(|der| CertificateText::of(der))
    else {
        return Finding::ok(format!(
            "{}, and the certificate is trusted",
            shaken.version
        ));
    };
    let left = leaf.not_after.duration_since(now).unwrap_or_default();
    let whole = leaf.not_after.duration_since(leaf.not_before);
    let soon = RENEWED_BY.min(whole.unwrap_or_default() / 6);
    let seen = format!(
        "{}; the certificate is made out for {} by {} and is valid for {} more",
        shaken.version,
        leaf.names.join(", "),
        leaf.issuer,
        words(left)
    );
    let finding = if left < soon {
        Finding::warning(Cause::ServerCertificateExpiresSoon, seen).hint(
            "its operator should have renewed it by now: remind them, or the bridge will lose its connection at that moment",
        )
    } else {
        Finding::ok(seen)
    };
    let finding = describe(finding, &shaken.chain);
    match &shaken.alpn {
        Some(alpn) => finding.fact("alpn", alpn),
        None => finding,
    }
}

/// What a handshake that failed says of the broker; `peer` is what speaks there, where that was asked.
pub(super) fn judge_failure(failure: &TlsFailure, url: &str, peer: Option<&Peer>) -> Finding {
    match &failure.cause {
        TlsCause::Certificate(refused) => judge_certificate(refused),
        TlsCause::Alert(_) => {
            Finding::failed(Cause::TlsRefused, failure.to_string()).hint("ask who runs the broker")
        }
        TlsCause::Other => Finding::failed(Cause::TlsRefused, failure.to_string()),
        TlsCause::NotTls | TlsCause::HungUp | TlsCause::Silent => {
            judge_peer(failure, url, peer.unwrap_or(&Peer::Unreachable))
        }
    }
}

fn judge_peer(failure: &TlsFailure, url: &str, peer: &Peer) -> Finding {
    let other = |plain: &str| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let at = rest.split(['/', '?']).next().unwrap_or(rest);
        let tls_port = if scheme == "wss" { 443 } else { 8883 };
        format!(
            "the connector's url says {scheme}://, which is TLS: use the broker's TLS port (often {tls_port}), or write \
             {plain}://{at} where an unencrypted connection is meant"
        )
    };
    let seen = |what: String| format!("{failure}: {what}");
    match peer {
        Peer::Mqtt => {
            Finding::failed(Cause::PlainPort, seen(peer.to_string())).hint(other("mqtt"))
        }
        Peer::Http => Finding::failed(Cause::PlainPort, seen(peer.to_string())).hint(other("ws")),
        Peer::Other(_) => Finding::failed(Cause::NotMqtt, seen(peer.to_string()))
            .hint("check the port in the connector's url: this is another service"),
        Peer::Silent => Finding::failed(Cause::NoAnswer, seen(peer.to_string())).hint(
            "check the port in the connector's url; a firewall that looks into connections may also swallow what it does \
             not like",
        ),
        Peer::Tls | Peer::Closes | Peer::Unreachable => {
            Finding::failed(Cause::HungUp, failure.to_string()).hint(
                "check that the port in the connector's url is one for TLS. A broker may also close the connection because \
                 it knows nothing by this name (server_name), or because a firewall between does not let TLS through",
            )
        }
    }
}

fn judge_certificate(refused: &RefusedCertificate) -> Finding {
    let chain: Vec<_> = refused
        .chain
        .iter()
        .filter_map(|der| CertificateText::of(der))
        .collect();
    let self_signed = chain.len() == 1 && chain[0].is_self_issued();
    let (cause, hint) = match refused.problem {
        CertificateProblem::UnknownIssuer if self_signed => {
            (Cause::SelfSigned, SELF_SIGNED.to_owned())
        }
        // What openssl makes unless it is told otherwise. Naming it with ca_file does not help.
        CertificateProblem::Authority if self_signed => {
            (Cause::SelfSigned, SELF_SIGNED_AUTHORITY.to_owned())
        }
        CertificateProblem::UnknownIssuer => (Cause::IssuerUnknown, issuer_hint(refused, &chain)),
        CertificateProblem::Expired => (
            Cause::ServerCertificateExpired,
            "if this machine's clock is right, the broker's operator has to renew the certificate; nothing here can be set \
             to ignore it. If the clock is wrong, set it"
                .to_owned(),
        ),
        CertificateProblem::NotYetValid => (
            Cause::ServerCertificateNotYetValid,
            "most likely this machine's clock is behind: see the step clock".to_owned(),
        ),
        CertificateProblem::OtherName => (Cause::OtherName, refused.hint.clone()),
        CertificateProblem::Authority | CertificateProblem::Other => {
            (Cause::ServerCertificateUnusable, refused.hint.clone())
        }
    };
    let finding = Finding::failed(cause, refused.what.clone());
    let finding = match hint.is_empty() {
        true => finding,
        false => finding.hint(hint),
    };
    describe(finding, &refused.chain)
}

const SELF_SIGNED: &str = "nobody vouches for this certificate but itself. If it is the right broker (compare the \
                           fingerprint with its operator), save the certificate as PEM and name it with ca_file";
const SELF_SIGNED_AUTHORITY: &str = "the certificate vouches for itself, and for others besides, which a server's must not: \
                                     so openssl makes them unless it is told otherwise. Have the broker's made anew with \
                                     -addext basicConstraints=critical,CA:FALSE, or by an authority of your own, and name \
                                     that one with ca_file";

fn issuer_hint(refused: &RefusedCertificate, chain: &[CertificateText]) -> String {
    let top = chain.last().map_or("", |top| top.issuer.as_str());
    // What users of akenza meet: its certificates are Let's Encrypt's, and old devices do not have that root.
    if let Some(root) = lets_encrypt_root(top) {
        return match refused.by_system_roots {
            true => format!(
                "{root} is the root of Let's Encrypt, which akenza and many others use; this system's root certificates are \
                 too old to have it. Update the package ca-certificates (in a container image, install it), or download \
                 the root from https://letsencrypt.org/certificates/ and name the file with ca_file"
            ),
            false => format!(
                "{root} is the root of Let's Encrypt, which akenza and many others use, and ca_file does not have it. \
                 Remove ca_file so that the system's root certificates count, or add the root from \
                 https://letsencrypt.org/certificates/ to the file"
            ),
        };
    }
    let missing = match chain.len() {
        1 => {
            ". If that is a well-known authority, the broker most likely does not send its intermediate certificates: have \
             its operator configure the whole chain"
        }
        _ => "",
    };
    format!("get the root certificate of {top} and name it with ca_file{missing}")
}

/// The common name of a root of Let's Encrypt, as the Internet Security Research Group names them.
fn lets_encrypt_root(issuer: &str) -> Option<&str> {
    let name = issuer
        .split(',')
        .find_map(|part| part.strip_prefix("CN="))?;
    name.starts_with("ISRG Root").then_some(name)
}

fn describe(finding: Finding, chain: &[CertificateDer<'static>]) -> Finding {
    let mut finding = finding;
    for (place, der) in chain.iter().enumerate() {
        let Some(text) = CertificateText::of(der) else {
            continue;
        };
        if place == 0 {
            finding = finding
                .fact("certificate", &text.subject)
                .fact("names", text.names.join(", "))
                .moment("valid from", text.not_before)
                .moment("valid until", text.not_after)
                .fact("sha-256", fingerprint(der))
                .fact("issued by", &text.issuer);
        } else {
            finding = finding.fact(
                &format!("issuer {place}"),
                format!("{}, issued by {}", text.subject, text.issuer),
            );
        }
    }
    finding
}

/// As `openssl x509 -fingerprint -sha256` shows it.
pub(super) fn fingerprint(der: &[u8]) -> String {
    let bytes = digest(&SHA256, der);
    let hex = bytes.as_ref().iter().map(|byte| format!("{byte:02X}"));
    hex.collect::<Vec<_>>().join(":")
}

/// What a chain says of the time: nothing, where its certificate is not readable.
pub(super) fn evidence(chain: &[CertificateDer<'static>]) -> Option<Evidence> {
    let leaf = CertificateText::of(chain.first()?)?;
    Some(Evidence::Certificate {
        not_before: leaf.not_before,
        not_after: leaf.not_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_of_lets_encrypt_are_known_by_name() {
        let issuer = "CN=ISRG Root X1,O=Internet Security Research Group,C=US";
        assert_eq!(lets_encrypt_root(issuer), Some("ISRG Root X1"));
        assert_eq!(lets_encrypt_root("CN=Plant CA,O=ISRG Root X1"), None);
    }

    #[test]
    fn what_speaks_instead_decides_what_to_do() {
        let failure = || TlsFailure::new(TlsCause::HungUp, "it hung up");
        let judge = |peer: Peer| {
            let finding = judge_failure(&failure(), "mqtts://broker.plant:1883", Some(&peer));
            (finding.cause, finding.hint.unwrap_or_default())
        };
        let (cause, hint) = judge(Peer::Mqtt);
        assert_eq!(cause, Some(Cause::PlainPort));
        assert!(
            hint.contains("8883") && hint.contains("mqtt://broker.plant:1883"),
            "{hint}"
        );
        let (cause, hint) = judge(Peer::Http);
        assert_eq!(cause, Some(Cause::PlainPort));
        assert!(hint.contains("ws://broker.plant:1883"), "{hint}");
        assert_eq!(judge(Peer::Other("SSH".to_owned())).0, Some(Cause::NotMqtt));
        assert_eq!(judge(Peer::Silent).0, Some(Cause::NoAnswer));
        assert_eq!(judge(Peer::Closes).0, Some(Cause::HungUp));
    }
}
