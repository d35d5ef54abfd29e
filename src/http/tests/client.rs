//! An HTTP client that sends a request exactly as it is written.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Checks that it is a problem of this kind, and gives it.
    #[track_caller]
    pub(super) fn problem(&self, status: u16, slug: &str) -> serde_json::Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(
            problem["type"],
            format!("/docs#problem-{slug}"),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        assert_eq!(problem["queued"], false);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        let retry = self.header("retry-after").is_some();
        assert!(!retry || problem["retryable"] == true, "{problem}");
        problem
    }
}

/// A connection with its answer's head read.
pub(super) struct Exchange {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    reader: BufReader<tokio::net::tcp::OwnedReadHalf>,
    /// Frames that came with one before.
    frames: VecDeque<String>,
    /// Kept, as its end would end the connection.
    _writer: tokio::task::JoinHandle<tokio::net::tcp::OwnedWriteHalf>,
}

/// Sends a request line with further headers, each ended by `\r\n`, and a body. The body is sent while the answer is
/// read.
pub(super) async fn open(address: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Exchange {
    let (reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let mut request = format!("{line} HTTP/1.1\r\nHost: bridge\r\n{headers}\r\n").into_bytes();
    request.extend_from_slice(body);
    let writer = tokio::spawn(async move {
        // The server may answer, and close, before it has read everything.
        let _ = writer.write_all(&request).await;
        writer
    });
    let mut reader = BufReader::new(reader);
    let status = read_line(&mut reader).await;
    let status = status
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {status:?}"));
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(&mut reader).await;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Exchange {
        status,
        headers,
        reader,
        frames: VecDeque::new(),
        _writer: writer,
    }
}

/// Sends a request with a `Content-Length` and reads the whole answer.
pub(super) async fn send(address: SocketAddr, line: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let headers = format!("Connection: close\r\nContent-Length: {length}\r\n{headers}");
    open(address, line, &headers, body).await.finish().await
}

pub(super) async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, &format!("GET {path}"), "", b"").await
}

/// A long poll.
pub(super) async fn poll(address: SocketAddr, path: &str) -> Answer {
    send(
        address,
        &format!("GET {path}"),
        "Accept: application/json\r\n",
        b"",
    )
    .await
}

impl Exchange {
    /// Reads the body to its end.
    pub(super) async fn finish(mut self) -> Answer {
        let mut body = Vec::new();
        if self
            .headers
            .get("transfer-encoding")
            .is_some_and(|v| v == "chunked")
        {
            while let Some(chunk) = self.chunk().await {
                body.extend(chunk);
            }
        } else if let Some(length) = self.headers.get("content-length") {
            body.resize(length.parse().unwrap(), 0);
            // The answer to HEAD names a length and has no body.
            if self.reader.read_exact(&mut body).await.is_err() {
                body.clear();
            }
        }
        Answer {
            status: self.status,
            headers: self.headers,
            body,
        }
    }

    /// The next server-sent event, or comment; `None` at the end of the stream.
    pub(super) async fn event(&mut self) -> Option<Frame> {
        if self.frames.is_empty() {
            // No frame is in two chunks.
            let chunk = String::from_utf8(self.chunk().await?).unwrap();
            assert!(chunk.ends_with("\n\n"), "{chunk:?}");
            let frames = chunk.trim_end().split("\n\n").map(str::to_owned);
            self.frames.extend(frames);
        }
        let mut frame = Frame::default();
        for line in self.frames.pop_front()?.split('\n') {
            match line.split_once(": ") {
                Some(("id", id)) => frame.id = Some(id.to_owned()),
                Some(("event", event)) => frame.event = event.to_owned(),
                Some(("data", data)) => frame.data = serde_json::from_str(data).unwrap(),
                Some(("retry", retry)) => frame.retry = retry.parse().ok(),
                _ => assert!(line.starts_with(':'), "{line:?}"),
            }
        }
        Some(frame)
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&read_line(&mut self.reader).await, 16).ok()?;
        let mut chunk = vec![0; length];
        self.reader.read_exact(&mut chunk).await.ok()?;
        read_line(&mut self.reader).await;
        (length > 0).then_some(chunk)
    }
}

/// One server-sent event.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) id: Option<String>,
    pub(super) event: String,
    pub(super) data: serde_json::Value,
    pub(super) retry: Option<u32>,
}

async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = Vec::new();
    // A connection that breaks ends the line.
    let _ = reader.read_until(b'\n', &mut line).await;
    String::from_utf8(line).unwrap().trim_end().to_owned()
}
