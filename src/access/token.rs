//! Bearer tokens, and the hashes that are kept of them.
//!
//! A token that is made here is 256 bits of randomness, so nobody finds it by trying, and a hash that is quick to compute
//! protects it as well as a slow one would: slow hashes are for passwords that people choose. It is computed for every
//! request.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What every token that is made here begins with: whoever finds one in a file or a log knows what it is.
const PREFIX: &str = "cwy_";
/// The shortest token that somebody may bring along, in characters.
const MIN_LENGTH: usize = 16;
/// How a hash is written: what it was made with, and 64 hexadecimal digits.
const ALGORITHM: &str = "sha256:";

/// Makes a token: `cwy_` and 43 characters of base64url, which are 256 random bits.
pub fn new_token() -> Result<Secret, SysError> {
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(&mut *bytes)?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes));
    Ok(Secret::new(format!("{PREFIX}{}", *text)))
}

/// A token that somebody brings along cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It could not be sent as a bearer token (RFC 6750 §2.1).
    #[error("a token consists of letters, digits and -._~+/, with = only at its end")]
    Characters,
    /// It could be found by trying.
    #[error("a token has at least 16 characters; `causeway access new` makes a good one")]
    Short,
}

/// Checks a token that somebody brings along.
pub fn check_token(text: &str) -> Result<(), TokenError> {
    if !is_sendable(text) {
        return Err(TokenError::Characters);
    }
    match text.len() {
        MIN_LENGTH.. => Ok(()),
        _ => Err(TokenError::Short),
    }
}

/// Whether it has the form of a bearer token (RFC 6750 §2.1, `b64token`).
fn is_sendable(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

/// The SHA-256 of a token. Written as `sha256:` and 64 hexadecimal digits; two are compared in constant time.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token, whatever it consists of.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Of a weak token, somebody could find the token by its hash.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// As it is written in a configuration.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// It is no hash. It is not repeated: it may be a token that was written in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be sha256: and 64 hexadecimal digits, as `causeway access new` and `causeway access hash` print it; \
     the token itself is written as token, or in the file that token_file names"
)]
pub struct HashError;

impl FromStr for TokenHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let digits = text.strip_prefix(ALGORITHM).ok_or(HashError)?.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return Err(HashError);
        }
        let digit = |d: u8| char::from(d).to_digit(16).ok_or(HashError);
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let value = digit(pair[0])? * 16 + digit(pair[1])?;
            *byte = u8::try_from(value).map_err(|_| HashError)?;
        }
        Ok(Self(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_long_sendable_and_another_each_time() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!(one.expose().len(), PREFIX.len() + 43);
        assert_eq!(check_token(one.expose()), Ok(()));
        assert!(one.expose() != other.expose());
    }

    #[test]
    fn a_hash_is_that_of_sha256sum_and_is_read_as_it_is_written() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = TokenHash::of("abc");
        assert_eq!(hash.to_string(), abc);
        assert_eq!(abc.parse(), Ok(hash));
        assert_eq!(abc.replace("ba78", "BA78").parse(), Ok(hash));
        assert_ne!(TokenHash::of("abd"), hash);
        assert!(!format!("{hash:?}").contains("ba78"));
        for bad in [
            "",
            "sha256:",
            "abc",
            &abc[7..],
            &abc[..70],
            &format!("{abc}0"),
            &abc.replace("ba78", "ba7g"),
            &abc.replace("ba78", "+a78"),
            &abc.replace("ba78", "é78"),
            &abc.replace("sha256", "sha512"),
        ] {
            assert_eq!(bad.parse::<TokenHash>(), Err(HashError), "{bad}");
        }
    }

    #[test]
    fn what_somebody_brings_along_is_checked() {
        use TokenError::{Characters, Short};
        let cases = [
            ("0123456789abcdef", Ok(())),
            ("AZaz09-._~+/abcdef==", Ok(())),
            ("0123456789abcde", Err(Short)),
            ("", Err(Characters)),
            ("================", Err(Characters)),
            ("0123456789=abcdefgh", Err(Characters)),
            ("0123456789 abcdefgh", Err(Characters)),
            ("0123456789äabcdefgh", Err(Characters)),
        ];
        for (token, expected) in cases {
            assert_eq!(check_token(token), expected, "{token}");
        }
    }
}
