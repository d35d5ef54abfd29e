//! Which of two forms a client wants (RFC 9110 §12.5.1).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::problem::{Kind, Problem};

/// How downlinks are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Server-sent events, for as long as the client listens.
    Stream,
    /// One JSON answer.
    Poll,
}

/// How downlinks are sent: else the stream, so that `curl -N` streams.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let forms = [
        ("text", "event-stream", Form::Stream),
        ("application", "json", Form::Poll),
    ];
    choose(headers, forms).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            "downlinks are sent as text/event-stream or as application/json",
        )
        .hint("send one of them as Accept header, or none")
    })
}

/// The form with the higher quality; of two equal ones the one that is named more exactly; else the first.
pub(super) fn choose<T>(headers: &HeaderMap, forms: [(&str, &str, T); 2]) -> Option<T> {
    let [(kind, sub, first), (other_kind, other_sub, second)] = forms;
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Some(first);
    }
    let ranges: Vec<Range> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    let first_choice = preference(&ranges, kind, sub);
    let second_choice = preference(&ranges, other_kind, other_sub);
    match (first_choice, second_choice) {
        ((0, _), (0, _)) => None,
        (one, other) if other > one => Some(second),
        _ => Some(first),
    }
}

struct Range<'a> {
    kind: &'a str,
    sub: &'a str,
    /// Thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, sub) = parts.next()?.split_once('/')?;
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.eq_ignore_ascii_case("q"))
            .map_or(Some(1.0), |(_, value)| value.parse::<f32>().ok())
            .filter(|quality| (0.0..=1.0).contains(quality))?;
        Some(Self {
            kind,
            sub,
            quality: (quality * 1000.0) as u16,
        })
    }
}

/// Quality and exactness of the most exact range that matches.
fn preference(ranges: &[Range], kind: &str, sub: &str) -> (u16, u8) {
    let matching = |range: &Range| match (range.kind, range.sub) {
        ("*", "*") => Some((0, range.quality)),
        (k, "*") if k.eq_ignore_ascii_case(kind) => Some((1, range.quality)),
        (k, s) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(sub) => {
            Some((2, range.quality))
        }
        _ => None,
    };
    let best = ranges.iter().filter_map(matching).max();
    best.map_or((0, 0), |(exactness, quality)| (quality, exactness))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: Option<&str>) -> Option<Form> {
        let headers = accept
            .map(|value| (ACCEPT, value.parse().unwrap()))
            .into_iter()
            .collect();
        form(&headers).ok()
    }

    #[test]
    fn the_client_chooses() {
        use Form::{Poll, Stream};
        let cases = [
            (None, Some(Stream)),
            (Some("*/*"), Some(Stream)),
            (Some("text/event-stream"), Some(Stream)),
            (Some("application/json"), Some(Poll)),
            (Some("Application/JSON; charset=utf-8"), Some(Poll)),
            (Some("application/json, text/plain, */*"), Some(Poll)),
            (Some("text/event-stream, application/json"), Some(Stream)),
            (
                Some("text/event-stream;q=0.5, application/json"),
                Some(Poll),
            ),
            (Some("text/event-stream;q=0, */*"), Some(Poll)),
            (Some("application/*"), Some(Poll)),
            (Some("text/*"), Some(Stream)),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (Some("nonsense"), None),
        ];
        for (accept, expected) in cases {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
    }
}
