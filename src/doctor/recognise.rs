//! What really speaks on a port where the configured protocol does not come about: recognised by what it sends.
//!
//! It is asked with a CONNECT of nobody, without client id, user name or password: a broker answers that one way or the
//! other, a web server calls it a bad request, most TLS servers send an alert, and nothing is given away.

use std::fmt;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::mqtt::tls::{TlsCause, TlsFailure, in_words};

/// What speaks on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peer {
    /// TLS.
    Tls,
    /// MQTT.
    Mqtt,
    /// HTTP, and so perhaps WebSocket.
    Http,
    /// Something else; its first words.
    Other(String),
    /// It closes the connection without a word.
    Closes,
    /// It says nothing.
    Silent,
    /// It cannot be asked.
    Unreachable,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("the port speaks TLS"),
            Self::Mqtt => f.write_str("the port speaks plain MQTT"),
            Self::Http => f.write_str("the port speaks plain HTTP"),
            Self::Other(words) => {
                write!(
                    f,
                    "the port speaks something else; it begins with {words:?}"
                )
            }
            Self::Closes => {
                f.write_str("whatever listens there closes the connection without a word")
            }
            Self::Silent => f.write_str("whatever listens there says nothing"),
            Self::Unreachable => f.write_str("asked again, the port cannot be reached"),
        }
    }
}

/// CONNECT of MQTT 3.1.1 (§3.1): a clean session, keep-alive 60 s, an empty client id, no login. Every broker reads it,
/// those that speak 5 alone included.
const STRANGER: [u8; 14] = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 0];
/// DISCONNECT, for a broker that lets strangers in.
const GOODBYE: [u8; 2] = [0xE0, 0];

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks what speaks on an open byte stream.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Peer {
    let mut answer = [0; 512];
    let asked = async {
        stream.write_all(&STRANGER).await?;
        stream.flush().await?;
        stream.read(&mut answer).await
    };
    let peer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(count)) => understand(&answer[..count]),
        Ok(Err(_)) => Peer::Closes,
        Err(_) => Peer::Silent,
    };
    if peer == Peer::Mqtt {
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(&GOODBYE)).await;
    }
    peer
}

/// Whether TLS is spoken on a TCP connection. Nothing is sent but the beginning of a handshake.
pub(super) async fn speaks_tls(tcp: TcpStream, name: ServerName<'static>) -> bool {
    let config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsNobody))
        .with_no_client_auth();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    match tokio::time::timeout(PATIENCE, handshake).await {
        // A certificate that was refused, or an alert: both come from somebody who speaks TLS.
        Ok(Err(error)) => TlsFailure::of(&in_words(error))
            .is_some_and(|failure| !matches!(failure.cause, TlsCause::NotTls)),
        Ok(Ok(_)) => true,
        Err(_) => false,
    }
}

/// What the first bytes of an answer to [`STRANGER`] come from.
fn understand(answer: &[u8]) -> Peer {
    match answer {
        [] => Peer::Closes,
        // CONNACK of 3.1.1 has two bytes behind its header, that of 5 at least three.
        [0x20, 2..=127, ..] => Peer::Mqtt,
        // A TLS record: an alert, or the beginning of a handshake (RFC 8446 §5.1).
        [0x15 | 0x16, 3, ..] => Peer::Tls,
        _ if answer.starts_with(b"HTTP/") => Peer::Http,
        // OpenSSL says so in plain HTTP where it takes what came for HTTP.
        _ => {
            let words = String::from_utf8_lossy(answer);
            let line = words.lines().next().unwrap_or_default();
            let shown = line.chars().filter(|c| !c.is_control()).take(60);
            Peer::Other(shown.collect())
        }
    }
}

/// Refuses every certificate: what matters is that there was one.
#[derive(Debug)]
struct TrustsNobody;

impl ServerCertVerifier for TrustsNobody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        CryptoProvider::get_default()
            .map(|provider| {
                provider
                    .signature_verification_algorithms
                    .supported_schemes()
            })
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_known_by_their_first_bytes() {
        for (answer, expected) in [
            (&b""[..], Peer::Closes),
            (b"\x20\x02\x00\x05", Peer::Mqtt),
            (b"\x20\x03\x00\x84\x00", Peer::Mqtt),
            (b"\x15\x03\x01\x00\x02\x02\x46", Peer::Tls),
            (b"\x16\x03\x03\x00\x7a\x02", Peer::Tls),
            (b"HTTP/1.1 400 Bad Request\r\n", Peer::Http),
            (
                b"SSH-2.0-OpenSSH_9.2\r\n",
                Peer::Other("SSH-2.0-OpenSSH_9.2".to_owned()),
            ),
            (
                b"220 mail\x07 ready\n",
                Peer::Other("220 mail ready".to_owned()),
            ),
        ] {
            assert_eq!(understand(answer), expected);
        }
    }

    #[test]
    fn a_stranger_says_nothing_about_itself() {
        use crate::broker::MqttVersion;
        use crate::mqtt::codec::Codec;
        use crate::mqtt::packet::Packet;
        let codec = Codec {
            version: MqttVersion::V311,
            max_incoming: 100,
        };
        let mut bytes = STRANGER[..].into();
        let Ok(Some(Packet::Connect(connect))) = codec.decode(&mut bytes) else {
            panic!("no CONNECT");
        };
        assert!(connect.client_id.is_empty() && connect.clean_start);
        assert_eq!((connect.username, connect.password), (None, None));
    }
}
