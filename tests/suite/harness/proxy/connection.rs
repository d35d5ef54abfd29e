//! One proxied connection: a pump in each direction, both under the proxy's control.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Control, Cut, Stall, Traffic};

/// A connection that has been accepted.
pub(super) struct Connection {
    /// Where the counters of [`Control`] stood when it began.
    pub(super) cuts: u64,
    pub(super) half_closes: u64,
    pub(super) control: watch::Receiver<Control>,
    pub(super) traffic: Arc<Mutex<Traffic>>,
}

/// Which way a pump works.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToBroker,
    ToClient,
}

impl Connection {
    /// Pumps until both sides have ended, one of them breaks, or the proxy cuts.
    pub(super) async fn run(self, mut client: TcpStream, target: SocketAddr) {
        let Ok(mut broker) = TcpStream::connect(target).await else {
            let _ = client.set_zero_linger();
            return;
        };
        // Without it the proxy would add delays that no test asked for.
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));

        let (client_reads, client_writes) = client.split();
        let (broker_reads, broker_writes) = broker.split();
        let both = async {
            tokio::try_join!(
                self.pump(Direction::ToBroker, client_reads, broker_writes),
                self.pump(Direction::ToClient, broker_reads, client_writes),
            )
        };
        let end = tokio::select! {
            ended = both => ended.map_or(Cut::Reset, |_| Cut::Fin),
            cut = self.cut() => cut,
        };
        close(&mut client, end).await;
        close(&mut broker, end).await;
    }

    async fn cut(&self) -> Cut {
        let mut control = self.control.clone();
        match control.wait_for(|now| now.cuts.0 != self.cuts).await {
            Ok(now) => now.cuts.1.unwrap_or(Cut::Reset),
            Err(_) => Cut::Reset,
        }
    }

    async fn pump(
        &self,
        direction: Direction,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut control = self.control.clone();
        let mut buffer = vec![0; 64 * 1024];
        let mut lost = false;
        loop {
            let now = *control.borrow_and_update();
            if direction == Direction::ToClient && now.half_closes != self.half_closes {
                to.shutdown().await?;
                copy(&mut from, &mut sink()).await?;
                return Ok(());
            }
            if lost && now.stall.is_none() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let length = tokio::select! {
                // A held link is not even read from, so that the sender's buffers fill up as they would.
                length = from.read(&mut buffer), if now.stall != Some(Stall::Hold) => length?,
                changed = control.changed() => {
                    changed.map_err(io::Error::other)?;
                    continue;
                }
            };
            if now.delay > std::time::Duration::ZERO {
                tokio::time::sleep(now.delay).await;
            }
            let held = |control: &Control| control.stall == Some(Stall::Hold);
            let now = control.wait_for(|now| !held(now)).await;
            if now.map_err(io::Error::other)?.stall == Some(Stall::Swallow) {
                lost = true;
                if length == 0 {
                    let over = control.wait_for(|now| now.stall.is_none()).await;
                    over.map_err(io::Error::other)?;
                }
                continue;
            }
            if length == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..length]).await?;
            self.count(direction, &buffer[..length]);
        }
    }

    fn count(&self, direction: Direction, bytes: &[u8]) {
        let mut traffic = self.traffic.lock().unwrap();
        match direction {
            Direction::ToBroker => {
                traffic.to_broker += bytes.len() as u64;
                if let Some(captured) = &mut traffic.captured {
                    captured.extend_from_slice(bytes);
                }
            }
            Direction::ToClient => traffic.to_client += bytes.len() as u64,
        }
    }
}

async fn close(stream: &mut TcpStream, how: Cut) {
    match how {
        Cut::Reset => {
            let _ = stream.set_zero_linger();
        }
        Cut::Fin => {
            let _ = stream.shutdown().await;
            // A socket that is closed with unread data resets instead.
            let mut unread = [0; 4096];
            while matches!(stream.try_read(&mut unread), Ok(1..)) {}
        }
    }
}
