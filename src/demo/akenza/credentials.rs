//! The checks of a CONNECT: which credential it shows, and whether that is good.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::registry::Registry;
use crate::demo::broker::Refusal;
use crate::device::DeviceId;
use crate::identity::{Claims, TokenError, VerifyingKey};
use crate::mqtt::packet::Connect;
use crate::mqtt::reason::Reason;

/// Client and broker share a clock here.
const LEEWAY: Duration = Duration::ZERO;

/// Who has connected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A device with its key.
    Device {
        id: DeviceId,
        issued_at: u64,
        until: SystemTime,
    },
    /// Somebody with a connector's secret, for all its devices.
    Connector { id: String },
}

/// A connector's id as user name asks for its secret; anything else is a device with a token.
pub(super) fn check(
    registry: &Registry,
    connect: &Connect,
    now: SystemTime,
) -> Result<Who, Refusal> {
    let username = connect.username.as_deref().unwrap_or_default();
    let Some(password) = connect.password.as_ref() else {
        let text = "no password: it is the device's token, or the connector's secret";
        return Err(Refusal::new(Reason::BAD_USER_NAME_OR_PASSWORD, text));
    };
    match registry.connectors.get(username) {
        Some(connector) if connector.secret == *password => Ok(Who::Connector {
            id: username.to_owned(),
        }),
        Some(_) => Err(Refusal::new(
            Reason::BAD_USER_NAME_OR_PASSWORD,
            format!("the password is not the secret of the device connector {username:?}"),
        )),
        None => check_device(registry, &connect.client_id, password.expose(), now),
    }
}

fn check_device(
    registry: &Registry,
    client_id: &str,
    token: &str,
    now: SystemTime,
) -> Result<Who, Refusal> {
    let known = DeviceId::parse(client_id).ok();
    let Some(id) = known.filter(|id| registry.has_device(id)) else {
        // Without a token it was meant for a connector.
        if token.split('.').count() != 3 {
            let text =
                "the user name is not a device connector's id, and the password is not a token";
            return Err(Refusal::new(Reason::BAD_USER_NAME_OR_PASSWORD, text));
        }
        return Err(Refusal::new(
            Reason::CLIENT_ID_NOT_VALID,
            format!("the client id {client_id:?} is not a device with a registered key"),
        ));
    };
    let audience = format!("https://akenza.io/devices/{id}");
    let keys = registry.keys_of(&id);
    let claims =
        check_token(&keys, token, &audience, now).map_err(|error| refusal(error, &audience))?;
    let Some(until) = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)) else {
        let text = "the token's 'exp' is past the end of time";
        return Err(Refusal::new(Reason::BAD_USER_NAME_OR_PASSWORD, text));
    };
    Ok(Who::Device {
        id,
        issued_at: claims.iat,
        until,
    })
}

/// One key suffices. Where none fits, a complaint about more than "another key" tells the client most.
fn check_token(
    keys: &[Arc<VerifyingKey>],
    token: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Claims, TokenError> {
    let mut complaint = TokenError::Signature;
    for key in keys {
        match key.verify(token, audience, now, LEEWAY) {
            Ok(claims) => return Ok(claims),
            Err(error @ (TokenError::Signature | TokenError::Kid | TokenError::Algorithm)) => {
                if complaint == TokenError::Signature {
                    complaint = error;
                }
            }
            Err(error) => complaint = error,
        }
    }
    Err(complaint)
}

/// A token that the device did not sign is a bad password; one that it did, but for another place or time, does not
/// authorise it.
fn refusal(error: TokenError, audience: &str) -> Refusal {
    let reason = match error {
        TokenError::Malformed(_)
        | TokenError::Algorithm
        | TokenError::Kid
        | TokenError::Signature => Reason::BAD_USER_NAME_OR_PASSWORD,
        TokenError::Audience | TokenError::Expired | TokenError::NotYetIssued => {
            Reason::NOT_AUTHORIZED
        }
    };
    let text = match error {
        TokenError::Audience => format!("{error}: it must be exactly {audience}"),
        _ => error.to_string(),
    };
    Refusal::new(reason, text)
}
