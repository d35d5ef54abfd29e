//! PKCS#8's `EncryptedPrivateKeyInfo` (RFC 5958 §3).

use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{self, Decode as _, Reader as _};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::error::KeyProblem;
use super::pbe;

/// The `PrivateKeyInfo` inside, as DER.
///
/// The `pkcs8` crate's own type is not used here: it knows PBES2 alone, and fails on the identifiers of PKCS#12's
/// schemes before it comes to the data.
pub(super) fn decrypt(der: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    let (algorithm, ciphertext) = AnyRef::from_der(der)
        .and_then(|info| {
            info.sequence(|reader| -> der::Result<_> {
                let algorithm: AlgorithmIdentifierRef<'_> = reader.decode()?;
                Ok((algorithm, reader.decode::<&OctetStringRef>()?))
            })
        })
        .map_err(|_| KeyProblem::Unreadable("encrypted key"))?;
    let plaintext = pbe::decrypt(algorithm, passphrase, ciphertext.as_bytes())?;
    // One wrong passphrase in some 250 leaves what looks like padding.
    if PrivateKeyInfoRef::from_der(&plaintext).is_err() {
        return Err(KeyProblem::WrongPassphrase);
    }
    Ok(plaintext)
}
