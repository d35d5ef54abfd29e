//! A public key as platforms know it: its algorithm, its SPKI (RFC 5280 §4.1.2.7) and the digest of that.

use std::fmt;

use aws_lc_rs::digest::{Algorithm as Digest, digest};
use pkcs8::der::pem::{LineEnding, encode_string};
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier};
use serde::{Deserialize, Serialize};

use super::error::KeyProblem;

/// The smallest RSA key that is taken, in bits (RFC 7518 §3.3).
pub const MIN_RSA_BITS: usize = 2048;

/// The largest RSA key that is taken, in bits: what the cryptographic library verifies.
pub const MAX_RSA_BITS: usize = 8192;

pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// How a token is signed (RFC 7518 §3.1); the key's type decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// RSA, PKCS#1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    pub(super) fn jwt(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
        }
    }

    /// Which algorithm a key of this identifier signs with; P-256 is the only curve.
    pub(super) fn of(key_type: &AlgorithmIdentifierRef<'_>) -> Result<Self, KeyProblem> {
        match key_type.oid {
            RSA => Ok(Self::Rs256),
            EC => {
                let curve = key_type
                    .parameters_oid()
                    .map_err(|_| KeyProblem::Unreadable("curve's name"))?;
                check_curve(curve)?;
                Ok(Self::Es256)
            }
            oid => Err(KeyProblem::UnknownKeyType(type_name(oid))),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Takes P-256 alone.
pub(super) fn check_curve(curve: ObjectIdentifier) -> Result<(), KeyProblem> {
    if curve == P256 {
        return Ok(());
    }
    Err(KeyProblem::WrongCurve(curve_name(curve)))
}

/// Takes an RSA modulus (big-endian, without leading zeros) of a size that is neither weak nor unsupported.
pub(super) fn check_modulus(modulus: &[u8]) -> Result<(), KeyProblem> {
    let unused = modulus
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = 8 * modulus.len() - unused;
    if bits < MIN_RSA_BITS {
        return Err(KeyProblem::RsaTooSmall(bits));
    }
    if bits > MAX_RSA_BITS {
        return Err(KeyProblem::RsaTooLarge(bits));
    }
    Ok(())
}

/// `-----BEGIN PUBLIC KEY-----`, as platforms take it.
pub(super) fn spki_pem(spki: &[u8]) -> Option<String> {
    encode_string("PUBLIC KEY", LineEnding::LF, spki).ok()
}

/// A digest in lower-case hexadecimal digits.
pub(super) fn hex_digest(algorithm: &'static Digest, bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut hex = String::new();
    for byte in digest(algorithm, bytes).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn curve_name(oid: ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let name = match oid.as_str() {
        "1.2.840.10045.3.1.1" => "P-192 (prime192v1)",
        "1.3.132.0.33" => "P-224 (secp224r1)",
        "1.3.132.0.34" => "P-384 (secp384r1)",
        "1.3.132.0.35" => "P-521 (secp521r1)",
        "1.3.132.0.10" => "secp256k1",
        "1.3.36.3.3.2.8.1.1.7" => "brainpoolP256r1",
        other => other,
    };
    name.to_owned()
}

fn type_name(oid: ObjectIdentifier) -> String {
    let oid = oid.to_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.10040.4.1" => "DSA",
        "1.3.101.110" => "X25519",
        "1.3.101.111" => "X448",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        other => other,
    };
    name.to_owned()
}
