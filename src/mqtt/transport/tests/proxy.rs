//! Tunnels through a proxy that does what a test tells it to.

use rustls::version::TLS13;
use tokio::io::copy_bidirectional;

use super::super::proxy::within;
use super::web_socket::accept;
use super::*;
use crate::broker::ProxyCredentials;
use crate::secret::Secret;

/// A proxy that answers as it is told, then opens a tunnel. It gives the request.
async fn proxy(answer: &'static str) -> (Proxy, JoinHandle<String>) {
    let (port, served) = serve(move |mut tcp| async move {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(tcp.read_u8().await.unwrap());
        }
        tcp.write_all(answer.as_bytes()).await.unwrap();
        let asked = String::from_utf8(asked).unwrap();
        if answer.contains(" 200 ") {
            let broker = asked.split(' ').nth(1).unwrap();
            let mut broker = TcpStream::connect(broker).await.unwrap();
            let _ = copy_bidirectional(&mut tcp, &mut broker).await;
        }
        asked
    })
    .await;
    (
        Proxy::parse(&format!("http://127.0.0.1:{port}")).unwrap(),
        served,
    )
}

fn through(proxy: Proxy, broker: Endpoint) -> Endpoint {
    Endpoint {
        proxy: Some(Arc::new(proxy)),
        ..broker
    }
}

fn with_credentials(proxy: Proxy) -> Proxy {
    let credentials = ProxyCredentials::new("plant", Secret::new("s3cret: ü"));
    Proxy {
        credentials: Some(credentials.unwrap()),
        ..proxy
    }
}

/// `plant:s3cret: ü` as Basic has it.
const BASIC: &str = "cGxhbnQ6czNjcmV0OiDDvA==";

const OPENED: &str = "HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n";

#[tokio::test]
async fn a_tunnel_carries_bytes_to_the_broker() {
    for answer in [
        OPENED,
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 \r\n\r\n",
    ] {
        let (port, _) = serve(echo).await;
        let (proxy, served) = proxy(answer).await;
        let mut stream = open(&through(proxy, endpoint(port))).await.unwrap();
        echoes(&mut stream, b"through").await;
        drop(stream);
        let asked = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        assert_eq!(served.await.unwrap(), asked);
    }
}

#[tokio::test]
async fn tls_and_web_socket_go_through_it() {
    let authority = Authority::new("Brokers");
    let acceptor = acceptor(authority.server(&TLS13, None));
    let (port, broker) = serve(|tcp| async move {
        let tls = acceptor.accept(tcp).await.unwrap();
        accept(tls).await.1
    })
    .await;
    let (proxy, _) = proxy(OPENED).await;
    let broker_side = Endpoint {
        web_socket: Some("/mqtt".into()),
        ..encrypted(port, authority.tls(None, &[]))
    };
    let stream = open(&through(proxy, broker_side)).await.unwrap();
    assert!(matches!(stream, Stream::WebSocket(_)));
    let host = format!("broker.example:{port}");
    assert_eq!(broker.await.unwrap(), ["/mqtt", &host, "mqtt"]);
}

#[tokio::test]
async fn credentials_go_to_the_proxy_and_nowhere_else() {
    let (port, _) = serve(echo).await;
    let (plain, served) = proxy(OPENED).await;
    let endpoint = through(with_credentials(plain), endpoint(port));
    let mut stream = open(&endpoint).await.unwrap();
    echoes(&mut stream, b"through").await;
    drop(stream);
    let header = format!("\r\nProxy-Authorization: Basic {BASIC}\r\n\r\n");
    assert!(served.await.unwrap().ends_with(&header));

    let (plain, _) = proxy("HTTP/1.1 407 Authenticate\r\n\r\n").await;
    let endpoint = through(with_credentials(plain), endpoint);
    let error = open(&endpoint).await.unwrap_err();
    for shown in [format!("{endpoint:?}"), format!("{error} {error:?}")] {
        assert!(
            !shown.contains("s3cret") && !shown.contains(BASIC),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn why_there_is_no_tunnel_is_told_apart() {
    let text = |answer| async move {
        let (proxy, _) = proxy(answer).await;
        open(&through(proxy, endpoint(1)))
            .await
            .unwrap_err()
            .to_string()
    };
    for (answer, expected) in [
        (
            "HTTP/1.1 407 Authenticate\r\n\r\n",
            "demands a user name and password (407)",
        ),
        (
            "HTTP/1.1 403 Not here\r\n\r\n<html>",
            "opens no tunnel to 127.0.0.1:1: it answered 403 Not here",
        ),
        ("HTTP/1.1 504\r\n\r\n", "it answered 504"),
        (
            "HTTP/1.1 202 Fine\r\n\r\nWelcome",
            "does not answer as an HTTP proxy does",
        ),
        ("\x05\x00", "does not answer as an HTTP proxy does"),
        ("HTTP/1.1 2", "closed the connection"),
    ] {
        let shown = text(answer).await;
        assert!(shown.contains(expected), "{answer:?}: {shown}");
    }

    let (plain, _) = proxy("HTTP/1.1 407 Authenticate\r\n\r\n").await;
    let error = open(&through(with_credentials(plain), endpoint(1)))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does not accept"), "{error}");

    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = Proxy::parse(&format!("http://{nobody}")).unwrap();
    let error = open(&through(nobody, endpoint(1))).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Proxy(TunnelError::Unreachable { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_silent_proxy_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = Proxy::parse(&format!("http://{address}")).unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let broker = endpoint(1).authority();
    let (given_up, _) = within(Duration::from_millis(20), &mut tcp, &proxy, &broker).await;
    assert!(
        matches!(given_up, Err(TunnelError::NoAnswer { .. })),
        "{given_up:?}"
    );
}
