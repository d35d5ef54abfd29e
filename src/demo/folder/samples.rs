//! The sample devices: what each is called and how it proves who it is.

use std::path::Path;

use serde::Serialize;

use super::certificates::CA_FILE;
use super::keys::{private_name, public_name};
use super::sap::{passphrase_name, pem_name};

/// The device with an RSA key.
pub const RSA_DEVICE: &str = "demo-rsa";
/// The device with an EC key.
pub const EC_DEVICE: &str = "demo-ec";
/// The devices of the connector.
pub const SECRET_DEVICES: [&str; 2] = ["demo-secret-1", "demo-secret-2"];
/// The device with a client certificate.
pub const SAP_DEVICE: &str = "demo-sap";
/// The id of the device connector, as akenza would show it beside its secret.
pub const CONNECTOR_ID: &str = "demo-connector";
/// The connectors of the bridge's configuration.
pub(super) const KEY_CONNECTOR: &str = "akenza";
pub(super) const SECRET_CONNECTOR: &str = "akenza-secret";
pub(super) const SAP_CONNECTOR: &str = "sap";
/// Where the connector's secret lies.
pub(super) const SECRET_FILE: &str = "connector.secret";

/// One sample device as `demo.json` names it; paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SampleDevice {
    /// Its id.
    pub id: String,
    /// The connector in `causeway.toml`.
    pub connector: String,
    /// The connector's profile.
    pub profile: String,
    /// How its token is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Its private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<String>,
    /// Its public key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<String>,
    /// The device connector's id on the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector_id: Option<String>,
    /// The device connector's secret. It opens nothing but this demo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Its certificate and encrypted key in one PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// The passphrase of that key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<String>,
}

/// The sample devices of a folder.
pub(super) fn devices(dir: &Path, secret: &str) -> Vec<SampleDevice> {
    let path = |name: String| dir.join(name).display().to_string();
    let with_key = |id: &str, algorithm: &str| SampleDevice {
        id: id.to_owned(),
        connector: KEY_CONNECTOR.to_owned(),
        profile: "akenza-device".to_owned(),
        algorithm: Some(algorithm.to_owned()),
        private_key_file: Some(path(private_name(id))),
        public_key_file: Some(path(public_name(id))),
        ..SampleDevice::default()
    };
    let with_secret = |id: &str| SampleDevice {
        id: id.to_owned(),
        connector: SECRET_CONNECTOR.to_owned(),
        profile: "akenza-secret".to_owned(),
        connector_id: Some(CONNECTOR_ID.to_owned()),
        secret: Some(secret.to_owned()),
        ..SampleDevice::default()
    };
    let mut devices = vec![with_key(RSA_DEVICE, "RS256"), with_key(EC_DEVICE, "ES256")];
    devices.extend(SECRET_DEVICES.map(with_secret));
    devices.push(SampleDevice {
        id: SAP_DEVICE.to_owned(),
        connector: SAP_CONNECTOR.to_owned(),
        profile: "sap-iot".to_owned(),
        identity_file: Some(path(pem_name(SAP_DEVICE))),
        passphrase_file: Some(path(passphrase_name(SAP_DEVICE))),
        ..SampleDevice::default()
    });
    devices
}

/// The bridge's configuration for the sample devices. Paths are relative to its file.
pub(super) fn config(addresses: &super::Addresses) -> String {
    let super::Addresses {
        http,
        management,
        mqtt,
        mqtts,
        sap,
        ..
    } = addresses;
    let key_of = |device: &str| {
        let file = private_name(device);
        format!(
            "[devices.{device}]\nconnector = \"{KEY_CONNECTOR}\"\nprivate_key_file = \"{file}\"\n"
        )
    };
    let of_secret = SECRET_DEVICES
        .map(|device| format!("[devices.{device}]\nconnector = \"{SECRET_CONNECTOR}\"\n"));
    format!(
        "# The configuration of `causeway demo`, written anew at each start: copy it before you change it.\n\
         # Paths are relative to this file.\n\n\
         [http]\nlisten = \"{http}\"\n\n\
         [management]\nlisten = \"{management}\"\n\n\
         # Device credentials: one connection per device, with a token signed by its key.\n\
         [connectors.{KEY_CONNECTOR}]\nprofile = \"akenza-device\"\nurl = \"mqtt://{mqtt}\"\n\n\
         {}\n{}\n\
         # Uplink secret: one connection for all devices of the device connector.\n\
         [connectors.{SECRET_CONNECTOR}]\nprofile = \"akenza-secret\"\nurl = \"mqtts://localhost:{}\"\n\
         ca_file = \"{CA_FILE}\"\nsecret_file = \"{SECRET_FILE}\"\n\
         variables = {{ connector_id = \"{CONNECTOR_ID}\" }}\n\n\
         {}\n\
         # A client certificate: the file and the passphrase as SAP hands them out.\n\
         [connectors.{SAP_CONNECTOR}]\nprofile = \"sap-iot\"\nurl = \"mqtts://localhost:{}\"\n\
         ca_file = \"{CA_FILE}\"\n\n\
         [devices.{SAP_DEVICE}]\nconnector = \"{SAP_CONNECTOR}\"\n\
         identity_file = \"{}\"\npassphrase_file = \"{}\"\n",
        key_of(RSA_DEVICE),
        key_of(EC_DEVICE),
        mqtts.port(),
        of_secret.join("\n"),
        sap.port(),
        pem_name(SAP_DEVICE),
        passphrase_name(SAP_DEVICE),
    )
}
