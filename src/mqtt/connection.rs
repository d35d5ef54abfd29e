//! One MQTT connection: packets in and out of a byte stream, batched, without a task of its own.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::codec::{Codec, CodecError, PublishParts};
use super::packet::{ConnAck, Connect, Packet};
use super::transport::Stream;
use crate::secret::Secret;

/// How long a broker may take from CONNECT to CONNACK.
const CONNACK_LIMIT: Duration = Duration::from_secs(15);

/// Bytes that wait to be written beyond which nothing more should be queued.
const HIGH_WATER: usize = 256 * 1024;

/// What a connection reads at once, at least.
const READ_CHUNK: usize = 4 * 1024;

/// What the buffers of a connection may still occupy when they are empty.
const KEPT: usize = 512;
const WRITTEN: usize = 16 * 1024;

/// An MQTT connection on which CONNECT has been answered.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    codec: Codec,
    read: BytesMut,
    write: BytesMut,
    last_read: Instant,
    last_write: Instant,
    hidden: Vec<Secret>,
}

/// Why a connection ended or did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The byte stream failed.
    #[error("the connection to the broker failed: {0}")]
    Io(#[from] io::Error),
    /// The broker closed it.
    #[error("the broker closed the connection")]
    Closed,
    /// The broker sent something that is not MQTT.
    #[error("the broker sent a {0}")]
    Codec(#[from] CodecError),
    /// No CONNACK came.
    #[error("the broker did not answer CONNECT within 15 s")]
    NoConnAck,
    /// Something else came first.
    #[error("the broker answered CONNECT with something else than CONNACK")]
    NotConnAck,
}

impl ConnectionError {
    /// Whether the peer ended the connection, in one of the ways in which sockets tell that: in order, by a reset because
    /// it had not read everything, or without TLS's goodbye.
    pub fn is_closed_by_peer(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match self {
            Self::Closed => true,
            Self::Io(error) => matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            ),
            Self::Codec(_) | Self::NoConnAck | Self::NotConnAck => false,
        }
    }
}

impl Connection {
    /// Sends CONNECT and waits for CONNACK, whatever it says. The password and what else is `hidden` are left out of all
    /// that the broker says.
    pub async fn establish(
        stream: Stream,
        codec: Codec,
        connect: Connect,
        mut hidden: Vec<Secret>,
    ) -> Result<(Self, Box<ConnAck>), ConnectionError> {
        let now = Instant::now();
        hidden.extend(connect.password.clone());
        let mut connection = Self {
            stream,
            codec,
            read: BytesMut::new(),
            write: BytesMut::new(),
            last_read: now,
            last_write: now,
            hidden,
        };
        connection.queue(&Packet::Connect(Box::new(connect)))?;
        let answer = tokio::time::timeout(CONNACK_LIMIT, async {
            loop {
                if let Some(packet) = connection.next_packet()? {
                    return Ok::<_, ConnectionError>(packet);
                }
                connection.progress().await?;
            }
        });
        match answer.await {
            Ok(Ok(Packet::ConnAck(ack))) => Ok((connection, ack)),
            Ok(Ok(_)) => Err(ConnectionError::NotConnAck),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ConnectionError::NoConnAck),
        }
    }

    /// Leaves another secret out of all that the broker says from now on.
    pub fn hide(&mut self, secret: Secret) {
        self.hidden.push(secret);
    }

    /// The codec of the connection's version.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Queues a packet; [`progress`](Self::progress) writes it.
    pub fn queue(&mut self, packet: &Packet) -> Result<(), CodecError> {
        self.codec.encode(packet, &mut self.write)
    }

    /// Queues a PUBLISH.
    pub fn queue_publish(&mut self, parts: PublishParts<'_>) -> Result<(), CodecError> {
        self.codec.encode_publish(parts, &mut self.write)
    }

    /// Whether so much waits to be written that nothing more should be queued.
    pub fn is_congested(&self) -> bool {
        self.write.len() > HIGH_WATER
    }

    /// The next packet among the bytes that have been read.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, CodecError> {
        let mut packet = self.codec.decode(&mut self.read)?;
        if let Some(packet) = &mut packet {
            packet.hide(&self.hidden);
        }
        Ok(packet)
    }

    /// Writes what is queued and reads what has come; returns when something was read, or congestion is over.
    ///
    /// Cancel-safe: what was written or read before a cancellation is kept in the buffers. Reading goes on while
    /// writing is blocked, so a broker that stops reading until its own packets are read cannot deadlock us.
    pub async fn progress(&mut self) -> Result<(), ConnectionError> {
        let congested = self.is_congested();
        poll_fn(|cx| self.poll_progress(cx, congested)).await
    }

    fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        congested: bool,
    ) -> Poll<Result<(), ConnectionError>> {
        let mut wrote = false;
        while !self.write.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.write) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ConnectionError::Closed)),
                Poll::Ready(Ok(count)) => {
                    self.write.advance(count);
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => break,
            }
        }
        if wrote {
            self.last_write = Instant::now();
            if self.write.is_empty() && self.write.capacity() > WRITTEN {
                self.write = BytesMut::new();
            }
        }
        // TLS keeps encrypted bytes of its own back until it is flushed, and asks again when the socket has room.
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.stream).poll_flush(cx) {
            return Poll::Ready(Err(error.into()));
        }
        match self.poll_read(cx) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(ConnectionError::Closed)),
            Poll::Ready(Ok(_)) => {
                self.last_read = Instant::now();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Pending if congested && !self.is_congested() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// An idle connection holds no buffer: what comes is read by way of the stack, unless a packet is awaited that room
    /// was made for.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        if self.read.capacity() - self.read.len() >= READ_CHUNK && !self.read.is_empty() {
            return poll_read_buf(stream, cx, &mut self.read);
        }
        let mut chunk = [MaybeUninit::uninit(); READ_CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        let read = stream.poll_read(cx, &mut chunk);
        if read.is_pending() && self.read.is_empty() && self.read.capacity() > KEPT {
            self.read = BytesMut::new();
        }
        std::task::ready!(read)?;
        self.read.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// When bytes last came.
    pub fn last_read(&self) -> Instant {
        self.last_read
    }

    /// When bytes last went.
    pub fn last_write(&self) -> Instant {
        self.last_write
    }

    /// Writes what is queued and closes the stream, at the most for `limit`.
    pub async fn close(mut self, limit: Duration) {
        let _ = tokio::time::timeout(limit, async {
            self.stream.write_all(&self.write).await?;
            self.stream.shutdown().await
        })
        .await;
    }
}
