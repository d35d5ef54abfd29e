//! The MQTT password of each CONNECT. A token's key may be another one from one CONNECT to the next.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::identity::{IssueError, KeyError, LazyKey, SigningKey, TokenSpec, issue};
use crate::secret::Secret;

/// Connections in a row that a broker closes without answering a CONNECT with a new key, until that counts as a refusal:
/// some brokers have no other answer to bad credentials, and a broken link looks alike.
const UNANSWERED: u32 = 2;

/// The MQTT password. Each session works with a copy of its own.
#[derive(Debug, Clone)]
pub enum Password {
    /// None is sent.
    None,
    /// Always the same.
    Secret(Secret),
    /// A fresh token for every CONNECT.
    Token(Box<TokenSource>),
}

/// A key that signs tokens.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// By which it is named in reports.
    pub id: Arc<str>,
    /// The key itself.
    pub key: Arc<LazyKey>,
}

/// The key id in a token's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKid {
    /// The digest of the public key.
    SpkiSha256,
    /// This one, or none.
    Fixed(Option<String>),
}

/// Who is told what a broker says to a key.
pub trait KeyReports: fmt::Debug + Send + Sync {
    /// It took a token that this key signed. Never waits.
    fn accepted(&self, key: &str);

    /// It refused one; why, in words. When another key is to be used instead, the session's source has it as soon as this
    /// returns. Never waits.
    fn refused(&self, key: &str, why: &str);
}

/// Makes a session's tokens.
#[derive(Debug, Clone)]
pub struct TokenSource {
    spec: TokenSpec,
    kid: TokenKid,
    keys: watch::Receiver<Option<TokenKey>>,
    reports: Option<Arc<dyn KeyReports>>,
    /// The key of the last token, and the CONNECTs with it in a row that were not answered.
    last: Option<(Arc<str>, u32)>,
}

/// A password for one CONNECT.
#[derive(Debug)]
pub struct FreshPassword {
    /// What is sent, if anything is.
    pub password: Option<Secret>,
    /// When it stops being good; a token alone does.
    pub expires_at: Option<SystemTime>,
    /// How long it is good from now on.
    pub lifetime: Option<Duration>,
}

/// Why there is no password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoPassword {
    /// No key signs tokens at the moment.
    #[error("no key signs tokens at the moment")]
    NoKey,
    /// The token cannot be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// What a broker said to a CONNECT.
pub(super) enum Answer<'a> {
    /// It let the client in.
    Accepted,
    /// It refused the credentials, in these words.
    Refused(&'a str),
    /// It closed the connection without an answer.
    None,
}

/// Another key is used from now on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    /// The key that was refused.
    pub(super) refused: Arc<str>,
    /// The one that is used instead.
    pub(super) by: Arc<str>,
}

impl TokenSource {
    /// Tokens signed with the key that `keys` has at the time of a CONNECT. While it has none, the session waits. When it
    /// gets another one, the connection is renewed with it. Not the `kid` in `spec` counts, but the other one.
    pub fn new(
        spec: TokenSpec,
        kid: TokenKid,
        keys: watch::Receiver<Option<TokenKey>>,
        reports: Arc<dyn KeyReports>,
    ) -> Self {
        Self {
            spec,
            kid,
            keys,
            reports: Some(reports),
            last: None,
        }
    }

    /// Tokens signed with always the same key.
    pub fn fixed(spec: TokenSpec, kid: TokenKid, key: TokenKey) -> Self {
        Self::signed_by(spec, kid, Some(key))
    }

    /// What the tokens say, and the key that signs them at the moment.
    pub fn token(&self) -> Result<(TokenSpec, Arc<LazyKey>), NoPassword> {
        let key = self.keys.borrow().clone().ok_or(NoPassword::NoKey)?.key;
        let kid = self.kid(key.get()?);
        let spec = TokenSpec {
            kid,
            ..self.spec.clone()
        };
        Ok((spec, key))
    }

    /// Tokens that nobody signs: for a configuration that is only looked at.
    pub fn without_key(spec: TokenSpec, kid: TokenKid) -> Self {
        Self::signed_by(spec, kid, None)
    }

    fn signed_by(spec: TokenSpec, kid: TokenKid, key: Option<TokenKey>) -> Self {
        let (_, keys) = watch::channel(key);
        Self {
            spec,
            kid,
            keys,
            reports: None,
            last: None,
        }
    }

    fn kid(&self, key: &SigningKey) -> Option<String> {
        match &self.kid {
            TokenKid::SpkiSha256 => Some(key.spki_sha256().to_owned()),
            TokenKid::Fixed(kid) => kid.clone(),
        }
    }

    fn fresh(&mut self, now: SystemTime) -> Result<FreshPassword, NoPassword> {
        let key = self
            .keys
            .borrow_and_update()
            .clone()
            .ok_or(NoPassword::NoKey)?;
        let signing = key.key.get().map_err(IssueError::from)?;
        self.spec.kid = self.kid(signing);
        let token = issue(signing, &self.spec, now)?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != key.id) {
            self.last = Some((key.id, 0));
        }
        Ok(FreshPassword {
            password: Some(token.jwt),
            expires_at: Some(token.expires_at),
            lifetime: Some(self.spec.lifetime),
        })
    }

    fn answered(&mut self, answer: Answer<'_>) -> Option<Replaced> {
        let (reports, (refused, unanswered)) = (self.reports.as_ref()?, self.last.as_mut()?);
        let why = match answer {
            Answer::Accepted => {
                *unanswered = 0;
                reports.accepted(refused);
                return None;
            }
            Answer::Refused(why) => why,
            Answer::None => {
                *unanswered += 1;
                if *unanswered < UNANSWERED {
                    return None;
                }
                "it closes the connection instead of answering"
            }
        };
        reports.refused(refused, why);
        let by = self.keys.borrow().as_ref()?.id.clone();
        (by != *refused).then(|| Replaced {
            refused: Arc::clone(refused),
            by,
        })
    }
}

impl Password {
    /// The password for a CONNECT that is sent now.
    pub fn fresh(&mut self, now: SystemTime) -> Result<FreshPassword, NoPassword> {
        let password = match self {
            Self::None => None,
            Self::Secret(secret) => Some(secret.clone()),
            Self::Token(source) => return source.fresh(now),
        };
        Ok(FreshPassword {
            password,
            expires_at: None,
            lifetime: None,
        })
    }

    /// Whether there is none only because no key signs tokens at the moment.
    pub(super) fn lacks_key(&self) -> bool {
        matches!(self, Self::Token(source) if source.keys.borrow().is_none())
    }

    /// What the broker said to the last one. `Some`: the next CONNECT has another key.
    pub(super) fn answered(&mut self, answer: Answer<'_>) -> Option<Replaced> {
        match self {
            Self::Token(source) => source.answered(answer),
            Self::None | Self::Secret(_) => None,
        }
    }

    /// Where another key than that of the last token comes from.
    pub(super) fn swaps(&self) -> Swaps {
        Swaps(match self {
            Self::Token(source) => Some(source.keys.clone()),
            Self::None | Self::Secret(_) => None,
        })
    }
}

/// Waits for another key.
pub(super) struct Swaps(Option<watch::Receiver<Option<TokenKey>>>);

impl Swaps {
    /// Resolves when there is another key than that of the last token; never where the password does not change.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) {
        if let Some(keys) = &mut self.0
            && keys.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl From<KeyError> for NoPassword {
    fn from(error: KeyError) -> Self {
        Self::Issue(error.into())
    }
}
