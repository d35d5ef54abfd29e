//! Tokens (JWT, RFC 7519) that a device shows as its password.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::KeyError;
use super::signing_key::SigningKey;
use crate::secret::Secret;

/// What a token says, apart from when it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenSpec {
    /// `aud`, as a single string.
    pub audience: String,
    /// From `iat` to `exp`; whole seconds, a fraction is dropped.
    pub lifetime: Duration,
    /// The header's `kid`.
    pub kid: Option<String>,
    /// Further claims. `iat`, `exp` and `aud` are not theirs to set.
    pub claims: Map<String, Value>,
}

/// A signed token and the times in it.
#[derive(Debug, Clone)]
pub struct Token {
    /// The token in its compact form.
    pub jwt: Secret,
    /// `iat`.
    pub issued_at: SystemTime,
    /// `exp`.
    pub expires_at: SystemTime,
}

/// A token that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A further claim has a name that the token itself sets.
    #[error("the claim '{0}' is set by the token itself; take it out of the further claims")]
    ReservedClaim(&'static str),
    /// Below one second, or past the end of time.
    #[error("a token's lifetime is at least one second, and not without end")]
    Lifetime,
    /// The clock stands before 1970.
    #[error("the system's clock is not set: it stands before 1970")]
    Clock,
    /// The claims are no JSON.
    #[error("the token's claims cannot be written as JSON")]
    Json,
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Makes and signs a token. `iat` is `now` without its fraction of a second.
pub fn issue(key: &SigningKey, spec: &TokenSpec, now: SystemTime) -> Result<Token, IssueError> {
    let lifetime = spec.lifetime.as_secs();
    let issued = now
        .duration_since(UNIX_EPOCH)
        .map_err(|_| IssueError::Clock)?
        .as_secs();
    let expires = issued.checked_add(lifetime).filter(|_| lifetime > 0);
    let expires_at = expires.and_then(|s| UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    let (Some(expires), Some(expires_at)) = (expires, expires_at) else {
        return Err(IssueError::Lifetime);
    };

    let mut claims = spec.claims.clone();
    let own = [
        ("iat", Value::from(issued)),
        ("exp", Value::from(expires)),
        ("aud", Value::from(spec.audience.as_str())),
    ];
    for (name, value) in own {
        if claims.insert(name.to_owned(), value).is_some() {
            return Err(IssueError::ReservedClaim(name));
        }
    }

    let mut header = Header::new(key.algorithm().jwt());
    header.kid.clone_from(&spec.kid);
    let mut jwt = format!("{}.{}", base64url(&header)?, base64url(&claims)?);
    let signature = key.sign(jwt.as_bytes())?;
    jwt.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
    Ok(Token {
        jwt: Secret::new(jwt),
        issued_at: UNIX_EPOCH + Duration::from_secs(issued),
        expires_at,
    })
}

fn base64url(part: &impl Serialize) -> Result<String, IssueError> {
    let json = serde_json::to_vec(part).map_err(|_| IssueError::Json)?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Algorithm;
    use serde_json::json;

    const NOW: Duration = Duration::from_millis(1_700_000_000_900);

    fn spec() -> TokenSpec {
        TokenSpec {
            audience: "https://akenza.io/devices/a".to_owned(),
            lifetime: Duration::from_secs(1200),
            kid: Some("k".to_owned()),
            claims: Map::from_iter([("sub".to_owned(), json!("a"))]),
        }
    }

    fn part(token: &Token, index: usize) -> Value {
        let part = token.jwt.expose().split('.').nth(index).expect("a part");
        let json = URL_SAFE_NO_PAD.decode(part).expect("Base64");
        serde_json::from_slice(&json).expect("JSON")
    }

    #[test]
    fn a_token_says_what_akenza_documents_and_no_more() {
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            let (key, _) = SigningKey::generate(algorithm).expect("a key");
            let token = issue(&key, &spec(), UNIX_EPOCH + NOW).expect("a token");
            assert_eq!(
                part(&token, 0),
                json!({"typ": "JWT", "alg": algorithm.name(), "kid": "k"})
            );
            assert_eq!(
                part(&token, 1),
                json!({"iat": 1_700_000_000, "exp": 1_700_001_200,
                       "aud": "https://akenza.io/devices/a", "sub": "a"})
            );
            let seconds = |s| UNIX_EPOCH + Duration::from_secs(s);
            assert_eq!(token.issued_at, seconds(1_700_000_000));
            assert_eq!(token.expires_at, seconds(1_700_001_200));
        }
    }

    #[test]
    fn a_token_without_a_key_id_has_no_such_field() {
        let (key, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
        let spec = TokenSpec {
            kid: None,
            ..spec()
        };
        let token = issue(&key, &spec, UNIX_EPOCH + NOW).expect("a token");
        assert_eq!(part(&token, 0), json!({"typ": "JWT", "alg": "ES256"}));
    }

    #[test]
    fn a_token_does_not_print_itself() {
        let (key, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
        let token = issue(&key, &spec(), UNIX_EPOCH + NOW).expect("a token");
        let printed = format!("{token:?}");
        let mut parts = token.jwt.expose().split('.');
        assert!(parts.all(|part| !printed.contains(part)), "{printed}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let (key, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
        let refused = |spec: &TokenSpec, now| issue(&key, spec, now).map(|_| ());
        for name in ["iat", "exp", "aud"] {
            let claims = Map::from_iter([(name.to_owned(), json!(1))]);
            let spec = TokenSpec { claims, ..spec() };
            assert_eq!(
                refused(&spec, UNIX_EPOCH + NOW),
                Err(IssueError::ReservedClaim(name))
            );
        }
        for lifetime in [Duration::from_millis(999), Duration::MAX] {
            let spec = TokenSpec { lifetime, ..spec() };
            assert_eq!(refused(&spec, UNIX_EPOCH + NOW), Err(IssueError::Lifetime));
        }
        assert_eq!(refused(&spec(), UNIX_EPOCH - NOW), Err(IssueError::Clock));
    }
}
