//! The way to the broker: names, ports, proxies, and the wrong protocol on the right port.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use causeway::doctor::{Cause, StepName, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::{Examination, examine, failed, found, plain};
use crate::harness::certificates::Authority;
use crate::harness::connect_proxy::ConnectProxy;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;

/// Answers every connection with the same bytes, once something has come, and closes it.
async fn answering(answer: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut came = [0; 1024];
            let _ = tcp.read(&mut came).await;
            let _ = tcp.write_all(&answer).await;
        }
    });
    (addr, task)
}

#[tokio::test]
async fn a_broker_without_anything_is_well() {
    let broker = Mosquitto::start().await;
    let diagnosis = examine(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
    let words = ["lets causeway-local in with MQTT 5"];
    found(&diagnosis, StepName::Connect, Verdict::Ok, None, &words);
    let steps: Vec<_> = diagnosis
        .steps
        .iter()
        .map(|step| step.step.as_str())
        .collect();
    let expected = [
        "configuration",
        "tcp",
        "clock",
        "connect",
        "subscribe",
        "publish",
        "takeover",
    ];
    assert_eq!(steps, expected, "what does not apply is left out");
}

#[tokio::test]
async fn a_name_that_leads_nowhere() {
    let diagnosis = examine(&plain("mqtt://broker.invalid", "")).await;
    let step = diagnosis.step(StepName::Dns).unwrap();
    // A machine without a name server cannot know that there is no such host.
    let causes = [Cause::UnknownHost, Cause::NoNameServer];
    assert!(
        causes.contains(&step.finding.cause.unwrap()),
        "{diagnosis:#?}"
    );
    assert!(step.finding.seen.contains("broker.invalid"));
    assert!(diagnosis.step(StepName::Tcp).is_none());
}

#[tokio::test]
async fn a_port_on_which_nobody_listens() {
    let port = Port::reserve();
    let diagnosis = examine(&plain(&format!("mqtt://{}", port.addr()), "")).await;
    let refused = format!("{} refuses connections", port.addr());
    let words = [
        refused.as_str(),
        "In a container, localhost is the container itself",
    ];
    failed(&diagnosis, StepName::Tcp, Cause::PortClosed, &words);
}

#[tokio::test]
async fn a_port_that_swallows_connections() {
    // With its queue full, a listener's system drops what comes, as a firewall does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(tcp)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(addr)).await
    {
        queued.push(tcp);
        assert!(queued.len() < 100, "the queue never fills");
    }
    let text = plain(&format!("mqtt://{addr}"), "");
    let diagnosis = Examination::impatient()
        .of("pump-1", &text, ".".as_ref())
        .await;
    let words = ["does not answer", "firewall", "wss://"];
    failed(&diagnosis, StepName::Tcp, Cause::Filtered, &words);
}

#[tokio::test]
async fn plain_against_tls_and_the_reverse() {
    let authority = Authority::new("Plant CA");
    let broker = Mosquitto::builder()
        .tls(&authority)
        .websockets()
        .start()
        .await;
    let url = format!("mqtts://localhost:{}", broker.addr().port());
    let diagnosis = examine(&plain(
        &url,
        &format!("ca_file = {:?}", authority.ca_file()),
    ))
    .await;
    let address = format!("mqtt://localhost:{}", broker.addr().port());
    let words = ["the port speaks plain MQTT", address.as_str(), "8883"];
    failed(&diagnosis, StepName::Tls, Cause::PlainPort, &words);

    let diagnosis = examine(&plain(&format!("mqtt://{}", broker.tls_addr()), "")).await;
    let address = format!("mqtts://{}", broker.tls_addr());
    let words = ["the port speaks TLS", address.as_str()];
    failed(&diagnosis, StepName::Connect, Cause::TlsPort, &words);

    // WebSocket's ports, and MQTT's for WebSocket.
    let diagnosis = examine(&plain(&format!("mqtt://{}", broker.websockets_addr()), "")).await;
    let connect = diagnosis.step(StepName::Connect).unwrap();
    assert_eq!(connect.finding.verdict, Verdict::Failed, "{diagnosis:#?}");
    let diagnosis = examine(&plain(&format!("ws://{}", broker.addr()), "")).await;
    let address = format!("write mqtt://{}", broker.addr());
    let words = ["the port speaks plain MQTT", address.as_str()];
    failed(&diagnosis, StepName::WebSocket, Cause::NotWebSocket, &words);
}

#[tokio::test]
async fn other_services_are_known_by_their_first_words() {
    let (ssh, _ssh) = answering(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n".to_vec()).await;
    let (web, _web) =
        answering(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()).await;
    let diagnosis = examine(&plain(&format!("mqtts://localhost:{}", ssh.port()), "")).await;
    failed(
        &diagnosis,
        StepName::Tls,
        Cause::NotMqtt,
        &["SSH-2.0-OpenSSH_9.2p1 Debian", "another service"],
    );
    let diagnosis = examine(&plain(&format!("mqtt://{web}"), "")).await;
    let address = format!("ws://{web}/mqtt");
    failed(
        &diagnosis,
        StepName::Connect,
        Cause::WebSocketPort,
        &["plain HTTP", &address],
    );
    let diagnosis = examine(&plain(&format!("mqtt://{ssh}"), "")).await;
    failed(&diagnosis, StepName::Connect, Cause::NotMqtt, &["SSH-2.0"]);
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtts://localhost:{}", silent.local_addr().unwrap().port());
    let diagnosis = Examination::impatient()
        .of("pump-1", &plain(&url, ""), ".".as_ref())
        .await;
    failed(
        &diagnosis,
        StepName::Tls,
        Cause::NoAnswer,
        &["says nothing"],
    );
}

#[tokio::test]
async fn what_a_proxy_refuses() {
    let broker = Mosquitto::start().await;
    let url = format!("mqtt://{}", broker.addr());
    let through =
        |proxy: SocketAddr, more: &str| plain(&url, &format!("proxy = \"http://{proxy}\"\n{more}"));
    let proxy = ConnectProxy::demanding("eDp5");
    let diagnosis = examine(&through(proxy.addr(), "")).await;
    let words = [
        "demands a user name and password (407)",
        "proxy_password_file",
    ];
    failed(&diagnosis, StepName::Proxy, Cause::ProxyCredentials, &words);
    let login = "proxy_username = \"me\"\nproxy_password = \"hunter2\"";
    let diagnosis = examine(&through(proxy.addr(), login)).await;
    failed(
        &diagnosis,
        StepName::Proxy,
        Cause::ProxyCredentials,
        &["does not accept"],
    );
    assert!(!format!("{diagnosis:?}").contains("hunter2"));
    let diagnosis = examine(&through(broker.addr(), "")).await;
    let step = diagnosis.step(StepName::Proxy).unwrap();
    assert_eq!(step.finding.verdict, Verdict::Failed, "{diagnosis:#?}");

    let (forbidding, _task) = answering(b"HTTP/1.1 403 Not on my watch\r\n\r\n".to_vec()).await;
    let diagnosis = examine(&through(forbidding, "")).await;
    failed(
        &diagnosis,
        StepName::Proxy,
        Cause::ProxyRefused,
        &["403 Not on my watch", "443"],
    );
    let open = ConnectProxy::start();
    let diagnosis = examine(&through(open.addr(), "")).await;
    assert_eq!(diagnosis.verdict, Verdict::Ok, "{diagnosis:#?}");
    found(
        &diagnosis,
        StepName::Proxy,
        Verdict::Ok,
        None,
        &["opens a tunnel to"],
    );
}

#[tokio::test]
async fn a_date_on_the_way_tells_that_the_clock_is_off() {
    let broker = Mosquitto::builder().websockets().start().await;
    let date = |at: SystemTime| {
        let date = httpdate::fmt_http_date(at);
        format!("HTTP/1.1 403 No\r\nDate: {date}\r\n\r\n").into_bytes()
    };
    let now = SystemTime::now();
    for (theirs, verdict, words) in [
        (now, Verdict::Ok, "the proxy agrees"),
        (
            now + Duration::from_secs(600),
            Verdict::Failed,
            "behind the proxy's",
        ),
        (
            now - Duration::from_secs(3 * 86_400),
            Verdict::Failed,
            "3 days",
        ),
    ] {
        let (proxy, _task) = answering(date(theirs)).await;
        let url = format!("ws://{}", broker.websockets_addr());
        let diagnosis = examine(&plain(&url, &format!("proxy = \"http://{proxy}\""))).await;
        let cause = (verdict == Verdict::Failed).then_some(Cause::ClockOff);
        found(&diagnosis, StepName::Clock, verdict, cause, &[words]);
    }
    // The other way round: a doctor whose clock is wrong, against a server of the real time.
    let (proxy, _task) = answering(date(now)).await;
    let text = plain(
        "mqtt://broker.example",
        &format!("proxy = \"http://{proxy}\""),
    );
    let doctor = Examination::with_clock_off_by(-7200);
    let diagnosis = doctor.of("pump-1", &text, ".".as_ref()).await;
    failed(
        &diagnosis,
        StepName::Clock,
        Cause::ClockOff,
        &["behind the proxy's", "set the clock"],
    );
}
