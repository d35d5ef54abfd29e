//! Asking a running bridge, by this configuration's main listener, to examine one of its devices.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Config, FileBytes};
use crate::device::DeviceId;
use crate::doctor::{Diagnosis, TestMessage};
use crate::identity;
use crate::secret::Secret;

/// How long the bridge may take to take the connection: it is on this machine.
const CONNECT: Duration = Duration::from_secs(2);
/// How long it may then take: longer than the longest examination.
const ANSWER: Duration = Duration::from_secs(75);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Where a bridge with this configuration listens.
pub(super) struct Bridge<'a> {
    address: SocketAddr,
    /// The certificate that it goes by, where it has TLS.
    certificate: Option<&'a FileBytes>,
}

/// What came of asking.
pub(super) enum Heard {
    /// It has examined the device.
    Diagnosis(Box<Diagnosis>),
    /// Nobody answers there, or somebody else.
    Nobody,
    /// It runs, and does not do it; why, for the user.
    Refusal(String),
}

impl<'a> Bridge<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        let listen = config.http.listen;
        // It listens everywhere, and so here.
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let https = config.http.https.as_ref();
        Self {
            address: SocketAddr::new(ip, listen.port()),
            certificate: https.map(|https| &https.identity.file),
        }
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Has it examine a device.
    pub(super) async fn ask(
        &self,
        device: &DeviceId,
        publish: Option<&TestMessage>,
        token: Option<&Secret>,
    ) -> Heard {
        // Any free port: nobody can know which.
        if self.address.port() == 0 {
            return Heard::Nobody;
        }
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(self.address)).await;
        let Ok(Ok(tcp)) = connected else {
            return Heard::Nobody;
        };
        let asked = self.request(tcp, device, publish, token);
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok((status, body))) => self.understand(status, &body, device),
            Ok(Err(_)) => Heard::Nobody,
            Err(_) => Heard::Refusal(format!(
                "a bridge at {} does not answer; stop it, or use --alone",
                self.url()
            )),
        }
    }

    async fn request(
        &self,
        tcp: TcpStream,
        device: &DeviceId,
        publish: Option<&TestMessage>,
        token: Option<&Secret>,
    ) -> io::Result<(u16, Vec<u8>)> {
        let device = utf8_percent_encode(device.as_str(), NON_ALPHANUMERIC);
        let request = Request::post(format!("/v1/devices/{device}/diagnosis"))
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json");
        let request = match token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {}", token.expose())),
            None => request,
        };
        let request = request.body(body(publish)).map_err(io::Error::other)?;
        match self.certificate {
            None => exchange(tcp, request).await,
            Some(file) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                let connector = TlsConnector::from(Arc::new(tls(file)?));
                exchange(connector.connect(name, tcp).await?, request).await
            }
        }
    }

    fn understand(&self, status: u16, body: &[u8], device: &DeviceId) -> Heard {
        let url = self.url();
        if status == 200 {
            return match serde_json::from_slice(body) {
                Ok(diagnosis) => Heard::Diagnosis(Box::new(diagnosis)),
                // Another program has the port.
                Err(_) => Heard::Nobody,
            };
        }
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let kind = problem["type"].as_str().unwrap_or_default();
        let Some((_, kind)) = kind.split_once("#problem-") else {
            return Heard::Nobody;
        };
        let detail = problem["detail"].as_str().unwrap_or_default();
        Heard::Refusal(match (status, kind) {
            (401 | 403, _) => format!(
                "a bridge runs at {url} and asks for a token with the scope devices:write for {device}: name one with \
                 --token-file ({detail})"
            ),
            (404, "unknown-device") => format!(
                "a bridge runs at {url} and does not know {device} yet: have it reload its configuration, or restart it; \
                 --alone connects without asking it"
            ),
            (404, _) => format!(
                "a bridge of another version runs at {url}, and cannot be asked: stop it, or use --alone"
            ),
            (429 | 503, _) => {
                format!("a bridge runs at {url} and is busy: {detail}; ask again in some seconds")
            }
            _ => format!("a bridge runs at {url} and refuses: {detail}"),
        })
    }
}

fn body(publish: Option<&TestMessage>) -> String {
    let Some(message) = publish else {
        return "{}".to_owned();
    };
    let payload = message.payload.as_ref().map(|bytes| STANDARD.encode(bytes));
    let subtopic = message.subtopic.as_ref().map(|subtopic| subtopic.as_str());
    json!({"publish": {"payload_base64": payload, "subtopic": subtopic}}).to_string()
}

/// One request on a connection of its own, and its whole answer.
async fn exchange<S>(stream: S, request: Request<String>) -> io::Result<(u16, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let driving = tokio::spawn(connection);
    let answered = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = answer.status().as_u16();
        Ok((status, read(answer.into_body()).await?))
    };
    let answered = answered.await;
    driving.abort();
    answered
}

async fn read(mut body: Incoming) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(io::Error::other)?;
        if let Ok(data) = frame.into_data() {
            whole.extend_from_slice(&data);
        }
        if whole.len() > MAX_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(whole)
}

/// TLS with whoever shows the certificate that the configuration names: it need not be made out for this address.
fn tls(file: &FileBytes) -> io::Result<ClientConfig> {
    let certificates = identity::certificates(&file.path, &file.bytes).map_err(io::Error::other)?;
    let verifier = Arc::new(OnlyThese(certificates));
    Ok(ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

#[derive(Debug)]
struct OnlyThese(Vec<CertificateDer<'static>>);

impl ServerCertVerifier for OnlyThese {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.contains(end_entity) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = algorithms()?.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = algorithms()?.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match algorithms() {
            Ok(provider) => provider
                .signature_verification_algorithms
                .supported_schemes(),
            Err(_) => Vec::new(),
        }
    }
}

fn algorithms() -> Result<&'static Arc<CryptoProvider>, rustls::Error> {
    CryptoProvider::get_default()
        .ok_or_else(|| rustls::Error::General("no cryptography is installed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(status: u16, body: &str) -> Result<(), String> {
        let bridge = Bridge {
            address: "127.0.0.1:8080".parse().unwrap(),
            certificate: None,
        };
        match bridge.understand(status, body.as_bytes(), &DeviceId::parse("a").unwrap()) {
            Heard::Diagnosis(_) => Ok(()),
            Heard::Nobody => Err("nobody".to_owned()),
            Heard::Refusal(why) => Err(why),
        }
    }

    #[test]
    fn a_bridge_is_told_from_another_program_on_its_port() {
        for (status, body) in [
            (200, "<html>"),
            (200, "{}"),
            (404, "not found"),
            (500, "{\"type\":\"x\"}"),
        ] {
            assert_eq!(heard(status, body), Err("nobody".to_owned()), "{body}");
        }
        let problem =
            |kind: &str| format!("{{\"type\":\"/docs#problem-{kind}\",\"detail\":\"so\"}}");
        for (status, kind, says) in [
            (401, "unauthenticated", "--token-file (so)"),
            (403, "without-scope", "devices:write"),
            (404, "unknown-device", "does not know a yet"),
            (404, "no-route", "another version"),
            (429, "diagnosis-under-way", "is busy: so"),
            (500, "internal", "refuses: so"),
        ] {
            let why = heard(status, &problem(kind)).unwrap_err();
            assert!(why.contains(says), "{kind}: {why}");
        }
    }
}
