//! One MQTT 3.1.1 connection, written by hand: CONNECT, PUBLISH with QoS 1, PUBACK.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Connection(TcpStream);

impl Connection {
    pub async fn open(address: &str, client_id: &str) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connect = vec![0x10, 12 + client_id.len() as u8];
        connect.extend_from_slice(b"\x00\x04MQTT\x04\x02\x00\x3c");
        connect.extend_from_slice(&(client_id.len() as u16).to_be_bytes());
        connect.extend_from_slice(client_id.as_bytes());
        stream.write_all(&connect).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(answer, [0x20, 2, 0, 0], "the broker refused");
        Ok(Self(stream))
    }

    /// Publishes with QoS 1 and waits for the PUBACK.
    pub async fn publish(&mut self, topic: &str, payload: &str) -> std::io::Result<()> {
        let length = 2 + topic.len() + 2 + payload.len();
        assert!(length < 128);
        let mut packet = vec![0x32, length as u8];
        packet.extend_from_slice(&(topic.len() as u16).to_be_bytes());
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(&[0, 1]);
        packet.extend_from_slice(payload.as_bytes());
        self.0.write_all(&packet).await?;
        let mut answer = [0; 4];
        self.0.read_exact(&mut answer).await?;
        assert_eq!(answer, [0x40, 2, 0, 1], "no PUBACK");
        Ok(())
    }
}
