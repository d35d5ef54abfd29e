//! Sizes, times and numbers as people write them.

use std::time::Duration;

/// Not a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number of bytes, or of kB, MB, GB, KiB, MiB or GiB, such as \"1MiB\"")]
pub struct ByteSizeError;

const UNITS: [(&str, u64); 7] = [
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("b", 1),
];

/// Bytes from a text such as `512`, `64 kB` or `1MiB`. Units of a thousand and of 1024 are told apart by the `i`;
/// case does not matter.
pub fn parse_bytes(text: &str) -> Result<u64, ByteSizeError> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => 1,
        unit => UNITS
            .iter()
            .find(|(known, _)| *known == unit)
            .map(|(_, factor)| *factor)
            .ok_or(ByteSizeError)?,
    };
    let number: u64 = number.parse().map_err(|_| ByteSizeError)?;
    number.checked_mul(factor).ok_or(ByteSizeError)
}

/// Bytes in the largest unit of 1024 that leaves a whole number.
pub(super) fn show_bytes(bytes: usize) -> String {
    for (unit, size) in [("GiB", 1_usize << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} B")
}

/// A time in the largest unit that leaves a whole number, as `humantime` reads it. A year has 365 days here.
pub(super) fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    for (unit, length) in [("days", 24 * 60 * 60), ("h", 60 * 60), ("m", 60), ("s", 1)] {
        if seconds >= length && time.subsec_nanos() == 0 && seconds.is_multiple_of(length) {
            return match (seconds / length, unit) {
                (1, "days") => "1day".to_owned(),
                (many, unit) => format!("{many}{unit}"),
            };
        }
    }
    humantime::format_duration(time).to_string()
}

/// A number as TOML may have it, with `_` between thousands.
pub(super) fn show_count(number: u32) -> String {
    let mut text = number.to_string();
    let thousands = (1..text.len()).rev().skip(2).step_by(3);
    for at in thousands {
        text.insert(at, '_');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            ("0", Ok(0)),
            ("512", Ok(512)),
            ("512B", Ok(512)),
            ("64 kB", Ok(64_000)),
            ("64KB", Ok(64_000)),
            ("64KiB", Ok(65_536)),
            ("1MiB", Ok(1_048_576)),
            ("2 GiB", Ok(2_147_483_648)),
            ("", Err(ByteSizeError)),
            ("MiB", Err(ByteSizeError)),
            ("-1", Err(ByteSizeError)),
            ("1.5MiB", Err(ByteSizeError)),
            ("1 M", Err(ByteSizeError)),
            ("99999999999GiB", Err(ByteSizeError)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn times_are_shown_as_they_would_be_written() {
        for text in [
            "1ms", "1500ms", "5s", "90s", "1m", "1h", "1day", "7days", "365days",
        ] {
            let time = humantime::parse_duration(text).unwrap();
            let shown = show_time(time);
            assert_eq!(humantime::parse_duration(&shown).unwrap(), time, "{shown}");
            assert!(shown == text || text == "1500ms", "{shown}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1_000"),
            (1_000_000, "1_000_000"),
        ] {
            assert_eq!(show_count(number), shown);
        }
    }

    #[test]
    fn sizes_are_shown_as_they_would_be_written() {
        for text in ["1 B", "1000 B", "255 MiB", "3 KiB", "1 GiB"] {
            let bytes = usize::try_from(parse_bytes(text).unwrap()).unwrap();
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
