//! An HTTP proxy that opens tunnels with CONNECT and nothing else, as the ones at the border of a plant do.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::lines::Lines;
use super::port::Port;

/// A running proxy. Dropping it ends it, and with it its tunnels.
#[derive(Debug)]
pub struct ConnectProxy {
    addr: SocketAddr,
    tunnels: Lines,
    task: JoinHandle<()>,
}

impl ConnectProxy {
    /// A proxy that lets anybody through.
    pub fn start() -> Self {
        Self::run(None)
    }

    /// A proxy that demands `Proxy-Authorization: Basic BASE64`.
    pub fn demanding(base64: &str) -> Self {
        Self::run(Some(
            format!("proxy-authorization: basic {base64}").to_lowercase(),
        ))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The host and port of every tunnel that it opened.
    pub fn tunnels(&self) -> &Lines {
        &self.tunnels
    }

    fn run(demanded: Option<String>) -> Self {
        let port = Port::reserve();
        let listener = port.listen();
        let tunnels = Lines::new();
        let opened = tunnels.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(tunnel(client, demanded.clone(), opened.clone()));
            }
        });
        Self {
            addr: port.addr(),
            tunnels,
            task,
        }
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(mut client: TcpStream, demanded: Option<String>, opened: Lines) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let allowed = match demanded {
        Some(line) => head.to_lowercase().lines().any(|header| header == line),
        None => true,
    };
    let target = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next());
    let (Some(target), true) = (target, allowed) else {
        let refused = b"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic\r\n\r\n";
        return client.write_all(refused).await.ok();
    };
    let mut broker = TcpStream::connect(target).await.ok()?;
    opened.push(target.to_owned());
    client
        .write_all(b"HTTP/1.1 200 Tunnel\r\n\r\n")
        .await
        .ok()?;
    copy_bidirectional(&mut client, &mut broker).await.ok()?;
    Some(())
}
