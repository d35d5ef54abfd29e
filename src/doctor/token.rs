//! The token that serves as password: the key that signs it, and what it says.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::clock::words;
use super::report::{Cause, Finding};
use crate::identity::{LazyKey, SigningKey, TokenSpec, issue};
use crate::session::{ConnectSpec, NoPassword, Password};

/// The key and the token of a session; `None` where its password is none.
pub(super) fn examine(connect: &ConnectSpec, now: SystemTime) -> Option<Finding> {
    let Password::Token(source) = &connect.password else {
        return None;
    };
    Some(match source.token() {
        Ok((spec, key)) => judge(connect, &spec, &key, now),
        Err(error @ NoPassword::NoKey) => Finding::failed(Cause::KeyUnusable, error.to_string()).hint(
            "make one with POST /v1/devices/{device}/keys, register its public half with the platform, and activate it",
        ),
        Err(error) => unusable(&error.to_string()),
    })
}

/// A key that cannot be used; what is wrong names the file, and mostly says what to do.
pub(super) fn unusable(problem: &str) -> Finding {
    let cause = match problem.contains("passphrase") {
        true => Cause::WrongPassphrase,
        false => Cause::KeyUnusable,
    };
    let finding = Finding::failed(cause, problem);
    match cause {
        Cause::WrongPassphrase => finding.hint(
            "check passphrase_file: it holds the passphrase and nothing else; one line end behind it does not matter",
        ),
        _ => finding
            .hint("check private_key_file; causeway keys show FILE tells what is in a key's file"),
    }
}

fn judge(connect: &ConnectSpec, spec: &TokenSpec, key: &LazyKey, now: SystemTime) -> Finding {
    let key = match key.get() {
        Ok(key) => key,
        Err(error) => return unusable(&error.to_string()),
    };
    let token = match issue(key, spec, now) {
        Ok(token) => token,
        Err(error) => return Finding::failed(Cause::TokenImpossible, error.to_string()),
    };
    let kid = spec.kid.as_deref().unwrap_or("none");
    let claims = connect.show(&claims(spec, token.issued_at, token.expires_at));
    let seen = format!(
        "the key signs with {}; a token is good for {}",
        key.algorithm(),
        words(spec.lifetime)
    );
    Finding::ok(seen)
        .fact("algorithm", key.algorithm())
        .fact("kid", connect.show(kid))
        .fact("public key", key.spki_sha256())
        .fact("claims", claims)
}

/// What the token says, as JSON on one line.
fn claims(spec: &TokenSpec, issued_at: SystemTime, expires_at: SystemTime) -> String {
    let seconds = |at: SystemTime| {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or(Duration::ZERO).as_secs()
    };
    let mut claims = Map::new();
    claims.insert("aud".to_owned(), spec.audience.as_str().into());
    claims.insert("iat".to_owned(), seconds(issued_at).into());
    claims.insert("exp".to_owned(), seconds(expires_at).into());
    claims.extend(spec.claims.clone());
    Value::Object(claims).to_string()
}

/// What to compare with what the platform has, in a sentence.
pub(super) fn identity_of(key: &SigningKey, kid: Option<&str>) -> String {
    match kid {
        Some(kid) if kid == key.spki_sha256() => format!("kid {kid}"),
        Some(kid) => format!("kid {kid}, SHA-256 {}", key.spki_sha256()),
        None => format!("SHA-256 {}", key.spki_sha256()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Algorithm;
    use crate::session::{SessionSpec, TokenKey, TokenKid, TokenSource};
    use std::sync::Arc;

    #[test]
    fn key_and_claims_are_shown_and_no_secret() {
        let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
        let fingerprint = key.spki_sha256().to_owned();
        let claims = Map::from_iter([("acl".to_owned(), Value::from("up/hunter2"))]);
        let spec = TokenSpec {
            audience: "https://akenza.io/devices/a".to_owned(),
            lifetime: Duration::from_secs(1200),
            kid: None,
            claims,
        };
        let key = TokenKey {
            id: "a".into(),
            key: Arc::new(key.into()),
        };
        let source = TokenSource::fixed(spec, TokenKid::SpkiSha256, key);
        let mut connect = (*SessionSpec::for_tests(1).connect).clone();
        connect.password = Password::Token(Box::new(source));
        connect.hidden = vec![crate::secret::Secret::new("hunter2")];
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let finding = examine(&connect, at).unwrap();
        assert_eq!(finding.facts.get("kid"), Some(&*fingerprint));
        let text = finding.facts.get("claims").unwrap();
        let claims: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            claims,
            serde_json::json!({"aud": "https://akenza.io/devices/a", "iat": 1_700_000_000, "exp": 1_700_001_200, "acl": "up/…"})
        );
        assert!(!format!("{finding:?}").contains("hunter2"));
    }
}
