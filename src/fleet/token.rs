//! The token that a device shows as its password: the key that signs it, and what it says.

use super::error::PlanError;
use crate::config::{Connector, Device};
use crate::identity::{self, KidMode, SigningKey, TokenSpec};
use crate::profile::{Binding, KidTemplate, Token, TokenText};
use crate::session::TokenKid;

/// The token that a device would connect with, for `causeway token` and the session alike: signed with the private key of
/// the configuration file.
pub fn token_spec(
    connector: &Connector,
    device: &Device,
) -> Result<(SigningKey, TokenSpec), PlanError> {
    let file = device
        .private_key
        .as_ref()
        .ok_or_else(|| PlanError::NoKey(device.id.clone()))?;
    let key_error = |error| PlanError::Key {
        device: device.id.clone(),
        error,
    };
    let key = SigningKey::from_pem(&file.path, &file.bytes, device.passphrase.as_ref())
        .map_err(key_error)?;
    let certificate = match &device.certificate {
        Some(file) => identity::certificates(&file.path, &file.bytes)
            .map_err(key_error)?
            .into_iter()
            .next(),
        None => None,
    };
    let (token, text) = token_text(connector, device)?;
    let mode = match (&token.kid, &text.literal_kid) {
        (KidTemplate::SpkiSha256, _) => KidMode::SpkiSha256,
        (KidTemplate::CertSha1, _) => KidMode::CertSha1,
        (KidTemplate::Literal(_), Some(literal)) => KidMode::Literal(literal.clone()),
        (KidTemplate::None | KidTemplate::Literal(_), _) => KidMode::None,
    };
    let kid =
        identity::kid(&mode, &key, certificate.as_deref()).map_err(|error| PlanError::Kid {
            device: device.id.clone(),
            error,
        })?;
    Ok((key, spec(token, text, kid)))
}

/// What the tokens of a device say whose key is kept here, and how they name it.
pub(super) fn kept_token(
    connector: &Connector,
    device: &Device,
) -> Result<(TokenSpec, TokenKid), PlanError> {
    let (token, text) = token_text(connector, device)?;
    let kid = match &token.kid {
        KidTemplate::SpkiSha256 => TokenKid::SpkiSha256,
        // Where it is a certificate's, the configuration demands a file.
        KidTemplate::CertSha1 | KidTemplate::None => TokenKid::Fixed(None),
        KidTemplate::Literal(_) => TokenKid::Fixed(text.literal_kid.clone()),
    };
    Ok((spec(token, text, None), kid))
}

fn token_text<'a>(
    connector: &'a Connector,
    device: &Device,
) -> Result<(&'a Token, TokenText), PlanError> {
    let no_key = || PlanError::NoKey(device.id.clone());
    let token = connector.profile.token.as_ref().ok_or_else(no_key)?;
    let text = Binding::new(&connector.profile, connector.scope(Some(device)))
        .and_then(|binding| binding.token())
        .map_err(|error| PlanError::Bind {
            owner: format!("devices.{:?}", device.id),
            error,
        })?;
    Ok((token, text.ok_or_else(no_key)?))
}

fn spec(token: &Token, text: TokenText, kid: Option<String>) -> TokenSpec {
    TokenSpec {
        audience: text.audience,
        lifetime: token.lifetime,
        kid,
        claims: text.claims,
    }
}
