//! A private key that is taken apart when its first token is signed.
//!
//! Making an RSA key ready to sign takes close to a millisecond: a bridge with a thousand devices would start a second
//! later for it, and most of them sign nothing at once. What a file's owner can get wrong is found at once all the same:
//! form, passphrase, type, curve and size are looked at when it is read.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use zeroize::Zeroizing;

use super::error::KeyError;
use super::pem;
use super::private_key::PrivateKey;
use super::public_key::Algorithm;
use super::signing_key::{self, SigningKey};
use crate::secret::Secret;

/// A private key, checked in its outer form.
pub struct LazyKey {
    algorithm: Algorithm,
    /// Where it came from, for messages.
    from: PathBuf,
    /// Gone once it is taken apart.
    private: Mutex<Option<PrivateKey>>,
    key: OnceLock<Result<SigningKey, KeyError>>,
}

impl LazyKey {
    /// Reads what [`SigningKey::from_pem`] reads. An encrypted key is decrypted now, which takes its time.
    pub fn from_pem(
        file: &Path,
        pem: &[u8],
        passphrase: Option<&Secret>,
    ) -> Result<Self, KeyError> {
        pem::blocks(pem)
            .and_then(|blocks| PrivateKey::from_blocks(&blocks, passphrase))
            .and_then(|key| Self::new(key, file))
            .map_err(|problem| problem.in_file(file))
    }

    /// A key out of the store: unencrypted PKCS#8. `name` is for messages.
    pub fn from_pkcs8(name: &str, der: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let name = Path::new(name);
        Self::new(PrivateKey::Pkcs8(der), name).map_err(|problem| problem.in_file(name))
    }

    /// The algorithm that the key's type calls for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key, ready to sign. The first call takes up to some milliseconds.
    pub fn get(&self) -> Result<&SigningKey, KeyError> {
        let key = self.key.get_or_init(|| {
            let private = self
                .private
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .ok_or(KeyError::Sign)?;
            SigningKey::from_private_key(&private).map_err(|problem| problem.in_file(&self.from))
        });
        key.as_ref().map_err(Clone::clone)
    }

    fn new(key: PrivateKey, from: &Path) -> Result<Self, super::KeyProblem> {
        Ok(Self {
            algorithm: signing_key::check(&key)?,
            from: from.to_owned(),
            private: Mutex::new(Some(key)),
            key: OnceLock::new(),
        })
    }
}

impl From<SigningKey> for LazyKey {
    fn from(key: SigningKey) -> Self {
        Self {
            algorithm: key.algorithm(),
            from: PathBuf::new(),
            private: Mutex::new(None),
            key: OnceLock::from(Ok(key)),
        }
    }
}

impl fmt::Debug for LazyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LazyKey({})", self.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::openssl::{Bench, named};

    #[test]
    fn it_is_the_key_that_is_read_at_once() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (key, pem) = SigningKey::generate(algorithm).expect("a key");
            let lazy = LazyKey::from_pem(named("key.pem"), pem.as_bytes(), None).expect("a key");
            assert_eq!(lazy.algorithm(), algorithm);
            for _ in 0..2 {
                assert_eq!(lazy.get().expect("a key").spki_sha256(), key.spki_sha256());
            }
            let stored = key.to_pkcs8().expect("DER");
            let lazy = LazyKey::from_pkcs8("x", stored).expect("a key");
            assert_eq!(lazy.get().expect("a key").spki_sha256(), key.spki_sha256());
        }
    }

    #[test]
    fn what_its_owner_can_get_wrong_is_found_at_once() {
        let bench = Bench::new();
        bench.run("ecparam -genkey -name secp384r1 -noout -out p384.pem");
        bench.run("genrsa -out small.pem 1024");
        bench.run("genpkey -algorithm ed25519 -out ed.pem");
        bench.run("ecparam -genkey -name prime256v1 -noout -out ec.pem");
        bench.run("ec -in ec.pem -aes128 -out encrypted.pem -passout pass:right");
        bench.write("nothing.pem", "nothing");
        let wrong = Secret::new("wrong");
        for name in [
            "p384.pem",
            "small.pem",
            "ed.pem",
            "encrypted.pem",
            "nothing.pem",
        ] {
            let read = |lazy| match lazy {
                true => LazyKey::from_pem(named(name), &bench.read(name), Some(&wrong)).err(),
                false => SigningKey::from_pem(named(name), &bench.read(name), Some(&wrong)).err(),
            };
            assert!(read(true).is_some(), "{name}");
            assert_eq!(read(true), read(false));
        }
    }

    #[test]
    fn damage_inside_is_told_when_the_key_is_used() {
        let (_, pem) = SigningKey::generate(Algorithm::Rs256).expect("a key");
        let (_, der) = pkcs8::SecretDocument::from_pem(&pem).expect("PEM");
        let mut der = Zeroizing::new(der.as_bytes().to_vec());
        let last = der.len() - 1;
        der[last] ^= 1;
        let lazy = LazyKey::from_pkcs8("the key", der).expect("its form is that of a key");
        for _ in 0..2 {
            let error = lazy.get().expect_err("an error").to_string();
            assert!(error.starts_with("the key: "), "{error}");
        }
    }
}
