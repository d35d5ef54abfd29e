//! Transports against servers of the tests' own on 127.0.0.1.

mod proxy;
mod tls;
mod web_socket;

use std::future::Future;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::identity::ClientIdentity;
use crate::mqtt::tls::{Roots, Trust, client_config, server_name};

/// Serves one connection on a port of its own.
async fn serve<F: Future<Output: Send + 'static> + Send + 'static>(
    connection: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (u16, JoinHandle<F::Output>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        connection(tcp).await
    });
    (port, served)
}

/// Sends back what comes until the other side has sent all.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..count]).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// Whether bytes go and come back.
async fn echoes(stream: &mut Stream, sent: &[u8]) {
    stream.write_all(sent).await.unwrap();
    stream.flush().await.unwrap();
    let mut came = vec![0; sent.len()];
    stream.read_exact(&mut came).await.unwrap();
    assert!(came == sent);
}

/// A certificate authority and a server for `broker.example`.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Each needs a name of its own: that is what a certificate finds its issuer by.
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        let issuer = issuer.unwrap();
        Self { issuer }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots.into()
    }

    fn trust(&self) -> Trust {
        let pem = self.issuer.pem();
        let (file, bytes) = ("ca.pem".as_ref(), pem.as_bytes());
        Trust::new(Roots::Pem { file, bytes }).unwrap()
    }

    /// A server that demands a client certificate from `clients`, if there is one.
    fn server(
        &self,
        version: &'static SupportedProtocolVersion,
        clients: Option<&Self>,
    ) -> ServerConfig {
        let mut params = CertificateParams::new(vec!["broker.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_protocol_versions(&[version]);
        let builder = match clients {
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder(clients.roots()).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        builder.with_single_cert(vec![certificate], key).unwrap()
    }

    fn identity(&self) -> ClientIdentity {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = certificate.pem() + &key.serialize_pem();
        let now = SystemTime::now();
        let read = ClientIdentity::read("client.pem".as_ref(), pem.as_bytes(), None, None, now);
        read.unwrap().0
    }

    /// TLS as a client of `broker.example`.
    fn tls(&self, identity: Option<&ClientIdentity>, alpn: &[&str]) -> Tls {
        let alpn: Vec<String> = alpn.iter().map(|name| (*name).to_owned()).collect();
        Tls {
            config: client_config(&self.trust(), identity, &alpn),
            server_name: server_name("broker.example").unwrap(),
            identity: identity.cloned(),
        }
    }
}

fn endpoint(port: u16) -> Endpoint {
    Endpoint::plain("127.0.0.1", port)
}

fn encrypted(port: u16, tls: Tls) -> Endpoint {
    Endpoint {
        tls: Some(tls),
        ..endpoint(port)
    }
}

fn acceptor(config: ServerConfig) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(config))
}
