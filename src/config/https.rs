//! TLS on the main listener: its certificate, and those of clients.

use super::files::Files;
use super::model::{ClientCertificates, Https, IdentityFiles};
use super::section::Section;

const WITHOUT: &str = "has no effect without tls_certificate_file, which makes the listener HTTPS";

/// Reads the keys of `[http]` that make it HTTPS.
pub(super) fn https(section: &mut Section<'_>, files: &Files<'_>) -> Option<Https> {
    let is_there = section.has("tls_certificate_file");
    // With the key elsewhere, the file holds nothing that others may not see.
    let file = match section.has("tls_key_file") {
        true => files.public(section, "tls_certificate_file"),
        false => files.private(section, "tls_certificate_file"),
    };
    let key = files.private(section, "tls_key_file");
    let passphrase = files.secret(section, "tls_key_passphrase", "tls_key_passphrase_file");
    let clients = clients(section, files);
    if !is_there {
        let keys = [
            "tls_key_file",
            "tls_key_passphrase",
            "tls_key_passphrase_file",
            "client_ca_file",
        ];
        for key in keys.into_iter().filter(|key| section.has(key)) {
            section.error(key, WITHOUT);
        }
    }
    Some(Https {
        identity: IdentityFiles {
            file: file?,
            key,
            passphrase,
        },
        clients,
    })
}

fn clients(section: &mut Section<'_>, files: &Files<'_>) -> Option<ClientCertificates> {
    let authorities = files.public(section, "client_ca_file");
    let words = [("required", true), ("optional", false)];
    let required = section.choice("client_certificates", &words, true);
    if section.has("client_certificates") && !section.has("client_ca_file") {
        section.error(
            "client_certificates",
            "has no effect without client_ca_file, which names those whose certificates are taken",
        );
    }
    Some(ClientCertificates {
        authorities: authorities?,
        required,
    })
}
