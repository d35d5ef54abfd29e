//! The key id in a token's header, by which a platform finds the public key among several.

use std::convert::Infallible;
use std::str::FromStr;

use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
use serde::Deserialize;

use super::public_key::hex_digest;
use super::signing_key::SigningKey;

/// How the key id is made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub enum KidMode {
    /// `spki-sha256`: SHA-256 of the public key's SPKI DER, as akenza names device keys.
    #[default]
    SpkiSha256,
    /// `cert-sha1`: SHA-1 of the certificate's DER, as akenza names keys that came to it as X.509.
    CertSha1,
    /// `none`: no key id; enough where a device has a single key.
    None,
    /// Any other text, as it is.
    Literal(String),
}

impl FromStr for KidMode {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl From<String> for KidMode {
    fn from(text: String) -> Self {
        match text.as_str() {
            "spki-sha256" => Self::SpkiSha256,
            "cert-sha1" => Self::CertSha1,
            "none" => Self::None,
            _ => Self::Literal(text),
        }
    }
}

/// A key id that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KidError {
    /// `cert-sha1` without a certificate.
    #[error("the key id 'cert-sha1' needs the certificate that was registered; name its file")]
    NoCertificate,
}

/// The key id, if there is to be one. `certificate` is DER, and needed for [`KidMode::CertSha1`] alone.
pub fn kid(
    mode: &KidMode,
    key: &SigningKey,
    certificate: Option<&[u8]>,
) -> Result<Option<String>, KidError> {
    match mode {
        KidMode::SpkiSha256 => Ok(Some(key.spki_sha256().to_owned())),
        KidMode::CertSha1 => match certificate {
            Some(der) => Ok(Some(hex_digest(&SHA1_FOR_LEGACY_USE_ONLY, der))),
            None => Err(KidError::NoCertificate),
        },
        KidMode::None => Ok(None),
        KidMode::Literal(text) => Ok(Some(text.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::certificates;
    use crate::identity::openssl::{Bench, named};

    #[test]
    fn key_ids_are_what_openssl_computes() {
        let bench = Bench::new();
        bench.run("req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout key.pem -out cert.pem -subj /CN=unused");
        bench.run("pkey -in key.pem -pubout -outform DER -out spki.der");
        bench.run("x509 -in cert.pem -outform DER -out cert.der");
        let key = SigningKey::from_pem(named("key.pem"), &bench.read("key.pem"), None)
            .expect("the key is read");
        let found = certificates(named("cert.pem"), &bench.read("cert.pem")).expect("PEM");
        assert_eq!(found[0].as_ref(), bench.read("cert.der"));

        for (mode, command, digits) in [
            ("spki-sha256", "dgst -sha256 -r spki.der", 64),
            ("cert-sha1", "dgst -sha1 -r cert.der", 40),
        ] {
            let expected = String::from_utf8_lossy(&bench.run(command)[..digits]).into_owned();
            let mode = KidMode::from(mode.to_owned());
            assert_eq!(kid(&mode, &key, Some(&found[0])), Ok(Some(expected)));
        }
        let literal = KidMode::from("my-key".to_owned());
        assert_eq!(kid(&literal, &key, None), Ok(Some("my-key".to_owned())));
        assert_eq!(kid(&KidMode::None, &key, None), Ok(None));
        assert_eq!(
            kid(&KidMode::CertSha1, &key, None),
            Err(KidError::NoCertificate)
        );
    }
}
