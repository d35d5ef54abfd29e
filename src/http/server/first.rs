//! What a client speaks, by the first bytes that it sends.

use std::io;

use tokio::net::TcpStream;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Nothing: the client has gone.
    Nothing,
    /// A TLS record with a handshake (RFC 8446 §5.1).
    Tls,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http2,
    /// A request line, most likely.
    Http1,
    /// Neither.
    Other,
}

/// The beginning of every HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits for the first bytes, and leaves them where they are.
pub(super) async fn look(stream: &TcpStream) -> io::Result<Spoken> {
    let mut bytes = [0; PREFACE.len()];
    let length = stream.peek(&mut bytes).await?;
    Ok(spoken(bytes.get(..length).unwrap_or_default()))
}

fn spoken(bytes: &[u8]) -> Spoken {
    match bytes {
        [] => Spoken::Nothing,
        [0x16, ..] => Spoken::Tls,
        // There is no method PRI. Who sends less than this of it at once is taken for somebody who posts.
        [b'P', b'R', b'I', b' ', ..] if PREFACE.starts_with(bytes) => Spoken::Http2,
        // Empty lines before the request line are ignored (RFC 9112 §2.2).
        [b'\r' | b'\n', ..] => Spoken::Http1,
        [first, ..] if first.is_ascii_alphabetic() => Spoken::Http1,
        _ => Spoken::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes() {
        let cases: [(&[u8], Spoken); 9] = [
            (b"", Spoken::Nothing),
            (b"\x16\x03\x01\x02\x00", Spoken::Tls),
            (PREFACE, Spoken::Http2),
            (b"PRI ", Spoken::Http2),
            (b"P", Spoken::Http1),
            (b"PRI /x HTTP/1.1\r\n", Spoken::Http1),
            (b"GET / HTTP/1.1\r\n", Spoken::Http1),
            (b"\r\nGET / HTTP/1.1", Spoken::Http1),
            (b"\0\0", Spoken::Other),
        ];
        for (bytes, expected) in cases {
            assert_eq!(spoken(bytes), expected, "{bytes:?}");
        }
    }
}
