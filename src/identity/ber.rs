//! BER made into DER (X.690 §8.1, §10), as far as PKCS#12 stores need it.
//!
//! Stores from Bouncy Castle and Firefox have indefinite lengths and octet strings in pieces, which the DER reader
//! refuses. Only lengths and pieces are normalised; what primitive values contain stays as it is.

use zeroize::Zeroizing;

/// Far deeper than any store; so that a hostile file cannot exhaust the stack.
const MAX_DEPTH: usize = 32;

const OCTET_STRING: u8 = 0x04;
const CONSTRUCTED: u8 = 0x20;

struct Element<'a> {
    tag: u8,
    content: Zeroizing<Vec<u8>>,
    rest: &'a [u8],
}

/// The one element that `ber` consists of, in DER; `None` if it is neither.
pub(super) fn to_der(ber: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let element = element(ber, 0)?;
    if !element.rest.is_empty() {
        return None;
    }
    let mut der = Zeroizing::new(Vec::with_capacity(ber.len()));
    write(&element, &mut der);
    Some(der)
}

fn element(input: &[u8], depth: usize) -> Option<Element<'_>> {
    let (&tag, input) = input.split_first()?;
    // Tags of several bytes do not occur in a store.
    if depth > MAX_DEPTH || tag & 0x1f == 0x1f {
        return None;
    }
    let (length, input) = length(input)?;
    if tag & CONSTRUCTED == 0 {
        let (content, rest) = input.split_at_checked(length?)?;
        let content = Zeroizing::new(content.to_vec());
        return Some(Element { tag, content, rest });
    }
    let pieces = tag == OCTET_STRING | CONSTRUCTED;
    let (content, rest) = match length {
        Some(length) => {
            let (inside, rest) = input.split_at_checked(length)?;
            (children(inside, false, pieces, depth)?.0, rest)
        }
        None => children(input, true, pieces, depth)?,
    };
    let tag = if pieces { OCTET_STRING } else { tag };
    Some(Element { tag, content, rest })
}

/// The children up to the end of the input or, where the length is `indefinite`, up to the end-of-contents octets.
fn children(
    mut input: &[u8],
    indefinite: bool,
    pieces: bool,
    depth: usize,
) -> Option<(Zeroizing<Vec<u8>>, &[u8])> {
    let mut content = Zeroizing::new(Vec::with_capacity(input.len()));
    loop {
        if indefinite && let Some(rest) = input.strip_prefix(&[0, 0]) {
            return Some((content, rest));
        }
        if !indefinite && input.is_empty() {
            return Some((content, input));
        }
        let child = element(input, depth + 1)?;
        match pieces {
            true if child.tag == OCTET_STRING => content.extend_from_slice(&child.content),
            true => return None,
            false => write(&child, &mut content),
        }
        input = child.rest;
    }
}

/// A length, or `None` inside for the indefinite one; and what follows it.
fn length(input: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (&first, input) = input.split_first()?;
    match first {
        0..0x80 => Some((Some(usize::from(first)), input)),
        0x80 => Some((None, input)),
        _ => {
            let (bytes, input) = input.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            })?;
            Some((Some(length), input))
        }
    }
}

fn write(element: &Element<'_>, out: &mut Vec<u8>) {
    out.push(element.tag);
    let length = element.content.len();
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let unused = length.leading_zeros() as usize / 8;
            let used = &bytes[unused..];
            out.push(0x80 | used.len().to_be_bytes()[size_of::<usize>() - 1]);
            out.extend_from_slice(used);
        }
    }
    out.extend_from_slice(&element.content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::ClientIdentity;
    use crate::identity::handshake::Authority;
    use crate::identity::openssl::{Bench, named};
    use crate::secret::Secret;
    use proptest::prelude::*;
    use std::time::SystemTime;

    #[test]
    fn lengths_and_pieces_are_normalised() {
        let cases: [(&[u8], Option<&[u8]>); 8] = [
            (&[0x02, 0x01, 0x05], Some(&[0x02, 0x01, 0x05])),
            (&[0x02, 0x81, 0x01, 0x05], Some(&[0x02, 0x01, 0x05])),
            (
                &[0x30, 0x80, 0x02, 0x01, 0x05, 0, 0],
                Some(&[0x30, 0x03, 0x02, 0x01, 0x05]),
            ),
            (
                &[0x24, 0x80, 0x04, 0x01, 1, 0x24, 0x03, 0x04, 0x01, 2, 0, 0],
                Some(&[0x04, 0x02, 1, 2]),
            ),
            (&[0x30, 0x80, 0x02, 0x01, 0x05], None),
            (&[0x02, 0x80, 0x05, 0, 0], None),
            (&[0x24, 0x03, 0x02, 0x01, 5], None),
            (&[0x30, 0x00, 0x00], None),
        ];
        for (ber, der) in cases {
            assert_eq!(to_der(ber).as_ref().map(|der| &***der), der, "{ber:x?}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        assert!(to_der(&[0x30, 0x80].repeat(100_000)).is_none());
    }

    #[test]
    fn stores_in_indefinite_length_encoding_are_read() {
        let bench = Bench::new();
        let authority = Authority::new(&bench);
        bench.run("ecparam -genkey -name prime256v1 -out a.key");
        Authority::issue(&bench, "a", 365);
        // Inside the MAC's reach nothing may change, so its bytes are re-encoded only where there is no MAC.
        for (options, depth) in [("", 0), ("-nomac", 1)] {
            bench.run(&format!(
                "pkcs12 -export -inkey a.key -in a.pem -out a.p12 {options} -passout pass:secret"
            ));
            let store = indefinite(&bench.read("a.p12"), depth);
            let passphrase = Secret::new("secret");
            let now = SystemTime::now();
            let read = ClientIdentity::read(named("a.p12"), &store, None, Some(&passphrase), now);
            let (identity, _) = read.expect("it is read");
            assert!(authority.shake_hands(&identity).is_ok());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_at_worst(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(der) = to_der(&bytes) {
                prop_assert_eq!(to_der(&der), Some(der.clone()));
            }
        }
    }

    /// Every constructed value with an indefinite length, every octet string in pieces; what the outer octet
    /// strings contain too, `depth` times.
    fn indefinite(mut der: &[u8], depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while let [tag, first, ..] = *der {
            let bytes = usize::from(first.saturating_sub(0x80));
            let length = match bytes {
                0 => usize::from(first),
                _ => der[2..2 + bytes]
                    .iter()
                    .fold(0, |n, b| n << 8 | usize::from(*b)),
            };
            let (content, rest) = der[2 + bytes..].split_at(length);
            match tag {
                0x04 | 0x80 => {
                    let content = match depth {
                        1.. if content.starts_with(&[0x30]) => indefinite(content, depth - 1),
                        _ => content.to_vec(),
                    };
                    out.extend([if tag == 0x04 { 0x24 } else { 0xa0 }, 0x80]);
                    for piece in content.chunks(100) {
                        out.extend([0x04, piece.len() as u8]);
                        out.extend(piece);
                    }
                    out.extend([0, 0]);
                }
                _ if tag & 0x20 != 0 => {
                    out.extend([tag, 0x80]);
                    out.extend(indefinite(content, depth));
                    out.extend([0, 0]);
                }
                _ => out.extend(&der[..2 + bytes + length]),
            }
            der = rest;
        }
        out
    }
}
