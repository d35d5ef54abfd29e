//! The listener with TLS: what it offers, whom it lets in, and who its requests are told to be from.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use reqwest::{Certificate, ClientBuilder, Identity, Version};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{
    ClientAuthorities, Listener, ListenerHandle, ListenerSettings, PeerCertificate, Tls, serve,
};
use crate::identity::ClientIdentity;

/// Issues certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A certificate and its key.
    fn issue(&self, mut params: CertificateParams, name: &str) -> String {
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        certificate.pem() + &key.serialize_pem()
    }

    fn server(&self) -> ClientIdentity {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let pem = self.issue(params, "listener");
        let (file, now) = (Path::new("server.pem"), SystemTime::now());
        ClientIdentity::read(file, pem.as_bytes(), None, None, now)
            .unwrap()
            .0
    }

    fn client(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Identity::from_pem(self.issue(params, name).as_bytes()).unwrap()
    }

    fn clients(&self, required: bool) -> ClientAuthorities {
        ClientAuthorities::read(Path::new("ca.pem"), self.0.pem().as_bytes(), required).unwrap()
    }

    /// A client that trusts this authority.
    fn browser(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.0.pem().as_bytes()).unwrap();
        ClientBuilder::new().no_proxy().tls_certs_only([root])
    }
}

/// A listener whose one route tells who asks.
struct Bench {
    address: SocketAddr,
    handle: ListenerHandle,
    _end: tokio_util::sync::DropGuard,
}

impl Bench {
    async fn start(tls: Tls) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (listener, handle) = Listener::new(socket, settings(tls));
        let end = CancellationToken::new();
        let router = Router::new().route("/", get(who));
        tokio::spawn(serve(listener, router, end.clone()));
        Self {
            address,
            handle,
            _end: end.drop_guard(),
        }
    }

    async fn ask(&self, client: ClientBuilder) -> Option<(Version, String)> {
        let url = format!("https://{}/", self.address);
        let answer = client.build().unwrap().get(url).send().await.ok()?;
        Some((answer.version(), answer.text().await.unwrap()))
    }
}

fn settings(tls: Tls) -> ListenerSettings {
    ListenerSettings {
        tls: Some(tls),
        ..ListenerSettings::default()
    }
}

async fn who(request: Request) -> String {
    match request.extensions().get::<Arc<PeerCertificate>>() {
        Some(peer) => format!("{} {}", peer.subject, peer.names.join(" ")),
        None => "nobody".to_owned(),
    }
}

#[tokio::test]
async fn both_protocols_are_offered_over_both_versions_of_tls() {
    let authority = Authority::new();
    let bench = Bench::start(Tls::new(&authority.server(), None).unwrap()).await;
    let asked = bench.ask(authority.browser()).await.unwrap();
    assert_eq!(asked, (Version::HTTP_2, "nobody".to_owned()));
    let old = authority.browser().http1_only();
    let old = old.tls_version_max(reqwest::tls::Version::TLS_1_2);
    let asked = bench.ask(old).await.unwrap();
    assert_eq!(asked, (Version::HTTP_11, "nobody".to_owned()));
    assert!(bench.ask(Authority::new().browser()).await.is_none());
}

#[tokio::test]
async fn a_verified_certificate_is_with_every_request() {
    let (authority, other) = (Authority::new(), Authority::new());
    for required in [true, false] {
        let tls = Tls::new(&authority.server(), Some(&authority.clients(required))).unwrap();
        let bench = Bench::start(tls).await;
        let known = || authority.browser().identity(authority.client("pump-1"));
        for client in [known(), known().http1_only()] {
            let (_, who) = bench.ask(client).await.unwrap();
            assert_eq!(who, "CN=pump-1 pump-1.example");
        }
        let stranger = authority.browser().identity(other.client("pump-1"));
        assert!(bench.ask(stranger).await.is_none());
        let nobody = bench.ask(authority.browser()).await;
        let expected = (!required).then(|| "nobody".to_owned());
        assert_eq!(nobody.map(|(_, who)| who), expected);
    }
}

#[tokio::test]
async fn a_certificate_ends_its_connection_when_it_expires() {
    let authority = Authority::new();
    let tls = Tls::new(&authority.server(), Some(&authority.clients(true))).unwrap();
    let bench = Bench::start(tls).await;
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = (SystemTime::now() + Duration::from_secs(2)).into();
    let identity = Identity::from_pem(authority.issue(params, "brief").as_bytes()).unwrap();
    let client = authority.browser().identity(identity).build().unwrap();
    let url = format!("https://{}/", bench.address);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    assert_eq!(bench.handle.figures().open(), 1);
    while bench.handle.figures().open() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(client.get(&url).send().await.is_err());
}

#[tokio::test]
async fn what_is_replaced_is_for_new_connections_and_clients_of_others_end() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Tls::new(&old.server(), Some(&old.clients(true))).unwrap();
    let bench = Bench::start(tls).await;
    let pump = old.client("pump-1");
    let client = old.browser().identity(pump.clone()).build().unwrap();
    let url = format!("https://{}/", bench.address);
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);

    // The same authority for clients: who is there may stay.
    let tls = Tls::new(&new.server(), Some(&old.clients(true))).unwrap();
    bench.handle.replace(settings(tls));
    assert!(
        bench
            .ask(old.browser().identity(pump.clone()))
            .await
            .is_none()
    );
    assert!(
        bench
            .ask(new.browser().identity(pump.clone()))
            .await
            .is_some()
    );
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);

    let tls = Tls::new(&new.server(), Some(&new.clients(true))).unwrap();
    bench.handle.replace(settings(tls));
    assert!(bench.ask(new.browser().identity(pump)).await.is_none());
    let client_of_new = new.browser().identity(new.client("pump-2"));
    assert!(bench.ask(client_of_new).await.is_some());
    assert!(client.get(&url).send().await.is_err());
}
