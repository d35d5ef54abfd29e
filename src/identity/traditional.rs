//! Keys that OpenSSL encrypted the traditional way: `Proc-Type: 4,ENCRYPTED` and `DEK-Info: CIPHER,IV`
//! (RFC 1421 §4.6.1; the key derivation is OpenSSL's `EVP_BytesToKey` with MD5 and one round).

use aes::{Aes128, Aes192, Aes256};
use des::TdesEde3;
use md5::{Digest as _, Md5};
use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode as _, Tag, Tagged as _};
use zeroize::Zeroizing;

use super::error::KeyProblem;
use super::pbe::decrypt_cbc;
use super::pem::Block;

/// Whether the block's content is encrypted this way.
pub(super) fn is_encrypted(block: &Block) -> bool {
    block
        .header("Proc-Type")
        .is_some_and(|value| value.ends_with("ENCRYPTED"))
}

/// The block's content, decrypted: the DER that its label names.
pub(super) fn decrypt(block: &Block, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let (cipher, iv) = block
        .header("DEK-Info")
        .and_then(|info| info.split_once(','))
        .ok_or(KeyProblem::Unreadable("'DEK-Info' line"))?;
    let iv = hex(iv.trim()).ok_or(KeyProblem::Unreadable("'DEK-Info' line"))?;
    let Some(salt) = iv.get(..8) else {
        return Err(KeyProblem::Unreadable("'DEK-Info' line"));
    };
    let key = |length| derive(passphrase.as_bytes(), salt, length);
    let plaintext = match cipher.trim() {
        "AES-128-CBC" => decrypt_cbc::<Aes128>(&key(16), &iv, &block.der),
        "AES-192-CBC" => decrypt_cbc::<Aes192>(&key(24), &iv, &block.der),
        "AES-256-CBC" => decrypt_cbc::<Aes256>(&key(32), &iv, &block.der),
        "DES-EDE3-CBC" => decrypt_cbc::<TdesEde3>(&key(24), &iv, &block.der),
        other => Err(KeyProblem::UnknownEncryption(other.to_owned())),
    }?;
    // One wrong passphrase in some 250 leaves what looks like padding.
    if AnyRef::from_der(&plaintext).map(|any| any.tag()) != Ok(Tag::Sequence) {
        return Err(KeyProblem::WrongPassphrase);
    }
    Ok(plaintext)
}

fn derive(passphrase: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last = Vec::new();
    while key.len() < length {
        last = Md5::new()
            .chain_update(&last)
            .chain_update(passphrase)
            .chain_update(salt)
            .finalize()
            .to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    Some(digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect())
}
