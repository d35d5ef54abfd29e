//! A collector of traces: it takes OTLP over HTTP, reads what it is sent by the protocol's own numbers, and fails on command.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::lines::Lines;
use super::port::Port;

/// What it does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Takes the spans.
    Take,
    /// Answers with this status, and takes nothing.
    Status(u16),
    /// Never answers.
    Nothing,
}

/// One span as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Hexadecimal, as in a `traceparent`.
    pub trace: String,
    /// The same.
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// 2 is a server's, 4 a producer's.
    pub kind: u64,
    /// Nanoseconds since the epoch.
    pub times: (u64, u64),
    /// Numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// Its status is an error.
    pub failed: bool,
    /// What describes whoever sent it.
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// An attribute, `""` when it is not there.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// What goes on with this span says so.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }
}

/// A running collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    addr: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    heads: Lines,
    spans: Lines<Span>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        let port = Port::reserve();
        let (addr, listener) = (port.addr(), port.listen());
        let answer = Arc::new(Mutex::new(Answer::Take));
        let (heads, spans) = (Lines::new(), Lines::new());
        let bodies = Arc::<Mutex<Vec<_>>>::default();
        let shared = (answer.clone(), heads.clone(), spans.clone(), bodies.clone());
        let task = tokio::spawn(async move {
            let _port = port;
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, heads, spans, bodies) = shared.clone();
                // The client may go at any time.
                tokio::spawn(async move {
                    while let Some((head, body)) = read(&mut stream).await {
                        heads.push(head);
                        bodies.lock().unwrap().push(body.clone());
                        let answer = *answer.lock().unwrap();
                        let status = match answer {
                            Answer::Take => 200,
                            Answer::Status(status) => status,
                            Answer::Nothing => std::future::pending().await,
                        };
                        if answer == Answer::Take {
                            request(&body).into_iter().for_each(|span| spans.push(span));
                        }
                        let answer = format!("HTTP/1.1 {status} Text\r\ncontent-length: 0\r\n\r\n");
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self {
            addr,
            answer,
            heads,
            spans,
            bodies,
            task,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on it does this.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The heads of the requests that it was sent.
    pub fn heads(&self) -> &Lines {
        &self.heads
    }

    /// The spans that it has taken.
    pub fn spans(&self) -> &Lines<Span> {
        &self.spans
    }

    /// Waits for a span of this name.
    pub async fn wait_for(&self, name: &str) -> Span {
        let spans = self
            .spans
            .wait_until(name, |spans| spans.iter().any(|span| span.name == name));
        let named = |span: &Span| span.name == name;
        spans.await.into_iter().find(named).unwrap()
    }

    /// Everything that it was sent, as it was.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Head and body of one request.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.expect(&head).parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// What Protocol Buffers have on the wire.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("bytes where a number is expected"),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => panic!("a number where bytes are expected"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|b| format!("{b:02x}")).collect()
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a number is cut off");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
        }
        panic!("a number without an end");
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_first_chunk().expect("eight bytes");
                bytes = rest;
                Field::Number(u64::from_le_bytes(*number))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (inner, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(inner)
            }
            5 => {
                let (number, rest) = bytes.split_first_chunk().expect("four bytes");
                bytes = rest;
                Field::Number(u32::from_le_bytes(*number).into())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

/// An `ExportTraceServiceRequest` (opentelemetry-proto, `trace/v1/trace.proto`).
fn request(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for (_, resource_spans) in fields(body) {
        let parts = fields(resource_spans.bytes());
        let resource = parts.iter().find(|(number, _)| *number == 1);
        let resource = resource.map(|(_, resource)| attributes(resource.bytes(), 1));
        let scopes = parts.iter().filter(|(number, _)| *number == 2);
        for (_, scope) in scopes {
            let of_scope = fields(scope.bytes());
            let of_scope = of_scope.iter().filter(|(number, _)| *number == 2);
            spans.extend(
                of_scope.map(|(_, record)| span(record.bytes(), resource.clone().unwrap())),
            );
        }
    }
    spans
}

fn span(bytes: &[u8], resource: BTreeMap<String, String>) -> Span {
    let all = fields(bytes);
    let field = |number: u64| {
        all.iter()
            .find(|(n, _)| *n == number)
            .map(|(_, field)| field)
    };
    let status = field(15).map_or(0, |status| {
        let fields = fields(status.bytes());
        let code = fields.iter().find(|(number, _)| *number == 3);
        code.map_or(0, |(_, code)| code.number())
    });
    assert_eq!(field(16).unwrap().number() & 1, 1, "it is sampled");
    Span {
        trace: field(1).unwrap().hex(),
        id: field(2).unwrap().hex(),
        parent: field(4).map(Field::hex).unwrap_or_default(),
        name: field(5).unwrap().text(),
        kind: field(6).unwrap().number(),
        times: (field(7).unwrap().number(), field(8).unwrap().number()),
        attributes: attributes(bytes, 9),
        failed: status == 2,
        resource,
    }
}

fn attributes(message: &[u8], number: u64) -> BTreeMap<String, String> {
    let all = fields(message);
    let pairs = all.iter().filter(|(n, _)| *n == number);
    let pairs = pairs.map(|(_, pair)| {
        let pair = fields(pair.bytes());
        let value = fields(pair[1].1.bytes());
        let value = match &value[..] {
            [(1, text)] => text.text(),
            [(3, number)] => (number.number() as i64).to_string(),
            _ => panic!("neither text nor a whole number"),
        };
        (pair[0].1.text(), value)
    });
    pairs.collect()
}
