//! What lies between a connection and its broker: a proxy, the name that the broker goes by, a client certificate.

use std::sync::Arc;

use super::files::Files;
use super::model::{Connector, Device, IdentityFiles};
use super::section::Section;
use crate::broker::{BrokerUrl, Host, InvalidProxy, Proxy, ProxyCredentials, Scheme};
use crate::profile::{Profile, SessionScope, TlsIdentity};
use crate::secret::Secret;

/// Keys that only TLS has a use for.
const TLS_ONLY: [&str; 4] = [
    "ca_file",
    "server_name",
    "identity_file",
    "identity_key_file",
];

/// Reads a connector's proxy.
pub(super) fn proxy(section: &mut Section<'_>, files: &Files<'_>) -> Option<Arc<Proxy>> {
    let given = section.has("proxy");
    let proxy = section.parsed("proxy", Proxy::parse);
    let username = section.text("proxy_username");
    let password = files.secret(section, "proxy_password", "proxy_password_file");
    if !given {
        let keys = ["proxy_username", "proxy_password", "proxy_password_file"];
        for key in keys.into_iter().filter(|key| section.has(key)) {
            section.error(key, "has no effect without proxy");
        }
        return None;
    }
    let password_key = match section.has("proxy_password_file") {
        true => "proxy_password_file",
        false => "proxy_password",
    };
    match (section.has("proxy_username"), section.has(password_key)) {
        (true, false) => section.error(
            "proxy_username",
            "needs a password: write proxy_password_file (or proxy_password)",
        ),
        (false, true) => section.error(password_key, "needs a user name: write proxy_username"),
        _ => {}
    }
    let credentials = match (username, password) {
        (Some(username), Some(password)) => ProxyCredentials::new(username, password)
            .map_err(|error| match error {
                InvalidProxy::Password => section.error(password_key, error),
                _ => section.error("proxy_username", error),
            })
            .ok(),
        _ => None,
    };
    Some(Arc::new(Proxy {
        credentials,
        ..proxy?
    }))
}

/// Reads the name that a broker goes by.
pub(super) fn server_name(section: &mut Section<'_>) -> Option<Host> {
    section.parsed("server_name", Host::parse)
}

/// Reads a client certificate.
pub(super) fn identity(
    section: &mut Section<'_>,
    files: &Files<'_>,
    passphrase: Option<&Secret>,
) -> Option<IdentityFiles> {
    // With the key elsewhere, the file holds nothing that others may not see.
    let file = if section.has("identity_key_file") {
        files.public(section, "identity_file")
    } else {
        files.private(section, "identity_file")
    };
    let key = files.private(section, "identity_key_file");
    if section.has("identity_key_file") && !section.has("identity_file") {
        section.error(
            "identity_key_file",
            "has no effect without identity_file, which names the certificate",
        );
    }
    Some(IdentityFiles {
        file: file?,
        key,
        passphrase: passphrase.cloned(),
    })
}

/// Checks that nothing is written down in a section that the address or the profile has no use for.
pub(super) fn check(section: &Section<'_>, url: &BrokerUrl, profile: &Profile, profile_name: &str) {
    for key in TLS_ONLY.into_iter().filter(|key| section.has(key)) {
        if url.scheme() == Scheme::Plain {
            section.error(
                key,
                format_args!(
                    "has no effect on {}://, which is not encrypted: use mqtts:// or wss://, or remove the key",
                    url.scheme_name()
                ),
            );
        } else if key.starts_with("identity") && profile.connect.tls_identity == TlsIdentity::None {
            section.error(
                key,
                format_args!(
                    "the profile {profile_name} has no use for a client certificate; remove the key"
                ),
            );
        }
    }
}

/// Checks a connector's address against its profile, and that there is a client certificate where there must be.
pub(super) fn check_connector(section: &Section<'_>, connector: &Connector) {
    let Connector {
        url,
        profile,
        profile_name,
        ..
    } = connector;
    check(section, url, profile, profile_name);
    let required = profile.connect.tls_identity == TlsIdentity::Required;
    if url.scheme() == Scheme::Plain && (required || !profile.connect.alpn.is_empty()) {
        section.error(
            "url",
            format_args!(
                "the profile {profile_name} needs TLS ({}): use mqtts:// or wss://",
                if required {
                    "connect.tls_identity"
                } else {
                    "connect.alpn"
                }
            ),
        );
    } else if required
        && profile.session == SessionScope::Connector
        && !section.has("identity_file")
    {
        section.error(
            "identity_file",
            format_args!("is missing: with the profile {profile_name} the connection needs a client certificate"),
        );
    }
}

/// The same for a device.
pub(super) fn check_device(section: &Section<'_>, connector: &Connector, device: &Device) {
    let Connector {
        name,
        url,
        profile,
        profile_name,
        ..
    } = connector;
    let before = section.report().errors();
    check(section, url, profile, profile_name);
    if section.report().errors() > before {
        return;
    }
    match profile.session {
        SessionScope::Connector if device.identity.is_some() => section.error(
            "identity_file",
            format_args!(
                "one connection carries all devices of {name}: its client certificate is written under [connectors.{name}]"
            ),
        ),
        SessionScope::Device
            if profile.connect.tls_identity == TlsIdentity::Required
                && connector.identity.is_none()
                && !section.has("identity_file") =>
        {
            section.error(
                "identity_file",
                format_args!(
                    "is missing: with the profile {profile_name} a device needs a client certificate, the file that the platform handed out for it"
                ),
            );
        }
        _ => {}
    }
}
