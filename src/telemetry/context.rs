//! What a `traceparent` says (W3C Trace Context §3.2).

use std::fmt;

/// Where something stands in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The whole trace; never zero.
    pub trace: [u8; 16],
    /// One span of it; never zero.
    pub span: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Takes a `traceparent`; `None` when it is malformed, and so to be ignored (§4.3).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let [Some(version), Some(trace), Some(span), Some(flags)] =
            std::array::from_fn(|_| parts.next())
        else {
            return None;
        };
        let [version] = hex(version)?;
        let [flags] = hex(flags)?;
        let (trace, span) = (hex(trace)?, hex(span)?);
        // A later version may say more, but 00 has these four parts and no others.
        let is_known = version != 0xff && (version != 0 || parts.next().is_none());
        (is_known && trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace,
            span,
            sampled: flags & 1 == 1,
        })
    }
}

/// As a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (
            u128::from_be_bytes(self.trace),
            u64::from_be_bytes(self.span),
        );
        write!(
            f,
            "00-{trace:032x}-{span:016x}-{:02x}",
            u8::from(self.sampled)
        )
    }
}

/// Exactly so many bytes in lower-case digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_trace_context() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = TraceContext::parse(good).unwrap();
        assert_eq!(parsed.to_string(), good);
        assert_eq!(
            (parsed.trace[0], parsed.span[1], parsed.sampled),
            (0x4b, 0xf0, true)
        );
        let quiet = TraceContext::parse(&good.replace("-01", "-02")).unwrap();
        assert!(!quiet.sampled && quiet.to_string().ends_with("-00"));
        let later = good.replacen("00", "cc", 1);
        assert!(TraceContext::parse(&later).is_some());
        assert!(TraceContext::parse(&format!("{later}-later")).is_some());
        for bad in [
            "",
            "00",
            &good.replacen("00", "ff", 1),
            &format!("{good}-later"),
            &good.to_uppercase(),
            &good[..54],
            &good.replace('4', "\u{e4}"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(TraceContext::parse(bad).is_none(), "{bad:?} was taken");
        }
    }
}
