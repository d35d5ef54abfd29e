//! The key id in a token's header, by which a platform finds the public key among several: SHA-256 of the SPKI DER
//! ([`SigningKey::spki_sha256`](super::SigningKey::spki_sha256)), or, for keys that came to it as X.509, SHA-1 of the
//! certificate's DER. Both are how akenza names its keys.

use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;

use super::public_key::hex_digest;

/// A key id that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KidError {
    /// `cert-sha1` without a certificate.
    #[error("the key id 'cert-sha1' needs the certificate that was registered; name its file")]
    NoCertificate,
}

/// `cert-sha1`: SHA-1 of a certificate's DER, in lower-case hexadecimal digits.
pub fn certificate_kid(der: &[u8]) -> String {
    hex_digest(&SHA1_FOR_LEGACY_USE_ONLY, der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::openssl::{Bench, named};
    use crate::identity::{SigningKey, certificates};

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

        for (kid, command, digits) in [
            (key.spki_sha256(), "dgst -sha256 -r spki.der", 64),
            (&certificate_kid(&found[0]), "dgst -sha1 -r cert.der", 40),
        ] {
            assert_eq!(kid, String::from_utf8_lossy(&bench.run(command)[..digits]));
        }
    }
}
