//! What the fuzzer calls of this part (`fuzz/`); compiled for it alone.

use bytes::Bytes;

use super::framer::{Framed, Framer};
use super::line;

/// The lines of a body that comes in these pieces; `None` for one that is too long.
pub fn lines<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Vec<Option<Bytes>> {
    let mut framer = Framer::new(limit);
    let mut framed = Vec::new();
    for chunk in chunks {
        framer.push(chunk);
        framed.extend(std::iter::from_fn(|| framer.next()));
    }
    framed.extend(framer.last());
    let line = |framed| match framed {
        Framed::Line(line) => Some(line),
        Framed::TooLong => None,
    };
    framed.into_iter().map(line).collect()
}

/// Reads one line. An uplink that comes of it carries the payload that was written.
pub fn parse_line(text: &[u8]) {
    let parsed = line::parse(text, None);
    if let Ok(wanted) = parsed.wanted {
        assert!(wanted.uplink.payload.len() <= text.len());
    }
}
