//! Packets over a byte stream: what has arrived, and what is to be written at the next flush.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::broker::MqttVersion;
use crate::mqtt::codec::{Codec, CodecError, PublishParts, connect_level};
use crate::mqtt::packet::Packet;

/// Largest packet that is taken, in bytes.
pub(super) const MAX_PACKET: u32 = 1024 * 1024;

/// A client that does not read for this long is given up.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// CONNACK of 3.1.1 with code 1: unacceptable protocol version.
const CONNACK_VERSION_REFUSED: [u8; 4] = [0x20, 2, 0, 1];

pub(super) struct Wire<S> {
    stream: S,
    codec: Codec,
    incoming: BytesMut,
    outgoing: BytesMut,
}

/// A connection that cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            codec: Codec {
                version: MqttVersion::V5,
                max_incoming: MAX_PACKET as usize,
            },
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
        }
    }

    pub(super) fn version(&self) -> MqttVersion {
        self.codec.version
    }

    /// The protocol level of the CONNECT that comes first, by which the codec is chosen.
    pub(super) async fn level(&mut self) -> Result<u8, WireError> {
        loop {
            if let Some(level) = connect_level(&self.incoming)? {
                self.codec.version = match level {
                    5 => MqttVersion::V5,
                    _ => MqttVersion::V311,
                };
                return Ok(level);
            }
            self.fill().await?;
        }
    }

    /// The next packet, waiting for it.
    pub(super) async fn packet(&mut self) -> Result<Packet, WireError> {
        loop {
            if let Some(packet) = self.next()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }

    /// The next packet that has arrived completely.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, WireError> {
        Ok(self.codec.decode(&mut self.incoming)?)
    }

    /// Reads what there is; the end of the stream is an error. Nothing is lost when it is cancelled.
    pub(super) async fn fill(&mut self) -> Result<(), WireError> {
        self.incoming.reserve(4096);
        match self.stream.read_buf(&mut self.incoming).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    pub(super) fn push(&mut self, packet: &Packet) -> Result<(), WireError> {
        Ok(self.codec.encode(packet, &mut self.outgoing)?)
    }

    pub(super) fn push_version_refusal(&mut self) {
        self.outgoing.extend_from_slice(&CONNACK_VERSION_REFUSED);
    }

    pub(super) fn push_publish(&mut self, parts: PublishParts<'_>) -> Result<(), WireError> {
        Ok(self.codec.encode_publish(parts, &mut self.outgoing)?)
    }

    pub(super) fn publish_size(&self, parts: &PublishParts<'_>) -> usize {
        self.codec.publish_size(parts)
    }

    /// Writes what was pushed.
    pub(super) async fn flush(&mut self) -> Result<(), WireError> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&self.outgoing).await?;
            self.stream.flush().await
        };
        match timeout(WRITE_TIME, write).await {
            Ok(done) => done?,
            Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
        self.outgoing.clear();
        Ok(())
    }

    /// Writes the rest and closes. What goes wrong no longer matters.
    pub(super) async fn close(mut self) {
        if self.flush().await.is_ok() {
            let _ = timeout(WRITE_TIME, self.stream.shutdown()).await;
        }
    }
}
