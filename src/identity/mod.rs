//! Keys and tokens.
//!
//! ```text
//! file's bytes ─► pem ─► private_key ─► signing_key ─► token
//!                         │  └ encrypted, traditional ─► pbe
//!                         └─────────► client_identity (TLS) ◄─ certificate, pkcs12
//! ```
//!
//! Nothing here reads a file, the environment or the clock: the caller passes the bytes, the path that they came
//! from (errors name it) and the time. A private key is in memory only, and cleared when it is dropped.

mod certificate;
mod encrypted;
mod error;
mod kid;
mod pbe;
mod pem;
mod private_key;
mod public_key;
mod signing_key;
mod token;
mod traditional;
mod verifying_key;

#[cfg(test)]
mod openssl;

pub use certificate::certificates;
pub use error::{KeyError, KeyProblem};
pub use kid::{KidError, KidMode, kid};
pub use public_key::{Algorithm, MAX_RSA_BITS, MIN_RSA_BITS};
pub use signing_key::SigningKey;
pub use token::{IssueError, Token, TokenSpec, issue};
pub use verifying_key::{Claims, TokenError, VerifyingKey};
