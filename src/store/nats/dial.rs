//! One connection to one of the servers. It is used once: when it is lost, a new one is made.
//!
//! The client library would connect again by itself, and then send what was handed to it before: a message that was
//! answered as not taken, or a deletion by a place that means another message by now, because the server has lost the end
//! of its stream. So a second connection of one client is refused here, before anything is sent on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use nkeys::KeyPair;
use tokio_util::sync::CancellationToken;

use super::open::NatsError;
use crate::store::server::{NatsLogin, NatsServers};

/// How long one server may take to let the bridge in.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection, and what is cancelled when it is lost.
pub(crate) async fn dial(servers: &NatsServers) -> Result<(Client, CancellationToken), NatsError> {
    let addresses: Result<Vec<ServerAddr>, _> =
        servers.urls.iter().map(|url| url.parse()).collect();
    let addresses = addresses.map_err(|_| NatsError::Address)?;
    let login = Login::new(servers.login.as_ref())?;
    let (lost, was_used) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let (of_client, used) = (lost.clone(), Arc::clone(&was_used));
    let mut options = ConnectOptions::with_auth_callback(move |nonce| {
        let is_again = used.load(Ordering::Relaxed);
        let auth = match is_again {
            true => Err(AuthError::new("a connection is used once")),
            false => login.sign(&nonce),
        };
        std::future::ready(auth)
    });
    options = options
        .name("causeway")
        .connection_timeout(PATIENCE)
        .ping_interval(Duration::from_secs(10))
        // Each address once; afterwards the client gives up.
        .max_reconnects(addresses.len())
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                of_client.cancel();
            }
            std::future::ready(())
        });
    if let Some(file) = &servers.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    let client = options.connect(addresses).await;
    let client = client.map_err(|error| match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            NatsError::Refused(error.to_string())
        }
        _ => NatsError::Unreachable(error.to_string()),
    })?;
    was_used.store(true, Ordering::Relaxed);
    Ok((client, lost))
}

/// Who the bridge is.
enum Login {
    Nobody,
    Password { user: String, password: String },
    Credentials { token: String, key: Box<KeyPair> },
}

impl Login {
    fn new(login: Option<&NatsLogin>) -> Result<Self, NatsError> {
        Ok(match login {
            None => Self::Nobody,
            Some(NatsLogin::Password { user, password }) => Self::Password {
                user: user.clone(),
                password: password.expose().to_owned(),
            },
            Some(NatsLogin::Credentials(text)) => {
                let (token, seed) = parts(text.expose()).ok_or_else(|| {
                    NatsError::Credentials("it has no token and no key behind it".to_owned())
                })?;
                let key = KeyPair::from_seed(seed)
                    .map_err(|error| NatsError::Credentials(error.to_string()))?;
                Self::Credentials {
                    token: token.to_owned(),
                    key: Box::new(key),
                }
            }
        })
    }

    fn sign(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let mut auth = Auth::new();
        match self {
            Self::Nobody => {}
            Self::Password { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.clone());
            }
            Self::Credentials { token, key } => {
                auth.jwt = Some(token.clone());
                auth.signature = Some(key.sign(nonce).map_err(AuthError::new)?);
            }
        }
        Ok(auth)
    }
}

/// The token and the seed of a `.creds` file: the lines between its first and its second pair of ruled lines.
fn parts(text: &str) -> Option<(&str, &str)> {
    let mut lines = text.lines().map(str::trim);
    let mut between = || {
        lines.find(|line| line.starts_with("-----BEGIN "))?;
        lines.find(|line| !line.is_empty())
    };
    Some((between()?, between()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_and_the_seed_are_found_in_a_credentials_file() {
        let text = "-----BEGIN NATS USER JWT-----\r\naaa.bbb\r\n------END NATS USER JWT------\r\n\r\n\
                    ************************* IMPORTANT *************************\r\nKeep it.\r\n\r\n\
                    -----BEGIN USER NKEY SEED-----\r\nSUAB\r\n------END USER NKEY SEED------\r\n";
        assert_eq!(parts(text), Some(("aaa.bbb", "SUAB")));
        assert_eq!(parts("aaa.bbb"), None);
    }
}
