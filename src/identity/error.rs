//! Why a key cannot be used, and what its owner can do about it.

use std::path::{Path, PathBuf};

use super::public_key::{MAX_RSA_BITS, MIN_RSA_BITS};

/// A key that could not be read, made or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key's file cannot be used.
    #[error("{}: {problem}", file.display())]
    File {
        /// Where the bytes came from.
        file: PathBuf,
        /// What is wrong with them.
        problem: KeyProblem,
    },
    /// The cryptographic library made no key.
    #[error("no key could be generated: the system's random numbers or memory failed")]
    Generate,
    /// The cryptographic library made no signature.
    #[error("the key could not sign: the system's random numbers or memory failed")]
    Sign,
}

impl KeyError {
    /// What is wrong with the file, if this is about a file.
    pub fn problem(&self) -> Option<&KeyProblem> {
        match self {
            Self::File { problem, .. } => Some(problem),
            Self::Generate | Self::Sign => None,
        }
    }
}

/// What is wrong with a file that should hold a key, a certificate, or both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No bytes, or white space alone.
    #[error("the file is empty")]
    Empty,
    /// Text or bytes without any PEM block.
    #[error("this is not a PEM file: it has no line that starts with '-----BEGIN '")]
    NotPem,
    /// Binary ASN.1 where PEM is needed.
    #[error(
        "this is a binary (DER) file; convert it with `openssl pkey -inform DER -in THIS-FILE -out key.pem`, \
         or a certificate with `openssl x509 -inform DER -in THIS-FILE -out certificate.pem`"
    )]
    Der,
    /// A PKCS#12 store where a key alone is needed.
    #[error(
        "this is a PKCS#12 store (.p12, .pfx); take the key out with \
         `openssl pkcs12 -in THIS-FILE -nocerts -out key.pem`"
    )]
    Pkcs12,
    /// A PEM block that does not end, or is not Base64.
    #[error("the PEM block '{label}' is damaged ({reason}); copy the file again")]
    DamagedPem {
        /// What stands after `BEGIN`.
        label: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// PEM blocks, none of them a private key.
    #[error(
        "this holds {found}, but a private key is needed: \
         name the file with '-----BEGIN PRIVATE KEY-----', 'EC PRIVATE KEY' or 'RSA PRIVATE KEY'"
    )]
    NoPrivateKey {
        /// What is there instead.
        found: String,
    },
    /// PEM blocks, none of them a public key or certificate.
    #[error(
        "this holds {found}, but a public key is needed: write one with \
         `openssl pkey -in PRIVATE-KEY -pubout -out public.pem`"
    )]
    NoPublicKey {
        /// What is there instead.
        found: String,
    },
    /// More than one private key, and nothing says which is meant.
    #[error("this holds {0} private keys; keep the one that is meant")]
    SeveralPrivateKeys(usize),
    /// `BEGIN OPENSSH PRIVATE KEY`.
    #[error(
        "this key is in OpenSSH's own format; convert a copy of it with `ssh-keygen -p -m PKCS8 -f COPY`"
    )]
    OpenSsh,
    /// An encrypted key without a passphrase.
    #[error("this key is encrypted and no passphrase was given; name the file that holds it")]
    MissingPassphrase,
    /// The passphrase does not decrypt the key.
    #[error("the passphrase is wrong: it does not decrypt this key")]
    WrongPassphrase,
    /// An encryption that is not known here, by name or object identifier.
    #[error(
        "this key is encrypted with {0}, which is not supported; encrypt it anew with \
         `openssl pkcs8 -topk8 -v2 aes-256-cbc -in THIS-FILE -out key.pem`"
    )]
    UnknownEncryption(String),
    /// An elliptic-curve key on another curve than P-256.
    #[error(
        "this is a key on the curve {0}, but ES256 needs P-256: make one with \
         `openssl ecparam -genkey -name prime256v1 -noout -out key.pem`"
    )]
    WrongCurve(String),
    /// An RSA key that is too small, in bits.
    #[error(
        "this is an RSA key of {0} bits, but at least {MIN_RSA_BITS} are needed: make one with \
         `openssl genrsa -out key.pem 2048`"
    )]
    RsaTooSmall(usize),
    /// An RSA key that is too large, in bits.
    #[error("this is an RSA key of {0} bits; at most {MAX_RSA_BITS} are supported")]
    RsaTooLarge(usize),
    /// Neither RSA nor an elliptic curve; the key's type by name or object identifier.
    #[error("this is a key of type {0}; RSA (2048 bits or more) and EC P-256 are supported")]
    UnknownKeyType(String),
    /// The DER inside is not what its label says.
    #[error("the {0} in it cannot be read; `openssl pkey -in THIS-FILE -noout -check` may say why")]
    Unreadable(&'static str),
}

impl KeyProblem {
    pub(super) fn in_file(self, file: &Path) -> KeyError {
        KeyError::File {
            file: file.to_owned(),
            problem: self,
        }
    }
}
