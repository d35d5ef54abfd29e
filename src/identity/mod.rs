//! Keys and tokens.
//!
//! ```text
//! PEM ─► pem ─► private_key ─┬─► signing_key ─► token
//!                │ ▲         └─► client_identity ─► the TLS handshake
//!                │ encrypted, traditional ─► pbe
//!                └► certificate ──┘
//! PKCS#12 ─► ber ─► pkcs12 ───────┘
//! ```
//!
//! `lazy_key` reads a key and takes it apart later; `sealing` encrypts what is stored.
//!
//! Nothing here reads a file, the environment or the clock: the caller passes the bytes, the path that they came
//! from (errors name it) and the time. A private key is in memory only, and cleared when it is dropped.

mod ber;
mod certificate;
mod client_identity;
mod encrypted;
mod error;
mod kid;
mod lazy_key;
mod pbe;
mod pem;
mod pkcs12;
mod private_key;
mod public_key;
mod sealing;
mod signing_key;
mod token;
mod traditional;
mod validity;
mod verifying_key;

#[cfg(test)]
mod handshake;
#[cfg(test)]
mod openssl;

pub use certificate::{CertificateText, certificates};
pub use client_identity::{ClientIdentity, IdentityError};
pub use error::{KeyError, KeyProblem};
pub use kid::{KidError, certificate_kid};
pub use lazy_key::LazyKey;
#[cfg(feature = "demo")]
pub(crate) use pbe::{Purpose, bmp_password, derive as pkcs12_derive};
pub use public_key::{Algorithm, MAX_RSA_BITS, MIN_RSA_BITS};
pub use sealing::{KeyId, Opened, SealError, Sealing, SealingKey, SealingKeyError};
pub use signing_key::SigningKey;
pub use token::{IssueError, Token, TokenSpec, issue};
pub use validity::{EXPIRY_NOTICE, Validity, Warning};
pub use verifying_key::{Claims, TokenError, VerifyingKey};
