//! A private key encrypted as SAP hands it out: PKCS#8 under PKCS#12's pbeWithSHA1And3-KeyTripleDES-CBC
//! (RFC 7292 appendix C), 2048 rounds.
//!
//! Both SHA-1 and 3DES are weak. This is for a demo's key, in the form that users of that platform hold.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
use des::TdesEde3;
use pkcs8::der::pem::{LineEnding, encode_string};

use crate::identity::{Purpose, bmp_password, pkcs12_derive};

const ROUNDS: u16 = 2048;
const SALT: usize = 8;
/// 1.2.840.113549.1.12.1.3, encoded.
const ALGORITHM: [u8; 12] = [6, 10, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 12, 1, 3];
const INTEGER: u8 = 2;
const OCTETS: u8 = 4;
const SEQUENCE: u8 = 0x30;

/// `-----BEGIN ENCRYPTED PRIVATE KEY-----` for a `PrivateKeyInfo` in DER. `None` if it cannot be encoded.
pub(super) fn encrypt(private_key: &[u8], passphrase: &str, salt: [u8; SALT]) -> Option<String> {
    let password = bmp_password(passphrase);
    let derive = |purpose, length| {
        let sha1 = &SHA1_FOR_LEGACY_USE_ONLY;
        pkcs12_derive(sha1, &password, &salt, purpose, ROUNDS.into(), length)
    };
    let (key, iv) = (derive(Purpose::Key, 24), derive(Purpose::Iv, 8));
    let mut buffer = private_key.to_vec();
    buffer.resize(private_key.len() + 8, 0);
    let ciphertext = cbc::Encryptor::<TdesEde3>::new_from_slices(&key, &iv)
        .ok()?
        .encrypt_padded::<Pkcs7>(&mut buffer, private_key.len())
        .ok()?;
    let parameters = [
        element(OCTETS, &salt),
        element(INTEGER, &ROUNDS.to_be_bytes()),
    ]
    .concat();
    let algorithm = [ALGORITHM.to_vec(), element(SEQUENCE, &parameters)].concat();
    let info = [element(SEQUENCE, &algorithm), element(OCTETS, ciphertext)].concat();
    let der = element(SEQUENCE, &info);
    encode_string("ENCRYPTED PRIVATE KEY", LineEnding::LF, &der).ok()
}

/// A DER element (X.690 §8.1).
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    if length < 0x80 {
        element.push(length as u8);
    } else {
        let bytes: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|b| *b == 0)
            .collect();
        element.push(0x80 | bytes.len() as u8);
        element.extend(bytes);
    }
    element.extend_from_slice(content);
    element
}
