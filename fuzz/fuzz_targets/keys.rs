//! Key files as users have them, and as they have been damaged on the way: an error, never a panic, and never for ever.
#![no_main]

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use causeway::identity::{ClientIdentity, SigningKey, VerifyingKey, certificates};
use causeway::secret::Secret;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = Path::new("key.pem");
    let passphrase = Secret::new("open sesame".to_owned());
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    for passphrase in [None, Some(&passphrase)] {
        if let Ok(key) = SigningKey::from_pem(file, bytes, passphrase) {
            assert!(key.sign(b"message").is_ok());
            assert!(VerifyingKey::from_pem(file, key.public_pem().as_bytes()).is_ok());
        }
        if let Ok((identity, _)) = ClientIdentity::read(file, bytes, None, passphrase, now) {
            assert!(!identity.chain().is_empty());
        }
    }
    let _ = VerifyingKey::from_pem(file, bytes);
    let _ = certificates(file, bytes);
});
