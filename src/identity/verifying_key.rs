//! A public key that checks tokens the way a platform's broker does.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{DecodingKey, TokenData, Validation};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::spki::SubjectPublicKeyInfoRef;
use rsa::pkcs1::RsaPublicKey;
use rsa::pkcs1::der::asn1::UintRef;
use serde::Deserialize;
use x509_cert::Certificate;

use super::certificate::is_certificate;
use super::error::{KeyError, KeyProblem};
use super::pem::{self, Block};
use super::public_key::{Algorithm, check_modulus, hex_digest};

/// A registered public key.
pub struct VerifyingKey {
    key: DecodingKey,
    algorithm: Algorithm,
    spki_sha256: String,
    /// Only where the key came as X.509.
    certificate_sha1: Option<String>,
}

/// The claims of a token that was found valid.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// When it expires, in seconds since 1970.
    pub exp: u64,
    /// For whom it is: a single string.
    pub aud: String,
    /// The device, where the token names it.
    pub sub: Option<String>,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three Base64 parts, not JSON, or a claim is missing or of the wrong type.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The header names another algorithm than the registered key's.
    #[error("the token's algorithm is not that of the registered key")]
    Algorithm,
    /// The header names another key.
    #[error("the token's 'kid' is not that of the registered key")]
    Kid,
    /// The registered key did not make this signature.
    #[error("the token's signature does not fit the registered key")]
    Signature,
    /// `aud` is another.
    #[error("the token's audience is not the expected one")]
    Audience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `iat` has yet to come.
    #[error("the token was issued in the future: one of the two clocks is wrong")]
    NotYetIssued,
}

impl VerifyingKey {
    /// Reads the first public key (SPKI) or X.509 certificate of a PEM file. RSA from 2048 bits on, or EC P-256.
    ///
    /// The certificate's own signature and dates are not looked at: it is but a wrapping for the key.
    pub fn from_pem(file: &Path, pem: &[u8]) -> Result<Self, KeyError> {
        pem::blocks(pem)
            .and_then(|blocks| Self::from_blocks(&blocks))
            .map_err(|problem| problem.in_file(file))
    }

    /// The one algorithm that is accepted.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SHA-256 of the SPKI DER, in lower-case hexadecimal digits.
    pub fn spki_sha256(&self) -> &str {
        &self.spki_sha256
    }

    /// Checks header, signature, audience and times. `leeway` is granted to both `exp` and `iat`.
    ///
    /// `kid` may be absent, or the digest of the SPKI, or, for a key that came as X.509, SHA-1 of the certificate.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
        now: SystemTime,
        leeway: Duration,
    ) -> Result<Claims, TokenError> {
        // Times and audience are checked below: against the given clock, and the audience exactly.
        let mut validation = Validation::new(self.algorithm.jwt());
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let TokenData { header, claims } =
            jsonwebtoken::decode::<Claims>(token, &self.key, &validation).map_err(refusal)?;
        if header.typ.is_some_and(|typ| typ != "JWT") {
            return Err(TokenError::Malformed("its 'typ' is not JWT"));
        }
        if header.crit.is_some() {
            return Err(TokenError::Malformed("it has a 'crit' header"));
        }
        if header.kid.is_some_and(|kid| !self.is_kid(&kid)) {
            return Err(TokenError::Kid);
        }
        if claims.aud != audience {
            return Err(TokenError::Audience);
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if Duration::from_secs(claims.exp).saturating_add(leeway) <= now {
            return Err(TokenError::Expired);
        }
        if Duration::from_secs(claims.iat) > now.saturating_add(leeway) {
            return Err(TokenError::NotYetIssued);
        }
        Ok(claims)
    }

    fn is_kid(&self, kid: &str) -> bool {
        kid == self.spki_sha256 || Some(kid) == self.certificate_sha1.as_deref()
    }

    fn from_blocks(blocks: &[Block]) -> Result<Self, KeyProblem> {
        for block in blocks {
            if block.label == "PUBLIC KEY" {
                return Self::from_spki(&block.der, None);
            }
            if is_certificate(block) {
                let unreadable = KeyProblem::Unreadable("certificate");
                let spki = Certificate::from_der(&block.der)
                    .and_then(|c| c.tbs_certificate().subject_public_key_info().to_der())
                    .map_err(|_| unreadable)?;
                let sha1 = hex_digest(&SHA1_FOR_LEGACY_USE_ONLY, &block.der);
                return Self::from_spki(&spki, Some(sha1));
            }
        }
        Err(KeyProblem::NoPublicKey {
            found: pem::describe(blocks),
        })
    }

    fn from_spki(der: &[u8], certificate_sha1: Option<String>) -> Result<Self, KeyProblem> {
        let unreadable = KeyProblem::Unreadable("public key");
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| unreadable.clone())?;
        let algorithm = Algorithm::of(&spki.algorithm)?;
        let bits = spki
            .subject_public_key
            .as_bytes()
            .ok_or(unreadable.clone())?;
        let key = match algorithm {
            Algorithm::Rs256 => {
                let key = RsaPublicKey::<UintRef<'_>>::from_der(bits).map_err(|_| unreadable)?;
                check_modulus(key.modulus.as_bytes())?;
                DecodingKey::from_rsa_der(bits)
            }
            Algorithm::Es256 => {
                // The verifier takes the uncompressed form alone.
                let point = p256::PublicKey::from_sec1_bytes(bits).map_err(|_| unreadable)?;
                DecodingKey::from_ec_der(&point.to_sec1_bytes())
            }
        };
        Ok(Self {
            key,
            algorithm,
            spki_sha256: hex_digest(&SHA256, der),
            certificate_sha1,
        })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({}, {})", self.algorithm, self.spki_sha256)
    }
}

fn refusal(error: Error) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::Json(_) => {
            TokenError::Malformed("it is not JSON, names an unknown algorithm, or lacks a claim")
        }
        _ => TokenError::Malformed("it is not three parts in Base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::openssl::{Bench, named};
    use crate::identity::{SigningKey, TokenSpec, issue};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use serde_json::{Map, Value, json};

    const NOW: u64 = 1_700_000_000;
    const LEEWAY: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn pair(algorithm: Algorithm) -> (SigningKey, VerifyingKey) {
        let (key, _) = SigningKey::generate(algorithm).expect("a key");
        let public = VerifyingKey::from_pem(named("public.pem"), key.public_pem().as_bytes());
        (key, public.expect("it is read"))
    }

    fn token(key: &SigningKey, kid: Option<&str>) -> String {
        let spec = TokenSpec {
            audience: "here".to_owned(),
            lifetime: Duration::from_secs(100),
            kid: kid.map(str::to_owned),
            claims: Map::from_iter([("sub".to_owned(), json!("a"))]),
        };
        let token = issue(key, &spec, at(NOW)).expect("a token");
        token.jwt.expose().to_owned()
    }

    /// A token with any header and claims, rightly signed.
    fn forged(key: &SigningKey, header: &Value, claims: &Value) -> String {
        let message = format!(
            "{}.{}",
            BASE64.encode(header.to_string()),
            BASE64.encode(claims.to_string())
        );
        let signature = key.sign(message.as_bytes()).expect("a signature");
        format!("{message}.{}", BASE64.encode(signature))
    }

    #[test]
    fn a_good_token_is_taken_until_it_expires() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (key, public) = pair(algorithm);
            assert_eq!(public.algorithm(), algorithm);
            assert_eq!(public.spki_sha256(), key.spki_sha256());
            for kid in [None, Some(key.spki_sha256())] {
                let token = token(&key, kid);
                let verify = |now| public.verify(&token, "here", at(now), LEEWAY);
                let claims = Claims {
                    iat: NOW,
                    exp: NOW + 100,
                    aud: "here".to_owned(),
                    sub: Some("a".to_owned()),
                };
                assert_eq!(verify(NOW), Ok(claims.clone()));
                assert_eq!(verify(NOW - 10), Ok(claims.clone()));
                assert_eq!(verify(NOW - 11), Err(TokenError::NotYetIssued));
                assert_eq!(verify(NOW + 109), Ok(claims));
                assert_eq!(verify(NOW + 110), Err(TokenError::Expired));
            }
        }
    }

    #[test]
    fn a_foreign_token_is_refused_with_the_reason() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let other_algorithm = match algorithm {
                Algorithm::Rs256 => Algorithm::Es256,
                Algorithm::Es256 => Algorithm::Rs256,
            };
            let (key, public) = pair(algorithm);
            let (other, _) = pair(algorithm);
            let (foreign, _) = pair(other_algorithm);
            let verify = |token: &str| public.verify(token, "here", at(NOW), LEEWAY);

            assert_eq!(verify(&token(&other, None)), Err(TokenError::Signature));
            assert_eq!(verify(&token(&foreign, None)), Err(TokenError::Algorithm));
            assert_eq!(verify(&token(&key, Some("k"))), Err(TokenError::Kid));
            let good = token(&key, None);
            let elsewhere = public.verify(&good, "here/", at(NOW), LEEWAY);
            assert_eq!(elsewhere, Err(TokenError::Audience));

            let (message, _) = good.rsplit_once('.').expect("three parts");
            assert_eq!(verify(&format!("{message}.")), Err(TokenError::Signature));
            for bad in ["", "a", "a.b", "a.b.c", &good[1..], message] {
                let found = verify(bad);
                assert!(matches!(found, Err(TokenError::Malformed(_))), "{found:?}");
            }
        }
    }

    #[test]
    fn a_rightly_signed_token_with_odd_content_is_refused() {
        let (key, public) = pair(Algorithm::Es256);
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let claims = json!({"iat": NOW, "exp": NOW + 100, "aud": "here"});
        let verify = |header: &Value, claims: &Value| {
            public.verify(&forged(&key, header, claims), "here", at(NOW), LEEWAY)
        };
        assert!(verify(&header, &claims).is_ok());
        assert!(verify(&json!({"alg": "ES256"}), &claims).is_ok());
        for header in [
            json!({"typ": "at+jwt", "alg": "ES256"}),
            json!({"typ": "JWT", "alg": "none"}),
            json!({"typ": "JWT", "alg": "ES256", "crit": ["b64"]}),
        ] {
            let found = verify(&header, &claims);
            assert!(matches!(found, Err(TokenError::Malformed(_))), "{header}");
        }
        let hmac = json!({"typ": "JWT", "alg": "HS256"});
        assert_eq!(verify(&hmac, &claims), Err(TokenError::Algorithm));
        for (name, value) in [
            ("aud", json!(["here"])),
            ("aud", Value::Null),
            ("exp", json!("soon")),
            ("exp", json!(1.5)),
            ("iat", Value::Null),
        ] {
            let mut claims = claims.clone();
            claims[name] = value;
            let found = verify(&header, &claims);
            assert!(matches!(found, Err(TokenError::Malformed(_))), "{claims}");
        }
    }

    #[test]
    fn a_key_that_came_as_a_certificate_has_both_key_ids() {
        let bench = Bench::new();
        bench.run(
            "req -x509 -nodes -newkey rsa:2048 -keyout key.pem -out cert.pem -subj /CN=unused",
        );
        bench.run("x509 -in cert.pem -outform DER -out cert.der");
        let key = SigningKey::from_pem(named("key.pem"), &bench.read("key.pem"), None);
        let key = key.expect("the key is read");
        let public = VerifyingKey::from_pem(named("cert.pem"), &bench.read("cert.pem"));
        let public = public.expect("the certificate is read");
        let sha1 = bench.run("dgst -sha1 -r cert.der");
        let sha1 = String::from_utf8_lossy(&sha1[..40]).into_owned();
        for kid in [None, Some(key.spki_sha256()), Some(&*sha1)] {
            let token = token(&key, kid);
            assert!(public.verify(&token, "here", at(NOW), LEEWAY).is_ok());
        }
    }

    #[test]
    fn only_public_keys_that_can_sign_tokens_are_read() {
        let bench = Bench::new();
        bench.run("ecparam -genkey -name secp384r1 -noout -out p384.pem");
        bench.run("genrsa -out small.pem 1024");
        bench.run("ecparam -genkey -name prime256v1 -noout -out p256.pem");
        bench.run("ec -in p256.pem -pubout -conv_form compressed -out compressed.pem");
        let problem = |name: &str| {
            bench.run(&format!("pkey -in {name} -pubout -out public.pem"));
            let read = VerifyingKey::from_pem(named(name), &bench.read("public.pem"));
            read.map(|_| ()).map_err(|e| e.problem().cloned())
        };
        let p384 = KeyProblem::WrongCurve("P-384 (secp384r1)".to_owned());
        assert_eq!(problem("p384.pem"), Err(Some(p384)));
        assert_eq!(
            problem("small.pem"),
            Err(Some(KeyProblem::RsaTooSmall(1024)))
        );

        let private = VerifyingKey::from_pem(named("p256.pem"), &bench.read("p256.pem"));
        let found = "a private key".to_owned();
        assert_eq!(
            private.map(|_| ()).map_err(|e| e.problem().cloned()),
            Err(Some(KeyProblem::NoPublicKey { found }))
        );

        let key = SigningKey::from_pem(named("p256.pem"), &bench.read("p256.pem"), None);
        let token = token(&key.expect("the key is read"), None);
        let compressed = bench.read("compressed.pem");
        let public = VerifyingKey::from_pem(named("compressed.pem"), &compressed);
        let public = public.expect("compressed points are read");
        assert!(public.verify(&token, "here", at(NOW), LEEWAY).is_ok());
    }
}
