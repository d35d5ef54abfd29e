//! PKCS#12 stores (RFC 7292): a private key and its certificates under one passphrase.
//!
//! ```text
//! PFX ─► ContentInfo (data) ─► AuthenticatedSafe ─► ContentInfo (data or encryptedData) ─► SafeContents ─► bags
//!  └► MacData, over the AuthenticatedSafe's bytes
//! ```

use aws_lc_rs::{digest, hmac};
use pkcs8::der::asn1::{AnyRef, ObjectIdentifier};
use pkcs8::der::{Class, Decode as _, Encode as _, Reader as _, Tagged as _};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::error::KeyProblem;
use super::private_key::PrivateKey;
use super::{ber, encrypted, pbe};
use crate::secret::Secret;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const SAFE_CONTENTS_BAG: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.6");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");

const UNREADABLE: KeyProblem = KeyProblem::Unreadable("PKCS#12 store");

/// Bags within bags; nobody nests them, so this is generous.
const MAX_DEPTH: usize = 4;

/// What a store holds of interest: one key, and its certificates in the store's order.
pub(super) struct Store {
    pub(super) key: PrivateKey,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Checks the store's MAC and decrypts it. Without a passphrase the empty one is tried, as such stores exist.
pub(super) fn read(bytes: &[u8], passphrase: Option<&Secret>) -> Result<Store, KeyProblem> {
    match passphrase {
        Some(passphrase) => read_with(bytes, passphrase.expose()),
        None => read_with(bytes, "").map_err(|problem| match problem {
            KeyProblem::WrongPassphrase => KeyProblem::MissingPassphrase,
            other => other,
        }),
    }
}

fn read_with(bytes: &[u8], passphrase: &str) -> Result<Store, KeyProblem> {
    let pfx = ber::to_der(bytes).ok_or(UNREADABLE)?;
    let pfx = sequence(AnyRef::from_der(&pfx).ok()).ok_or(UNREADABLE)?;
    let [_version, content, mac @ ..] = &pfx[..] else {
        return Err(UNREADABLE);
    };
    let safe = match content_info(*content).ok_or(UNREADABLE)? {
        (DATA, safe) => safe.value(),
        (oid, _) => return Err(KeyProblem::UnknownEncryption(oid.to_string())),
    };
    if let [mac, ..] = mac {
        check_mac(*mac, safe, passphrase)?;
    }
    let safe = ber::to_der(safe).ok_or(UNREADABLE)?;
    let mut bags = Bags::default();
    for content in sequence(AnyRef::from_der(&safe).ok()).ok_or(UNREADABLE)? {
        let (kind, content) = content_info(content).ok_or(UNREADABLE)?;
        let contents = match kind {
            DATA => ber::to_der(content.value()).ok_or(UNREADABLE)?,
            ENCRYPTED_DATA => decrypt(content, passphrase)?,
            oid => return Err(KeyProblem::UnknownEncryption(oid.to_string())),
        };
        let contents = AnyRef::from_der(&contents).map_err(|_| UNREADABLE)?;
        bags.read(contents, passphrase, 0)?;
    }
    bags.into_store()
}

#[derive(Default)]
struct Bags {
    keys: Vec<PrivateKey>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Bags {
    fn read(
        &mut self,
        contents: AnyRef<'_>,
        passphrase: &str,
        depth: usize,
    ) -> Result<(), KeyProblem> {
        if depth > MAX_DEPTH {
            return Err(UNREADABLE);
        }
        for bag in sequence(Some(contents)).ok_or(UNREADABLE)? {
            let (kind, value) = content_info(bag).ok_or(UNREADABLE)?;
            match kind {
                KEY_BAG => self.keys.push(PrivateKey::Pkcs8(encode(value)?)),
                SHROUDED_KEY_BAG => {
                    let key = encrypted::decrypt(&encode(value)?, passphrase)?;
                    self.keys.push(PrivateKey::Pkcs8(key));
                }
                CERT_BAG => {
                    let (kind, certificate) = content_info(value).ok_or(UNREADABLE)?;
                    if kind == X509_CERTIFICATE {
                        let der = certificate.value().to_vec();
                        self.certificates.push(CertificateDer::from(der));
                    }
                }
                SAFE_CONTENTS_BAG => self.read(value, passphrase, depth + 1)?,
                // Revocation lists and other secrets.
                _ => {}
            }
        }
        Ok(())
    }

    fn into_store(mut self) -> Result<Store, KeyProblem> {
        let count = self.keys.len();
        match (self.keys.pop(), count) {
            (Some(key), 1) => Ok(Store {
                key,
                certificates: self.certificates,
            }),
            (Some(_), _) => Err(KeyProblem::SeveralPrivateKeys(count)),
            (None, _) => Err(KeyProblem::NoPrivateKey {
                found: "certificates alone".to_owned(),
            }),
        }
    }
}

/// `EncryptedData` (RFC 5652 §8): the plaintext as DER.
fn decrypt(data: AnyRef<'_>, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let data = sequence(Some(data)).ok_or(UNREADABLE)?;
    let info = sequence(data.get(1).copied()).ok_or(UNREADABLE)?;
    let [_content_type, algorithm, content] = info[..] else {
        return Err(UNREADABLE);
    };
    let algorithm = algorithm.decode_as().map_err(|_| UNREADABLE)?;
    let ciphertext = implicit_octets(content).ok_or(UNREADABLE)?;
    let plaintext = pbe::decrypt(algorithm, passphrase, &ciphertext)?;
    ber::to_der(&plaintext).ok_or(KeyProblem::WrongPassphrase)
}

fn check_mac(mac: AnyRef<'_>, data: &[u8], passphrase: &str) -> Result<(), KeyProblem> {
    let mac = sequence(Some(mac)).ok_or(UNREADABLE)?;
    let (info, salt, rounds) = match mac[..] {
        [info, salt] => (info, salt, 1),
        [info, salt, rounds] => (info, salt, rounds.decode_as().map_err(|_| UNREADABLE)?),
        _ => return Err(UNREADABLE),
    };
    let info = sequence(Some(info)).ok_or(UNREADABLE)?;
    let [algorithm, tag] = info[..] else {
        return Err(UNREADABLE);
    };
    let algorithm = sequence(Some(algorithm)).ok_or(UNREADABLE)?;
    let oid: ObjectIdentifier = algorithm
        .first()
        .and_then(|oid| oid.decode_as().ok())
        .ok_or(UNREADABLE)?;
    let (digest, hmac) = match oid.to_string().as_str() {
        "1.3.14.3.2.26" => (
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ),
        "2.16.840.1.101.3.4.2.4" => (&digest::SHA224, hmac::HMAC_SHA224),
        "2.16.840.1.101.3.4.2.1" => (&digest::SHA256, hmac::HMAC_SHA256),
        "2.16.840.1.101.3.4.2.2" => (&digest::SHA384, hmac::HMAC_SHA384),
        "2.16.840.1.101.3.4.2.3" => (&digest::SHA512, hmac::HMAC_SHA512),
        other => return Err(KeyProblem::UnknownEncryption(format!("the MAC {other}"))),
    };
    let password = pbe::bmp_password(passphrase);
    let length = digest.output_len();
    let purpose = pbe::Purpose::Mac;
    let key = pbe::derive(digest, &password, salt.value(), purpose, rounds, length);
    hmac::verify(&hmac::Key::new(hmac, &key), data, tag.value())
        .map_err(|_| KeyProblem::WrongPassphrase)
}

/// `SEQUENCE { OBJECT IDENTIFIER, [0] EXPLICIT ANY, … }`: the form of ContentInfo, SafeBag and CertBag alike.
fn content_info(any: AnyRef<'_>) -> Option<(ObjectIdentifier, AnyRef<'_>)> {
    let fields = sequence(Some(any))?;
    let [oid, content, ..] = fields[..] else {
        return None;
    };
    if !is_context_0(content) {
        return None;
    }
    Some((
        oid.decode_as().ok()?,
        AnyRef::from_der(content.value()).ok()?,
    ))
}

/// `[0] IMPLICIT OCTET STRING`, which BER may have cut into pieces; their tag does not say that they are octets, so
/// they have not been joined yet.
fn implicit_octets(any: AnyRef<'_>) -> Option<Vec<u8>> {
    if !is_context_0(any) {
        return None;
    }
    if !any.tag().is_constructed() {
        return Some(any.value().to_vec());
    }
    let pieces = AnyRef::new(pkcs8::der::Tag::Sequence, any.value()).ok();
    let pieces = sequence(pieces)?;
    Some(
        pieces
            .iter()
            .flat_map(|piece| piece.value())
            .copied()
            .collect(),
    )
}

fn is_context_0(any: AnyRef<'_>) -> bool {
    any.tag().class() == Class::ContextSpecific && any.tag().number().value() == 0
}

fn sequence(any: Option<AnyRef<'_>>) -> Option<Vec<AnyRef<'_>>> {
    any?.sequence(|reader| {
        let mut fields = Vec::new();
        while !reader.is_finished() {
            fields.push(reader.decode()?);
        }
        Ok::<_, pkcs8::der::Error>(fields)
    })
    .ok()
}

fn encode(any: AnyRef<'_>) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    any.to_der().map(Zeroizing::new).map_err(|_| UNREADABLE)
}

#[cfg(test)]
mod tests {
    use crate::identity::handshake::Authority;
    use crate::identity::openssl::{Bench, named};
    use crate::identity::{ClientIdentity, IdentityError, KeyProblem};
    use crate::secret::Secret;
    use std::time::SystemTime;

    fn read(store: &[u8], passphrase: Option<&str>) -> Result<ClientIdentity, KeyProblem> {
        let passphrase = passphrase.map(Secret::new);
        let now = SystemTime::now();
        match ClientIdentity::read(named("a.p12"), store, None, passphrase.as_ref(), now) {
            Ok((identity, _)) => Ok(identity),
            Err(IdentityError::Key(error)) => Err(error.problem().expect("a file").clone()),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn bench() -> (Bench, Authority) {
        let bench = Bench::new();
        let authority = Authority::new(&bench);
        bench.run("ecparam -genkey -name prime256v1 -out a.key");
        Authority::issue(&bench, "a", 365);
        (bench, authority)
    }

    fn store(bench: &Bench, options: &str) -> Vec<u8> {
        bench.run(&format!(
            "pkcs12 -export -inkey a.key -in a.pem -certfile ca.pem -name a -out a.p12 {options}"
        ));
        bench.read("a.p12")
    }

    #[test]
    fn stores_of_every_age_shake_hands() {
        let (bench, authority) = bench();
        for options in [
            "",
            "-macalg sha512",
            "-macalg sha1 -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES",
            "-legacy",
            "-legacy -certpbe PBE-SHA1-RC2-128 -keypbe PBE-SHA1-RC2-40",
            "-keypbe NONE",
            "-certpbe NONE",
            "-nomac",
        ] {
            let bytes = store(&bench, &format!("{options} -passout pass:Grüße😀"));
            let identity = read(&bytes, Some("Grüße😀")).expect(options);
            assert_eq!(identity.subject(), "CN=a,O=Test");
            assert_eq!(identity.chain().len(), 2, "{options}");
            let seen = authority.shake_hands(&identity).expect(options);
            assert_eq!(seen, identity.chain(), "{options}");
            for wrong in ["", "Grüße", "1", "2", "3"] {
                let found = read(&bytes, Some(wrong)).err();
                assert_eq!(found, Some(KeyProblem::WrongPassphrase), "{options}");
            }
            let found = read(&bytes, None).err();
            assert_eq!(found, Some(KeyProblem::MissingPassphrase), "{options}");
        }
    }

    #[test]
    fn stores_without_a_passphrase_are_read_without_one() {
        let (bench, authority) = bench();
        for options in ["", "-keypbe NONE -certpbe NONE -nomac"] {
            let bytes = store(&bench, &format!("{options} -passout pass:"));
            let identity = read(&bytes, None).expect(options);
            assert!(authority.shake_hands(&identity).is_ok());
        }
    }

    #[test]
    fn encryption_that_is_not_supported_is_named() {
        let (bench, _) = bench();
        for (options, name) in [
            ("-keypbe camellia-256-cbc", "1.2.392.200011.61.1.1.1.4"),
            ("-certpbe camellia-256-cbc", "1.2.392.200011.61.1.1.1.4"),
            (
                "-legacy -certpbe PBE-SHA1-RC4-40",
                "1.2.840.113549.1.12.1.2",
            ),
            ("-macalg sm3", "the MAC 1.2.156.10197.1.401"),
        ] {
            let bytes = store(&bench, &format!("{options} -passout pass:secret"));
            let found = read(&bytes, Some("secret")).err();
            assert_eq!(found, Some(KeyProblem::UnknownEncryption(name.to_owned())));
        }
    }

    #[test]
    fn stores_that_lack_something_are_told_apart() {
        let (bench, _) = bench();
        bench.run("pkcs12 -export -nokeys -in a.pem -out a.p12 -passout pass:secret");
        let found = "certificates alone".to_owned();
        assert_eq!(
            read(&bench.read("a.p12"), Some("secret")).err(),
            Some(KeyProblem::NoPrivateKey { found })
        );
        bench.run("pkcs12 -export -nocerts -inkey a.key -out a.p12 -passout pass:secret");
        let secret = Secret::new("secret");
        let bytes = bench.read("a.p12");
        let file = named("a.p12");
        let alone = ClientIdentity::read(file, &bytes, None, Some(&secret), SystemTime::now());
        assert_eq!(
            alone.map(|_| ()),
            Err(IdentityError::NoCertificate { file: file.into() })
        );
        let pem = bench.read("a.pem");
        let certificate = Some((named("a.pem"), &pem[..]));
        let both =
            ClientIdentity::read(file, &bytes, certificate, Some(&secret), SystemTime::now());
        assert!(both.is_ok(), "{both:?}");
    }

    #[test]
    fn damaged_stores_are_errors_and_not_panics() {
        let (bench, _) = bench();
        let whole = store(&bench, "-nomac -keypbe NONE -certpbe NONE -passout pass:");
        for length in 0..whole.len() {
            assert!(super::read(&whole[..length], None).is_err(), "{length}");
        }
        for index in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[index] ^= 0x81;
            // Some damage is inside a key or certificate, which is not this part's to notice.
            let _ = super::read(&damaged, None);
        }
    }
}
