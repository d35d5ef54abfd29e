//! TLS handshakes in memory for tests, with a server that demands a client certificate.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::CertificateDer;

use super::openssl::{Bench, named};
use super::{ClientIdentity, certificates};

/// A certificate authority and a server, whose files lie on the bench; `ca.pem` and `ca.key` are the authority's.
pub(super) struct Authority {
    server: Arc<ServerConfig>,
    roots: Arc<RootCertStore>,
}

impl Authority {
    pub(super) fn new(bench: &Bench) -> Self {
        bench.run("req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -out ca.pem -days 3650 -subj /CN=Authority");
        bench.run("req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout server.key -out server.csr -subj /CN=localhost");
        bench.write("server.ext", "subjectAltName=DNS:localhost");
        bench.run("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext -out server.pem");
        bench.run("pkcs8 -topk8 -nocrypt -in server.key -outform DER -out server.der");

        let mut roots = RootCertStore::empty();
        roots.add(pem(bench, "ca.pem").remove(0)).expect("a root");
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(bench.read("server.der")));
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.expect("a verifier"))
            .with_single_cert(pem(bench, "server.pem"), key)
            .expect("a server");
        Self {
            server: Arc::new(server),
            roots,
        }
    }

    /// Issues `NAME.pem` for the key in `NAME.key`.
    pub(super) fn issue(bench: &Bench, name: &str, days: u32) {
        bench.write("client.ext", "extendedKeyUsage=clientAuth");
        bench.run(&format!(
            "req -new -key {name}.key -out client.csr -subj /O=Test/CN={name}"
        ));
        bench.run(&format!("x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile client.ext -out {name}.pem"));
    }

    /// The certificates that the server got, or why one of the two sides gave up.
    pub(super) fn shake_hands(
        &self,
        identity: &ClientIdentity,
    ) -> Result<Vec<CertificateDer<'static>>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_client_cert_resolver(identity.resolver());
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name)?;
        let mut server = ServerConnection::new(self.server.clone())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut &wire[..]).expect("memory");
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).expect("memory");
            client.read_tls(&mut &wire[..]).expect("memory");
            client.process_new_packets()?;
        }
        let seen = server.peer_certificates().unwrap_or_default();
        Ok(seen.to_vec())
    }
}

fn pem(bench: &Bench, name: &str) -> Vec<CertificateDer<'static>> {
    certificates(named(name), &bench.read(name)).expect("PEM")
}
