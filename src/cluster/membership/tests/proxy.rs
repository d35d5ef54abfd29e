//! A way to nats-server that can be cut without either side being told.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) struct Proxy {
    url: String,
    cut: Arc<watch::Sender<bool>>,
}

impl Proxy {
    pub(super) async fn start(to: &str) -> Self {
        let to = to.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let cut = Arc::new(watch::Sender::new(false));
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&to).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(carry(from_client, to_server, cuts.subscribe()));
                tokio::spawn(carry(from_server, to_client, cuts.subscribe()));
            }
        });
        Self { url, cut }
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// From now on nothing is carried, and nothing is closed.
    pub(super) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Carries everything again, what was sent meanwhile first.
    pub(super) fn mend(&self) {
        self.cut.send_replace(false);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&buffer[..count]).await.is_err()
        {
            break;
        }
    }
}
