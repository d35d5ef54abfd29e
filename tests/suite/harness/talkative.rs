//! A broker that says everything it knows: its refusals repeat topics and passwords, as some brokers' do (HiveMQ names the
//! topic in its reason strings).

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuses {
    /// The connection.
    Connect,
    /// Every publish, by its acknowledgement.
    Publish,
    /// Every publish, by ending the connection.
    Dismiss,
}

/// A running broker of MQTT 5. Dropping it ends it.
#[derive(Debug)]
pub struct Talkative {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Talkative {
    /// Starts it.
    pub async fn start(refuses: Refuses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The client may go at any time.
                tokio::spawn(async move { serve(stream, refuses).await.ok() });
            }
        });
        Self { addr, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Talkative {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, refuses: Refuses) -> std::io::Result<()> {
    loop {
        let (first, body) = read(&mut stream).await?;
        match (first >> 4, refuses) {
            (1, Refuses::Connect) => {
                let said = reason_string(&format!("not let in: {}", printable(&body)));
                write(&mut stream, 0x20, &[&[0, 0x87], &*said].concat()).await?;
                return Ok(());
            }
            (1, _) => write(&mut stream, 0x20, &[0, 0, 0]).await?,
            (3, Refuses::Publish) => {
                let (topic, packet_id) = topic_and_id(&body);
                let said = reason_string(&format!("not authorized to publish to {topic}"));
                let ack = [packet_id, &[0x87], &*said].concat();
                write(&mut stream, 0x40, &ack).await?;
            }
            (3, _) => {
                let said = reason_string(&format!("not authorized: {}", topic_and_id(&body).0));
                write(&mut stream, 0xe0, &[&[0x87], &*said].concat()).await?;
                return Ok(());
            }
            (8, _) => write(&mut stream, 0x90, &[body[0], body[1], 0, 1]).await?,
            (12, _) => write(&mut stream, 0xd0, &[]).await?,
            _ => {}
        }
    }
}

/// One packet: its first byte, and what follows the length.
async fn read(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

async fn write(stream: &mut TcpStream, first: u8, body: &[u8]) -> std::io::Result<()> {
    let mut packet = vec![first];
    packet.extend(variable(body.len()));
    packet.extend_from_slice(body);
    stream.write_all(&packet).await
}

/// Properties with a reason string (MQTT 5 § 3.4.2.2.2).
fn reason_string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    let property = [&[0x1f], &length[..], text.as_bytes()].concat();
    [variable(property.len()), property].concat()
}

fn variable(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return bytes;
        }
    }
}

fn topic_and_id(body: &[u8]) -> (String, &[u8]) {
    let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    (printable(&body[2..end]), &body[end..end + 2])
}

/// Text with everything left out that a reason string may not contain.
fn printable(bytes: &[u8]) -> String {
    let visible = bytes.iter().filter(|byte| byte.is_ascii_graphic());
    visible.map(|&byte| char::from(byte)).collect()
}
