//! A private key encrypted as SAP hands it out: PKCS#8 under PKCS#12's pbeWithSHA1And3-KeyTripleDES-CBC
//! (RFC 7292 appendix C), 2048 rounds.
//!
//! Both SHA-1 and 3DES are weak. This is for a demo's key, in the form that users of that platform hold.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, digest};
use des::TdesEde3;
use pkcs8::der::pem::{LineEnding, encode_string};

const ROUNDS: u16 = 2048;
const SALT: usize = 8;
/// 1.2.840.113549.1.12.1.3, encoded.
const ALGORITHM: [u8; 12] = [6, 10, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 12, 1, 3];
/// SHA-1's block (RFC 7292 appendix B.2's `v`).
const BLOCK: usize = 64;
const INTEGER: u8 = 2;
const OCTETS: u8 = 4;
const SEQUENCE: u8 = 0x30;

/// `-----BEGIN ENCRYPTED PRIVATE KEY-----` for a `PrivateKeyInfo` in DER. `None` if it cannot be encoded.
pub(super) fn encrypt(private_key: &[u8], passphrase: &str, salt: [u8; SALT]) -> Option<String> {
    let key = derive(passphrase, salt, 1);
    let iv = derive(passphrase, salt, 2);
    let mut buffer = private_key.to_vec();
    buffer.resize(private_key.len() + 8, 0);
    let ciphertext = cbc::Encryptor::<TdesEde3>::new_from_slices(&key[..24], &iv[..8])
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

/// 40 bytes of key (`purpose` 1) or initialisation vector (2) (RFC 7292 appendix B.2).
fn derive(passphrase: &str, salt: [u8; SALT], purpose: u8) -> [u8; 40] {
    // UTF-16, big-endian, with a terminating zero.
    let units = passphrase.encode_utf16().chain([0]);
    let password: Vec<u8> = units.flat_map(u16::to_be_bytes).collect();
    let mut input = repeated(&salt);
    input.extend(repeated(&password));
    let mut derived = [0; 40];
    for half in derived.chunks_exact_mut(20) {
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(&[purpose; BLOCK]);
        context.update(&input);
        let mut hash = context.finish();
        for _ in 1..ROUNDS {
            hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, hash.as_ref());
        }
        half.copy_from_slice(hash.as_ref());
        for chunk in input.chunks_exact_mut(BLOCK) {
            add_one_and(chunk, hash.as_ref());
        }
    }
    derived
}

/// Repeated until it fills whole blocks.
fn repeated(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().div_ceil(BLOCK) * BLOCK;
    bytes.iter().copied().cycle().take(length).collect()
}

/// `chunk + hash (repeated) + 1`, as big-endian numbers that wrap.
fn add_one_and(chunk: &mut [u8], hash: &[u8]) {
    let mut carry = 1;
    for index in (0..chunk.len()).rev() {
        carry += u16::from(chunk[index]) + u16::from(hash[index % hash.len()]);
        chunk[index] = carry.to_be_bytes()[1];
        carry >>= 8;
    }
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
