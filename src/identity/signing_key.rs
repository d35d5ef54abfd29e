//! The private key that signs a device's tokens.

use std::fmt;
use std::path::Path;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use p256::pkcs8::EncodePrivateKey as _;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::Decode as _;
use pkcs8::der::pem::{LineEnding, encode_string};
use rsa::pkcs1::RsaPrivateKey;
use rsa::pkcs1::der::asn1::UintRef;
use zeroize::Zeroizing;

use super::error::{KeyError, KeyProblem};
use super::pem;
use super::private_key::PrivateKey;
use super::public_key::{Algorithm, check_modulus, hex_digest, spki_pem};
use crate::secret::Secret;

/// A key pair, read and checked once. Share it as `Arc<SigningKey>`.
pub struct SigningKey {
    pair: Pair,
    public_pem: String,
    spki_sha256: String,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl SigningKey {
    /// Reads the one private key of a PEM file: RSA (PKCS#1, PKCS#8) from 2048 bits on, or EC P-256 (SEC1, PKCS#8);
    /// plain, as encrypted PKCS#8, or encrypted the traditional way. Certificates and other blocks are skipped.
    ///
    /// `file` is for messages. Decrypting takes as long as the file's key derivation demands, which may be a
    /// large part of a second.
    pub fn from_pem(
        file: &Path,
        pem: &[u8],
        passphrase: Option<&Secret>,
    ) -> Result<Self, KeyError> {
        pem::blocks(pem)
            .and_then(|blocks| PrivateKey::from_blocks(&blocks, passphrase))
            .and_then(|key| Self::from_private_key(&key))
            .map_err(|problem| problem.in_file(file))
    }

    /// Makes a new key (RSA: 2048 bits), and gives its private half as PKCS#8 PEM, unencrypted, to be stored.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, Zeroizing<String>), KeyError> {
        let key = Self::new(algorithm)?;
        let der = key.to_pkcs8()?;
        let pem =
            encode_string("PRIVATE KEY", LineEnding::LF, &der).map_err(|_| KeyError::Generate)?;
        Ok((key, Zeroizing::new(pem)))
    }

    /// Makes a new key (RSA: 2048 bits, which takes a good part of a second now and then).
    pub fn new(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa),
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Ec)
            }
        };
        pair.ok()
            .and_then(|pair| Self::from_pair(pair).ok())
            .ok_or(KeyError::Generate)
    }

    /// The private half as unencrypted PKCS#8, to be sealed.
    pub(crate) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let der = match &self.pair {
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair)
                .map(|der| Zeroizing::new(der.as_ref().to_vec())),
            Pair::Ec(pair) => pair
                .to_pkcs8v1()
                .map(|der| Zeroizing::new(der.as_ref().to_vec())),
        };
        der.map_err(|_| KeyError::Generate)
    }

    /// The algorithm that the key's type calls for.
    pub fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::Ec(_) => Algorithm::Es256,
        }
    }

    /// The public half as SPKI PEM (`BEGIN PUBLIC KEY`), to be registered with the platform.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// SHA-256 of the public half's SPKI DER, in lower-case hexadecimal digits: akenza's key id.
    pub fn spki_sha256(&self) -> &str {
        &self.spki_sha256
    }

    /// Signs as JWS does (RFC 7518 §3.3, §3.4): RSA PKCS#1 v1.5, or ECDSA as `r` and `s`, 32 bytes each.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
            Pair::Ec(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| KeyError::Sign)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }

    pub(super) fn from_private_key(key: &PrivateKey) -> Result<Self, KeyProblem> {
        Self::from_pair(match key {
            PrivateKey::Pkcs1(der) => rsa_pair(der)?,
            PrivateKey::Sec1(der) => sec1_pair(der)?,
            PrivateKey::Pkcs8(der) => pkcs8_pair(der)?,
        })
    }

    fn from_pair(pair: Pair) -> Result<Self, KeyProblem> {
        let spki: Result<PublicKeyX509Der<'_>, _> = match &pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
        };
        let unreadable = KeyProblem::Unreadable("public half");
        let spki = spki.map_err(|_| unreadable.clone())?;
        Ok(Self {
            public_pem: spki_pem(spki.as_ref()).ok_or(unreadable)?,
            spki_sha256: hex_digest(&SHA256, spki.as_ref()),
            pair,
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.algorithm(), self.spki_sha256)
    }
}

/// Looks at a key as far as that is cheap: whether it can be one, of a type and size that are taken.
pub(super) fn check(key: &PrivateKey) -> Result<Algorithm, KeyProblem> {
    match key {
        PrivateKey::Pkcs1(der) => check_rsa(der),
        PrivateKey::Sec1(der) => check_sec1(der),
        PrivateKey::Pkcs8(der) => {
            let info = pkcs8_info(der)?;
            match Algorithm::of(&info.algorithm)? {
                Algorithm::Rs256 => check_rsa(info.private_key.as_bytes()),
                Algorithm::Es256 => Ok(Algorithm::Es256),
            }
        }
    }
}

fn check_rsa(der: &[u8]) -> Result<Algorithm, KeyProblem> {
    let key = RsaPrivateKey::<UintRef<'_>>::from_der(der)
        .map_err(|_| KeyProblem::Unreadable("RSA key"))?;
    check_modulus(key.modulus.as_bytes())?;
    Ok(Algorithm::Rs256)
}

fn check_sec1(der: &[u8]) -> Result<Algorithm, KeyProblem> {
    let curve = sec1_curve(der).map_err(|_| KeyProblem::Unreadable("EC key"))?;
    if let Some(curve) = curve {
        super::public_key::check_curve(curve)?;
    }
    Ok(Algorithm::Es256)
}

fn pkcs8_info(der: &[u8]) -> Result<PrivateKeyInfoRef<'_>, KeyProblem> {
    PrivateKeyInfoRef::from_der(der).map_err(|_| KeyProblem::Unreadable("key"))
}

fn rsa_pair(der: &[u8]) -> Result<Pair, KeyProblem> {
    check_rsa(der)?;
    RsaKeyPair::from_der(der)
        .map(Pair::Rsa)
        .map_err(|_| KeyProblem::Unreadable("RSA key"))
}

fn sec1_pair(der: &[u8]) -> Result<Pair, KeyProblem> {
    check_sec1(der)?;
    let key = p256::SecretKey::from_sec1_der(der).map_err(|_| KeyProblem::Unreadable("EC key"))?;
    ec_pair(&key)
}

fn pkcs8_pair(der: &[u8]) -> Result<Pair, KeyProblem> {
    let info = pkcs8_info(der)?;
    match Algorithm::of(&info.algorithm)? {
        Algorithm::Rs256 => rsa_pair(info.private_key.as_bytes()),
        Algorithm::Es256 => {
            let key = p256::SecretKey::try_from(info).map_err(|_| KeyProblem::Unreadable("key"))?;
            ec_pair(&key)
        }
    }
}

/// By way of PKCS#8 with the public half in it: SEC1 files may lack that, and the library does not compute it.
fn ec_pair(key: &p256::SecretKey) -> Result<Pair, KeyProblem> {
    let unreadable = KeyProblem::Unreadable("EC key");
    let pkcs8 = key.to_pkcs8_der().map_err(|_| unreadable.clone())?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_bytes())
        .map(Pair::Ec)
        .map_err(|_| unreadable)
}

fn sec1_curve(der: &[u8]) -> pkcs8::der::Result<Option<pkcs8::ObjectIdentifier>> {
    use pkcs8::der::asn1::{AnyRef, ContextSpecific, ObjectIdentifier, OctetStringRef};
    use pkcs8::der::{Reader as _, TagNumber};
    AnyRef::from_der(der)?.sequence(|reader| {
        reader.decode::<u8>()?;
        reader.decode::<&OctetStringRef>()?;
        let curve = ContextSpecific::<ObjectIdentifier>::decode_explicit(reader, TagNumber(0))?;
        ContextSpecific::<AnyRef<'_>>::decode_explicit(reader, TagNumber(1))?;
        Ok(curve.map(|field| field.value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::openssl::{Bench, named};

    #[test]
    fn generated_keys_are_read_by_openssl_and_by_us() {
        let bench = Bench::new();
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (key, pem) = SigningKey::generate(algorithm).expect("a key");
            assert_eq!(key.algorithm(), algorithm);
            bench.write("key.pem", pem.as_bytes());
            let public = bench.run("pkey -in key.pem -pubout");
            assert_eq!(key.public_pem().as_bytes(), public);
            let again = SigningKey::from_pem(named("key.pem"), pem.as_bytes(), None);
            assert_eq!(again.expect("it is read").spki_sha256(), key.spki_sha256());
        }
    }

    #[test]
    fn openssl_verifies_what_an_rsa_key_signs() {
        let bench = Bench::new();
        let (key, _) = SigningKey::generate(Algorithm::Rs256).expect("a key");
        bench.write("public.pem", key.public_pem());
        bench.write("message", "a message");
        bench.write("signature", key.sign(b"a message").expect("a signature"));
        bench.run("dgst -sha256 -verify public.pem -signature signature message");
    }

    #[test]
    fn openssl_verifies_what_an_ec_key_signs() {
        let bench = Bench::new();
        let (key, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
        bench.write("public.pem", key.public_pem());
        bench.write("message", "a message");
        let signature = key.sign(b"a message").expect("a signature");
        assert_eq!(signature.len(), 64);
        let signature = p256::ecdsa::Signature::from_slice(&signature).expect("r and s");
        bench.write("signature", signature.to_der().as_bytes());
        bench.run("dgst -sha256 -verify public.pem -signature signature message");
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let (key, pem) = SigningKey::generate(Algorithm::Es256).expect("a key");
        let printed = format!("{key:?}");
        assert_eq!(printed, format!("SigningKey(ES256, {})", key.spki_sha256()));
        assert!(pem.lines().all(|line| !printed.contains(line)));
    }
}
