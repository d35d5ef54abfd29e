//! One key pair, and what is known of it. It does not print its private half.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::identity::{Algorithm, KeyError, LazyKey, SigningKey};

/// A key pair.
#[derive(Clone)]
pub struct KeyPair {
    /// SHA-256 of the public half's SPKI DER, in lower-case hexadecimal digits: the `kid` of akenza's tokens, and the name
    /// of the key here, whatever `kid` the profile has.
    pub kid: Arc<str>,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The public half (`BEGIN PUBLIC KEY`), to be registered with the platform.
    pub public_pem: Arc<str>,
    /// What it is for at the moment.
    pub state: KeyState,
    /// When it was made, or imported.
    pub created_at: SystemTime,
    /// When the broker last accepted it.
    pub last_used_at: Option<SystemTime>,
    /// When the broker last refused it, if it has not accepted it since.
    pub refusal: Option<Refusal>,
    pub(super) pkcs8: Arc<Zeroizing<Vec<u8>>>,
    pub(super) signs: Arc<LazyKey>,
}

/// What a key is for at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It has never signed for good; to be registered with the platform, and activated then.
    New,
    /// It signs.
    Active,
    /// It signed before; it can be deleted here and on the platform.
    Previous,
}

impl KeyState {
    /// The name in answers and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Previous => "previous",
        }
    }
}

/// The broker did not take a token that a key had signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: SystemTime,
    /// Why, in words; without secrets.
    pub why: Box<str>,
}

impl KeyPair {
    /// A key that was just made or imported.
    pub fn new(key: SigningKey, now: SystemTime) -> Result<Self, KeyError> {
        Ok(Self {
            kid: key.spki_sha256().into(),
            algorithm: key.algorithm(),
            public_pem: key.public_pem().into(),
            state: KeyState::New,
            created_at: now,
            last_used_at: None,
            refusal: None,
            pkcs8: Arc::new(key.to_pkcs8()?),
            signs: Arc::new(key.into()),
        })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "KeyPair({}, {}, {})",
            self.kid,
            self.algorithm,
            self.state.name()
        )
    }
}
