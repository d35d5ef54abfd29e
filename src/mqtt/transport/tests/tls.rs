//! TLS handshakes: who is demanded, refused, offered and remembered.

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use super::*;

/// What a broker's TLS said until it had a connection that a byte came through, or had none.
async fn first_byte(endpoint: &Endpoint) -> Result<(), String> {
    let mut stream = open(endpoint).await.map_err(|error| error.to_string())?;
    let mut byte = [1];
    // In TLS 1.3 a refusal comes when the client has written already.
    let _ = stream.write_all(&byte).await;
    let read = stream.read_exact(&mut byte).await;
    read.map(|_| ()).map_err(|error| error.to_string())
}

async fn echo_over(config: ServerConfig) -> u16 {
    let acceptor = acceptor(config);
    let serve = serve(|tcp| async move {
        if let Ok(tls) = acceptor.accept(tcp).await {
            echo(tls).await;
        }
    });
    serve.await.0
}

#[tokio::test]
async fn a_demanded_client_certificate_is_presented() {
    let (brokers, clients) = (Authority::new("Brokers"), Authority::new("Clients"));
    for version in [&TLS12, &TLS13] {
        let acceptor = acceptor(brokers.server(version, Some(&clients)));
        let (port, served) = serve(|tcp| async move {
            let tls = acceptor.accept(tcp).await.unwrap();
            let seen = tls.get_ref().1.peer_certificates().unwrap().to_vec();
            echo(tls).await;
            seen
        })
        .await;
        let identity = clients.identity();
        let tls = brokers.tls(Some(&identity), &[]);
        first_byte(&encrypted(port, tls)).await.unwrap();
        assert_eq!(served.await.unwrap(), identity.chain());
    }
}

#[tokio::test]
async fn a_certificate_that_is_missing_or_not_trusted_is_named_as_the_reason() {
    let (brokers, clients) = (Authority::new("Brokers"), Authority::new("Clients"));
    let stranger = Authority::new("Others").identity();
    for version in [&TLS12, &TLS13] {
        for (identity, expected) in [
            (
                None,
                "demands a client certificate; name it with identity_file",
            ),
            (
                Some(&stranger),
                "does not trust the issuer of the client certificate",
            ),
        ] {
            let port = echo_over(brokers.server(version, Some(&clients))).await;
            let tls = brokers.tls(identity, &[]);
            let error = first_byte(&encrypted(port, tls)).await.unwrap_err();
            assert!(error.contains(expected), "{version:?}: {error}");
        }
    }
}

#[tokio::test]
async fn the_profiles_protocols_are_offered() {
    let authority = Authority::new("Brokers");
    let mut config = authority.server(&TLS13, None);
    config.alpn_protocols = vec![b"mqtt".to_vec(), b"x-amzn-mqtt-ca".to_vec()];
    let taken = acceptor(config.clone());
    let (port, served) = serve(|tcp| async move {
        let tls = taken.accept(tcp).await.unwrap();
        tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
    })
    .await;
    let tls = authority.tls(None, &["x-amzn-mqtt-ca"]);
    open(&encrypted(port, tls)).await.unwrap();
    assert_eq!(served.await.unwrap().unwrap(), b"x-amzn-mqtt-ca");

    let port = echo_over(config).await;
    let tls = authority.tls(None, &["other"]);
    let error = open(&encrypted(port, tls)).await.unwrap_err().to_string();
    assert!(error.contains("connect.alpn"), "{error}");
}

#[tokio::test]
async fn the_certificate_must_carry_the_server_name_and_not_the_dialled_one() {
    let authority = Authority::new("Brokers");
    let config = authority.server(&TLS13, None);
    let acceptor = acceptor(config.clone());
    let (port, served) = serve(|tcp| async move {
        let tls = acceptor.accept(tcp).await.unwrap();
        tls.get_ref().1.server_name().map(str::to_owned)
    })
    .await;
    open(&encrypted(port, authority.tls(None, &[])))
        .await
        .unwrap();
    assert_eq!(served.await.unwrap().unwrap(), "broker.example");

    let port = echo_over(config).await;
    let mut tls = authority.tls(None, &[]);
    tls.server_name = server_name("127.0.0.1").unwrap();
    let error = open(&encrypted(port, tls)).await.unwrap_err().to_string();
    assert!(
        error.contains("broker.example") && error.contains("server_name"),
        "{error}"
    );
}

#[tokio::test]
async fn connections_of_one_configuration_resume_each_other() {
    let (brokers, clients) = (Authority::new("Brokers"), Authority::new("Clients"));
    let config = Arc::new(brokers.server(&TLS13, Some(&clients)));
    let tls = brokers.tls(Some(&clients.identity()), &[]);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let acceptor = TlsAcceptor::from(Arc::clone(&config));
        let (port, _) =
            serve(|tcp| async move { echo(acceptor.accept(tcp).await.unwrap()).await }).await;
        let mut stream = open(&encrypted(port, tls.clone())).await.unwrap();
        // The tickets come with the first bytes.
        echoes(&mut stream, b"x").await;
        let Stream::Tls(stream) = stream else {
            panic!("not TLS")
        };
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn what_is_not_tls_is_told() {
    let authority = Authority::new("Brokers");
    let (port, _) =
        serve(|mut tcp| async move { tcp.write_all(b"HTTP/1.1 400 No\r\n\r\n").await }).await;
    let error = open(&encrypted(port, authority.tls(None, &[])))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");

    let (port, _) = serve(|mut tcp| async move { tcp.read(&mut [0; 1024]).await }).await;
    let error = open(&encrypted(port, authority.tls(None, &[])))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("closed the connection during"),
        "{error}"
    );
}
