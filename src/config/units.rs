//! Sizes as people write them.

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
    fn sizes_are_shown_as_they_would_be_written() {
        for text in ["1 B", "1000 B", "255 MiB", "3 KiB", "1 GiB"] {
            let bytes = usize::try_from(parse_bytes(text).unwrap()).unwrap();
            assert_eq!(show_bytes(bytes), text);
        }
    }
}
