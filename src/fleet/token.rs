//! The tokens that a device shows as its password: what they say, and what signs them.

use std::sync::Arc;

use super::error::PlanError;
use crate::config::{Connector, Device, FileBytes};
use crate::identity::{self, KidError, LazyKey, TokenSpec};
use crate::keyring::DeviceKeys;
use crate::profile::{Binding, KidTemplate, Token, TokenText};
use crate::session::{TokenKey, TokenKid, TokenSource};

/// Where the tokens of a device come from, for `causeway token` and the session alike: they are signed with the private key
/// of the configuration file, or else with the active one of those that are kept here. Without either, there is none.
pub fn token_source(
    connector: &Connector,
    device: &Device,
    kept: Option<Arc<DeviceKeys>>,
) -> Result<TokenSource, PlanError> {
    let (token, text) = token_text(connector, device)?;
    let kid = match &token.kid {
        KidTemplate::SpkiSha256 => TokenKid::SpkiSha256,
        KidTemplate::CertSha1 => TokenKid::Fixed(Some(certificate_kid(device)?)),
        KidTemplate::Literal(_) => TokenKid::Fixed(text.literal_kid.clone()),
        KidTemplate::None => TokenKid::Fixed(None),
    };
    let spec = TokenSpec {
        audience: text.audience,
        lifetime: token.lifetime,
        kid: None,
        claims: text.claims,
    };
    Ok(match (&device.private_key, kept) {
        (Some(file), _) => TokenSource::fixed(spec, kid, file_key(device, file)?),
        (None, Some(kept)) => kept.source(spec, kid),
        (None, None) => TokenSource::without_key(spec, kid),
    })
}

/// A key that is taken apart when it signs first: there may be thousands.
fn file_key(device: &Device, file: &FileBytes) -> Result<TokenKey, PlanError> {
    let key = LazyKey::from_pem(&file.path, &file.bytes, device.passphrase.as_ref());
    let key = key.map_err(|error| PlanError::Key {
        device: device.id.clone(),
        error,
    })?;
    Ok(TokenKey {
        id: "private_key_file".into(),
        key: Arc::new(key),
    })
}

fn certificate_kid(device: &Device) -> Result<String, PlanError> {
    let missing = PlanError::Kid {
        device: device.id.clone(),
        error: KidError::NoCertificate,
    };
    let Some(file) = &device.certificate else {
        return Err(missing);
    };
    let found = identity::certificates(&file.path, &file.bytes);
    let found = found.map_err(|error| PlanError::Key {
        device: device.id.clone(),
        error,
    })?;
    let first = found.first().ok_or(missing)?;
    Ok(identity::certificate_kid(first))
}

fn token_text<'a>(
    connector: &'a Connector,
    device: &Device,
) -> Result<(&'a Token, TokenText), PlanError> {
    let no_token = || PlanError::NoToken(device.id.clone());
    let token = connector.profile.token.as_ref().ok_or_else(no_token)?;
    let text = Binding::new(&connector.profile, connector.scope(Some(device)))
        .and_then(|binding| binding.token())
        .map_err(|error| PlanError::Bind {
            owner: format!("devices.{:?}", device.id),
            error,
        })?;
    Ok((token, text.ok_or_else(no_token)?))
}
