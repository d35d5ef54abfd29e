//! Sealing: private keys and other secrets are encrypted before the store sees them, when a key for that is configured.
//!
//! | bytes | sealed | plain |
//! |---|---|---|
//! | 0 | 1 | 0 |
//! | 1–8 | id of the sealing key | the content, from byte 1 on |
//! | 9–20 | nonce, random | |
//! | 21– | the content with AES-256-GCM (NIST SP 800-38D), and the tag of 16 bytes | |
//!
//! The associated data are bytes 0–8 and the identity of the record: a record that was put in another's place does not
//! open. The key's id tells a wrong key from damage; it is derived from the key, and tells nothing of it. With random
//! nonces one key is good for 2³² records (§8.3 there): far more than a bridge writes in its life.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Bytes of a sealing key.
const KEY_LEN: usize = 32;
const ID_LEN: usize = 8;
const TAG_LEN: usize = 16;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;
/// The version and the key's id.
const HEAD_LEN: usize = 1 + ID_LEN;

/// The key that seals.
pub struct SealingKey {
    key: RandomizedNonceKey,
    id: [u8; ID_LEN],
}

/// A text that is no sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealingKeyError {
    /// Neither Base64 nor hexadecimal digits.
    #[error(
        "this is no sealing key: 32 random bytes are needed, in Base64 or as 64 hexadecimal digits; \
         `causeway keys seal-key --out FILE` makes one, and so does `openssl rand -base64 32`"
    )]
    Form,
    /// Too short or too long, in bytes.
    #[error(
        "this sealing key has {0} bytes, and 32 are needed; `causeway keys seal-key --out FILE` makes one, \
         and so does `openssl rand -base64 32`"
    )]
    Length(usize),
    /// The same byte again and again.
    #[error(
        "this sealing key is not random: all its bytes are the same; `causeway keys seal-key --out FILE` makes one, \
         and so does `openssl rand -base64 32`"
    )]
    NotRandom,
    /// The cryptographic library took or made none.
    #[error("no sealing key can be set up: the system's random numbers or memory failed")]
    Library,
}

impl SealingKey {
    /// Reads a key: 32 bytes in Base64, or as 64 hexadecimal digits. White space around it is skipped.
    pub fn from_text(text: &str) -> Result<Self, SealingKeyError> {
        let text = text.trim();
        let bytes = match from_hex(text) {
            Some(bytes) => bytes,
            None => Zeroizing::new(STANDARD.decode(text).map_err(|_| SealingKeyError::Form)?),
        };
        if bytes.len() != KEY_LEN {
            return Err(SealingKeyError::Length(bytes.len()));
        }
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(SealingKeyError::NotRandom);
        }
        Self::from_bytes(&bytes)
    }

    /// Makes a key, as the text that [`from_text`](Self::from_text) reads.
    pub fn generate() -> Result<Zeroizing<String>, SealingKeyError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| SealingKeyError::Library)?;
        Ok(Zeroizing::new(STANDARD.encode(*bytes)))
    }

    /// By which two keys are told apart: 16 hexadecimal digits.
    pub fn id(&self) -> KeyId {
        KeyId(self.id)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, SealingKeyError> {
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| SealingKeyError::Library)?;
        let derived = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, bytes),
            b"causeway sealing key id",
        );
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&derived.as_ref()[..ID_LEN]);
        Ok(Self { key, id })
    }

    fn head(&self) -> [u8; HEAD_LEN] {
        let mut head = [SEALED; HEAD_LEN];
        head[1..].copy_from_slice(&self.id);
        head
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id())
    }
}

/// The id of a sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How secrets are stored: sealed, or plain where no key is configured.
#[derive(Debug, Clone, Default)]
pub struct Sealing(Option<Arc<SealingKey>>);

/// What was stored, readable again.
#[derive(PartialEq, Eq)]
pub struct Opened {
    /// The content.
    pub content: Zeroizing<Vec<u8>>,
    /// Whether it was plain, although a key is configured now: it should be stored again.
    pub outdated: bool,
}

/// Why something stored cannot be opened. Each reads on from the name of what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is sealed, and there is no key.
    #[error(
        "is sealed with the key {0}, and none is configured: name its file in [store] encryption_key_file"
    )]
    NoKey(KeyId),
    /// It is sealed with another key.
    #[error(
        "is sealed with the key {sealed}, and [store] encryption_key_file names the key {configured}: name the file of \
         the first one"
    )]
    OtherKey {
        /// The key that it is sealed with.
        sealed: KeyId,
        /// The key that is configured.
        configured: KeyId,
    },
    /// The key is the right one, and it does not open.
    #[error(
        "is damaged: it does not open with the key that sealed it; restore the store from a copy"
    )]
    Damaged,
    /// Written in a form that is not known here.
    #[error("has version {0}, which this program does not know; use the version that wrote it")]
    Version(u8),
    /// The cryptographic library failed.
    #[error("cannot be sealed: the system's random numbers or memory failed")]
    Library,
}

impl Sealing {
    /// With this key, or in plain.
    pub fn new(key: Option<Arc<SealingKey>>) -> Self {
        Self(key)
    }

    /// Whether there is a key.
    pub fn has_key(&self) -> bool {
        self.0.is_some()
    }

    /// What is to be stored for a content. `identity` names the record, and is needed again to open it.
    pub fn seal(&self, identity: &[u8], content: &[u8]) -> Result<Vec<u8>, SealError> {
        let Some(key) = &self.0 else {
            return Ok([&[PLAIN], content].concat());
        };
        let head = key.head();
        // Room for all of it at once: a vector that grows leaves copies behind that nobody clears.
        let mut sealed = Vec::with_capacity(content.len() + TAG_LEN);
        sealed.extend_from_slice(content);
        let associated = [&head, identity].concat();
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(&associated), &mut sealed)
            .map_err(|_| SealError::Library)?;
        Ok([&head[..], nonce.as_ref(), &sealed].concat())
    }

    /// The content of what was stored under this identity.
    pub fn open(&self, identity: &[u8], stored: Vec<u8>) -> Result<Opened, SealError> {
        let mut stored = Zeroizing::new(stored);
        match stored.first() {
            Some(&PLAIN) => {
                stored.remove(0);
                Ok(Opened {
                    content: stored,
                    outdated: self.has_key(),
                })
            }
            Some(&SEALED) => self.unseal(identity, &mut stored).map(|content| Opened {
                content,
                outdated: false,
            }),
            Some(&version) => Err(SealError::Version(version)),
            None => Err(SealError::Damaged),
        }
    }

    fn unseal(&self, identity: &[u8], stored: &mut [u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, rest) = stored
            .split_first_chunk_mut::<HEAD_LEN>()
            .ok_or(SealError::Damaged)?;
        let (nonce, sealed) = rest
            .split_first_chunk_mut::<NONCE_LEN>()
            .ok_or(SealError::Damaged)?;
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&head[1..]);
        let key = self.0.as_ref().ok_or(SealError::NoKey(KeyId(id)))?;
        if key.id != id {
            return Err(SealError::OtherKey {
                sealed: KeyId(id),
                configured: key.id(),
            });
        }
        let associated = [&head[..], identity].concat();
        let content = key
            .key
            .open_in_place(Nonce::from(&*nonce), Aad::from(&associated), sealed)
            .map_err(|_| SealError::Damaged)?;
        Ok(Zeroizing::new(content.to_vec()))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes)", self.content.len())
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits: Option<Zeroizing<Vec<u8>>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<Vec<u8>>>()
        .map(Zeroizing::new);
    let digits = digits.filter(|digits| digits.len() == 2 * KEY_LEN)?;
    Some(Zeroizing::new(
        digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sealing() -> Sealing {
        let key = SealingKey::from_text(&SealingKey::generate().unwrap()).unwrap();
        Sealing::new(Some(Arc::new(key)))
    }

    #[test]
    fn a_key_is_32_bytes_in_base64_or_in_hexadecimal_digits() {
        let text = SealingKey::generate().unwrap();
        assert_eq!(text.len(), 44);
        let bytes = STANDARD.decode(&*text).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = SealingKey::from_text(&text).unwrap().id();
        for form in [
            format!("{}\n", *text),
            format!(" {hex}\r\n"),
            hex.to_uppercase(),
        ] {
            assert_eq!(SealingKey::from_text(&form).unwrap().id(), id, "{form:?}");
        }
        assert_ne!(*SealingKey::generate().unwrap(), *text);
        assert_eq!(id.to_string().len(), 16);

        let refused = |text: &str| SealingKey::from_text(text).unwrap_err();
        assert_eq!(refused(""), SealingKeyError::Length(0));
        assert_eq!(refused("hunter2!"), SealingKeyError::Form);
        assert_eq!(refused(&text[..40]), SealingKeyError::Length(30));
        assert_eq!(refused(&"0".repeat(64)), SealingKeyError::NotRandom);
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_under_its_name_alone() {
        let (one, other) = (sealing(), sealing());
        let sealed = one.seal(b"a", b"content").unwrap();
        assert_eq!(sealed.len(), HEAD_LEN + NONCE_LEN + 7 + TAG_LEN);
        assert!(!sealed.windows(7).any(|bytes| bytes == b"content"));
        let opened = one.open(b"a", sealed.clone()).unwrap();
        assert_eq!(
            (&opened.content[..], opened.outdated),
            (&b"content"[..], false)
        );
        assert_eq!(one.open(b"b", sealed.clone()), Err(SealError::Damaged));
        let (sealed_with, configured) =
            (one.0.as_ref().unwrap().id(), other.0.as_ref().unwrap().id());
        assert_eq!(
            other.open(b"a", sealed.clone()),
            Err(SealError::OtherKey {
                sealed: sealed_with,
                configured
            })
        );
        assert_eq!(
            Sealing::default().open(b"a", sealed),
            Err(SealError::NoKey(sealed_with))
        );
    }

    #[test]
    fn no_two_are_sealed_alike() {
        let sealing = sealing();
        let seal = || sealing.seal(b"a", b"content").unwrap();
        assert_ne!(seal()[HEAD_LEN..], seal()[HEAD_LEN..]);
    }

    #[test]
    fn every_bit_counts() {
        let sealing = sealing();
        let sealed = sealing.seal(b"a", b"content").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            let error = sealing.open(b"a", altered).err();
            match at {
                // What claims to be plain is read as such: whoever can write the store can put a key of his own there.
                0 => assert_eq!(error, None),
                1..HEAD_LEN => assert!(matches!(error, Some(SealError::OtherKey { .. }))),
                _ => assert_eq!(error, Some(SealError::Damaged), "byte {at}"),
            }
        }
        for length in 0..sealed.len() {
            let cut = sealing.open(b"a", sealed[..length].to_vec());
            assert_eq!(cut, Err(SealError::Damaged), "{length} bytes");
        }
        assert_eq!(sealing.open(b"a", vec![2, 3]), Err(SealError::Version(2)));
    }

    #[test]
    fn without_a_key_it_is_plain_and_with_one_it_is_outdated_then() {
        let plain = Sealing::default().seal(b"a", b"content").unwrap();
        assert_eq!(plain, b"\0content");
        for (sealing, outdated) in [(Sealing::default(), false), (sealing(), true)] {
            let opened = sealing.open(b"a", plain.clone()).unwrap();
            assert_eq!(
                (&opened.content[..], opened.outdated),
                (&b"content"[..], outdated)
            );
        }
    }

    #[test]
    fn neither_key_nor_content_prints_itself() {
        let text = SealingKey::generate().unwrap();
        let key = SealingKey::from_text(&text).unwrap();
        assert_eq!(format!("{key:?}"), format!("SealingKey({})", key.id()));
        let opened = Sealing::default().open(b"a", b"\0hunter2".to_vec());
        assert_eq!(format!("{opened:?}"), "Ok(Opened(7 bytes))");
    }

    proptest! {
        #[test]
        fn anything_can_be_sealed(identity: Vec<u8>, content: Vec<u8>) {
            for sealing in [Sealing::default(), sealing()] {
                let sealed = sealing.seal(&identity, &content).unwrap();
                prop_assert_eq!(&*sealing.open(&identity, sealed).unwrap().content, &content);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(stored: Vec<u8>) {
            let _ = sealing().open(b"a", stored);
        }
    }
}
