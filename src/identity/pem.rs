//! PEM (RFC 7468, and RFC 1421's headers for keys that OpenSSL encrypted the traditional way).
//!
//! Text between blocks is skipped, as OpenSSL does: `Bag Attributes` and comments are common there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::error::KeyProblem;

/// One `-----BEGIN …-----` block.
pub(super) struct Block {
    pub(super) label: String,
    headers: Vec<(String, String)>,
    pub(super) der: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The value of an RFC 1421 header, such as `DEK-Info`.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        Some(value)
    }
}

/// Every block of a file, in its order. A file without any is an error that says what it seems to be instead.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, KeyProblem> {
    let mut blocks = Vec::new();
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        if let Some(label) = label(line, "BEGIN") {
            blocks.push(block(label, &mut lines)?);
        }
    }
    if blocks.is_empty() {
        return Err(not_pem(bytes));
    }
    Ok(blocks)
}

/// Whether this is a PKCS#12 store: `SEQUENCE { INTEGER 3, …` in DER or BER.
pub(super) fn is_pkcs12(bytes: &[u8]) -> bool {
    let length_bytes = match bytes {
        [0x30, length, ..] if *length > 0x80 => usize::from(length & 0x7f),
        [0x30, _, ..] => 0,
        _ => return false,
    };
    bytes
        .get(2 + length_bytes..)
        .is_some_and(|content| content.starts_with(&[0x02, 0x01, 0x03]))
}

/// The labels of a file in words, for an error: `a certificate and a public key`.
pub(super) fn describe(blocks: &[Block]) -> String {
    let mut words: Vec<String> = Vec::new();
    for block in blocks {
        let word = match block.label.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => "a certificate".to_owned(),
            "PUBLIC KEY" => "a public key".to_owned(),
            "RSA PUBLIC KEY" => "an RSA public key in the PKCS#1 form".to_owned(),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => "a certificate request".to_owned(),
            label if label.ends_with("PRIVATE KEY") => "a private key".to_owned(),
            label => format!("'{label}'"),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" and ")
}

fn block<'a>(
    label: String,
    lines: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<Block, KeyProblem> {
    let damaged = |reason| KeyProblem::DamagedPem {
        label: label.clone(),
        reason,
    };
    let mut headers = Vec::new();
    let mut base64 = Zeroizing::new(Vec::new());
    loop {
        let Some(line) = lines.next() else {
            return Err(damaged("its END line is missing"));
        };
        if let Some(end) = self::label(line, "END") {
            if end != label {
                return Err(damaged("it ends with another block's END line"));
            }
            break;
        }
        if label_like(line) {
            return Err(damaged("its END line is missing"));
        }
        match header(line) {
            Some(header) if base64.is_empty() => headers.push(header),
            _ => base64.extend_from_slice(line),
        }
    }
    let der = STANDARD
        .decode(&*base64)
        .map_err(|_| damaged("its content is not Base64"))?;
    Ok(Block {
        label,
        headers,
        der: Zeroizing::new(der),
    })
}

fn label(line: &[u8], kind: &str) -> Option<String> {
    let line = str::from_utf8(line).ok()?;
    let line = line.trim_start_matches('\u{feff}');
    let label = line
        .strip_prefix("-----")?
        .strip_prefix(kind)?
        .strip_prefix(' ')?
        .strip_suffix("-----")?;
    Some(label.to_owned())
}

fn label_like(line: &[u8]) -> bool {
    line.starts_with(b"-----")
}

fn header(line: &[u8]) -> Option<(String, String)> {
    let (name, value) = str::from_utf8(line).ok()?.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

fn not_pem(bytes: &[u8]) -> KeyProblem {
    if bytes.trim_ascii().is_empty() {
        KeyProblem::Empty
    } else if is_pkcs12(bytes) {
        KeyProblem::Pkcs12
    } else if bytes.starts_with(&[0x30]) && bytes.contains(&0) {
        KeyProblem::Der
    } else {
        KeyProblem::NotPem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Vec<String>, KeyProblem> {
        blocks(text.as_bytes()).map(|blocks| blocks.into_iter().map(|b| b.label).collect())
    }

    #[test]
    fn blocks_are_found_among_other_text() {
        let text = "\u{feff}-----BEGIN A-----\r\nAQID\r\n-----END A-----\r\n\
                    Bag Attributes\n    friendlyName: x\n  -----BEGIN B B-----\n  AQ\n  ==\n  -----END B B-----";
        assert_eq!(labels(text), Ok(vec!["A".to_owned(), "B B".to_owned()]));
        let blocks = blocks(text.as_bytes()).unwrap();
        assert_eq!(*blocks[0].der, [1, 2, 3]);
        assert_eq!(*blocks[1].der, [1]);
    }

    #[test]
    fn headers_are_kept() {
        let text =
            b"-----BEGIN K-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,00\n\nAQID\n-----END K-----";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks[0].header("DEK-Info"), Some("X,00"));
        assert_eq!(*blocks[0].der, [1, 2, 3]);
    }

    #[test]
    fn damage_is_named() {
        for text in [
            "-----BEGIN A-----\nAQID\n",
            "-----BEGIN A-----\nAQID\n-----END B-----",
            "-----BEGIN A-----\nAQID\n-----BEGIN A-----\nAQID\n-----END A-----",
            "-----BEGIN A-----\nA!ID\n-----END A-----",
        ] {
            let error = labels(text).unwrap_err();
            assert!(
                matches!(&error, KeyProblem::DamagedPem { label, .. } if label == "A"),
                "{text:?} gave {error:?}"
            );
        }
    }

    #[test]
    fn a_file_that_is_not_pem_is_told_from_one_that_is_binary() {
        assert_eq!(labels(" \n"), Err(KeyProblem::Empty));
        assert_eq!(labels("0 secrets"), Err(KeyProblem::NotPem));
        assert_eq!(labels("\u{30}\u{3}\u{2}\u{1}\0"), Err(KeyProblem::Der));
        assert_eq!(
            labels("\u{30}\u{5}\u{2}\u{1}\u{3}\0"),
            Err(KeyProblem::Pkcs12)
        );
    }
}
