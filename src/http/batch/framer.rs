//! Bytes to lines, as they come and within a length.

use bytes::{Bytes, BytesMut};

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub(super) struct Framer {
    buffer: BytesMut,
    /// No line break is in this much of the buffer.
    searched: usize,
    /// The line that is being read is too long already; what comes of it is thrown away.
    skipping: bool,
    limit: usize,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// Its text, without the line break.
    Line(Bytes),
    /// It has more bytes than the limit.
    TooLong,
}

impl Framer {
    /// For lines of at most so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            skipping: false,
            limit,
        }
    }

    /// Takes what has come.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next line that is there as a whole.
    pub(super) fn next(&mut self) -> Option<Framed> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(found) = rest.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            if self.searched > self.limit {
                self.skip();
            }
            return None;
        };
        let line = self.buffer.split_to(self.searched + found + 1).freeze();
        self.searched = 0;
        let line = line.slice(..line.len() - 1);
        Some(self.framed(line))
    }

    /// What is there behind the last line break, when nothing more comes.
    pub(super) fn last(&mut self) -> Option<Framed> {
        let line = self.buffer.split().freeze();
        self.searched = 0;
        (self.skipping || !line.is_empty()).then(|| self.framed(line))
    }

    fn framed(&mut self, line: Bytes) -> Framed {
        let skipped = std::mem::take(&mut self.skipping);
        match skipped || line.len() > self.limit {
            true => Framed::TooLong,
            false => Framed::Line(line),
        }
    }

    fn skip(&mut self) {
        self.skipping = true;
        self.buffer.clear();
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]], limit: usize) -> Vec<Framed> {
        let mut framer = Framer::new(limit);
        let mut lines = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            lines.extend(std::iter::from_fn(|| framer.next()));
            assert!(framer.buffer.len() <= limit, "more than a line is kept");
        }
        lines.extend(framer.last());
        lines
    }

    fn line(text: &str) -> Framed {
        Framed::Line(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_takes_no_memory() {
        use Framed::TooLong;
        let chunks: [&[u8]; 6] = [
            b"1234\n12345",
            b"6",
            b"789012345678",
            b"\n",
            b"ab\n",
            b"12345",
        ];
        assert_eq!(
            lines(&chunks, 4),
            [line("1234"), TooLong, line("ab"), TooLong]
        );
        assert_eq!(lines(&[b"12345\n1"], 4), [TooLong, line("1")]);
        assert_eq!(lines(&[b"", b"\n"], 4), [line("")]);
        assert_eq!(lines(&[], 4), []);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_come(text in "[a\n]{0,60}", cuts in prop::collection::vec(1..7usize, 0..60)) {
            let (mut rest, mut chunks) = (text.as_bytes(), Vec::new());
            for cut in cuts {
                let (chunk, more) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = more;
            }
            chunks.push(rest);
            let mut expected: Vec<_> = text.split('\n').map(|text| match text.len() > 5 {
                true => Framed::TooLong,
                false => line(text),
            }).collect();
            // Nothing behind the last line break is no line.
            if expected.last() == Some(&line("")) {
                expected.pop();
            }
            let mut framer = Framer::new(5);
            let mut framed = Vec::new();
            for chunk in chunks {
                framer.push(chunk);
                framed.extend(std::iter::from_fn(|| framer.next()));
            }
            framed.extend(framer.last());
            prop_assert_eq!(framed, expected);
        }
    }
}
