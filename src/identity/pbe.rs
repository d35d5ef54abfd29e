//! Password-based decryption by algorithm identifier: PBES2 (RFC 8018) and PKCS#12's own schemes (RFC 7292).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use aws_lc_rs::digest;
use des::{TdesEde2, TdesEde3};
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Reader as _};
use pkcs8::pkcs5::pbes2;
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier};
use rc2::Rc2;
use zeroize::Zeroizing;

use super::error::KeyProblem;

const SHA1_3DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
const SHA1_2DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.4");
const SHA1_RC2_128: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.5");
const SHA1_RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");

/// What [`derive()`] makes (RFC 7292 appendix B.3).
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Decrypts what `algorithm` describes. A wrong passphrase is nearly always noticed by the padding; the caller
/// must still take plaintext that is no DER for one.
pub(super) fn decrypt(
    algorithm: AlgorithmIdentifierRef<'_>,
    passphrase: &str,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let parameters = algorithm
        .parameters
        .ok_or(KeyProblem::Unreadable("encryption's parameters"))?;
    match algorithm.oid {
        pbes2::PBES2_OID => decrypt_pbes2(parameters, passphrase, ciphertext),
        SHA1_3DES => decrypt_pkcs12::<TdesEde3>(24, parameters, passphrase, ciphertext),
        SHA1_2DES => decrypt_pkcs12::<TdesEde2>(16, parameters, passphrase, ciphertext),
        // Old stores encrypt their certificates with it.
        SHA1_RC2_128 => decrypt_pkcs12::<Rc2>(16, parameters, passphrase, ciphertext),
        SHA1_RC2_40 => decrypt_pkcs12::<Rc2>(5, parameters, passphrase, ciphertext),
        oid => Err(KeyProblem::UnknownEncryption(oid.to_string())),
    }
}

/// CBC with PKCS#7 padding.
pub(super) fn decrypt_cbc<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(C::block_size()) {
        return Err(KeyProblem::Unreadable("encrypted data"));
    }
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = cbc::Decryptor::<C>::new_from_slices(key, iv)
        .map_err(|_| KeyProblem::Unreadable("encryption's parameters"))?
        .decrypt_padded::<Pkcs7>(&mut buffer)
        .map_err(|_| KeyProblem::WrongPassphrase)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

/// PKCS#12's key derivation (RFC 7292 appendix B.2); `password` as [`bmp_password`] makes it.
pub(crate) fn derive(
    digest: &'static digest::Algorithm,
    password: &[u8],
    salt: &[u8],
    purpose: Purpose,
    rounds: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let block = digest.block_len();
    let diversifier = vec![purpose as u8; block];
    let mut input = Zeroizing::new(repeated(salt, block));
    input.extend_from_slice(&Zeroizing::new(repeated(password, block)));
    let mut out = Zeroizing::new(Vec::with_capacity(length + digest.output_len()));
    while out.len() < length {
        let mut context = digest::Context::new(digest);
        context.update(&diversifier);
        context.update(&input);
        let mut hash = context.finish();
        for _ in 1..rounds {
            hash = digest::digest(digest, hash.as_ref());
        }
        out.extend_from_slice(hash.as_ref());
        for chunk in input.chunks_exact_mut(block) {
            add_one_and(chunk, hash.as_ref());
        }
    }
    out.truncate(length);
    out
}

/// A passphrase as PKCS#12 hashes it: UTF-16, big-endian, with a terminating zero (RFC 7292 appendix B.1).
pub(crate) fn bmp_password(passphrase: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * passphrase.len() + 2));
    for unit in passphrase.encode_utf16().chain([0]) {
        bytes.extend_from_slice(&unit.to_be_bytes());
    }
    bytes
}

fn decrypt_pbes2(
    parameters: AnyRef<'_>,
    passphrase: &str,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    use pkcs8::pkcs5::Error;
    let parameters = pbes2::Parameters::try_from(parameters).map_err(|e| match e.kind() {
        der::ErrorKind::OidUnknown { oid } => KeyProblem::UnknownEncryption(oid.to_string()),
        _ => KeyProblem::Unreadable("encryption's parameters"),
    })?;
    match parameters.decrypt(passphrase, ciphertext) {
        Ok(plaintext) => Ok(Zeroizing::new(plaintext)),
        Err(Error::UnsupportedAlgorithm { oid }) => {
            Err(KeyProblem::UnknownEncryption(oid.to_string()))
        }
        Err(Error::AlgorithmParametersInvalid { .. }) => {
            Err(KeyProblem::Unreadable("encryption's parameters"))
        }
        Err(_) => Err(KeyProblem::WrongPassphrase),
    }
}

fn decrypt_pkcs12<C: BlockCipherDecrypt + KeyInit>(
    key_length: usize,
    parameters: AnyRef<'_>,
    passphrase: &str,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let (salt, rounds) = parameters
        .sequence(|reader| -> der::Result<_> {
            Ok((reader.decode::<&OctetStringRef>()?, reader.decode::<u32>()?))
        })
        .map_err(|_| KeyProblem::Unreadable("encryption's parameters"))?;
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let password = bmp_password(passphrase);
    let salt = salt.as_bytes();
    let key = derive(sha1, &password, salt, Purpose::Key, rounds, key_length);
    let iv = derive(sha1, &password, salt, Purpose::Iv, rounds, C::block_size());
    decrypt_cbc::<C>(&key, &iv, ciphertext)
}

/// `bytes` repeated until they fill whole blocks; nothing for nothing.
fn repeated(bytes: &[u8], block: usize) -> Vec<u8> {
    let length = bytes.len().div_ceil(block) * block;
    bytes.iter().copied().cycle().take(length).collect()
}

/// `chunk + hash (repeated) + 1`, as big-endian numbers that wrap.
fn add_one_and(chunk: &mut [u8], hash: &[u8]) {
    let mut carry = 1;
    let addend: Vec<u8> = hash.iter().copied().cycle().take(chunk.len()).collect();
    for (byte, addend) in chunk.iter_mut().zip(addend).rev() {
        carry += u16::from(*byte) + u16::from(addend);
        *byte = carry.to_be_bytes()[1];
        carry >>= 8;
    }
}
