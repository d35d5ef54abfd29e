//! Key pairs as JSON: what is asked for, and what is shown of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::timestamp::Timestamp;
use crate::identity::Algorithm;
use crate::keyring::{KeyPair, KeyState, Refusal, Ring};

/// What key pair to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"algorithm": "ES256"}))]
pub(super) struct NewKey {
    /// `RS256` (RSA with 2048 bits, the default) or `ES256` (EC P-256).
    #[schema(value_type = Option<String>)]
    algorithm: Option<Algorithm>,
}

impl NewKey {
    pub(super) fn parse(body: &[u8]) -> Result<Algorithm, Problem> {
        if body.trim_ascii().is_empty() {
            return Ok(Algorithm::Rs256);
        }
        serde_json::from_slice::<Self>(body)
            .map(|new| new.algorithm.unwrap_or(Algorithm::Rs256))
            .map_err(|error| {
                Problem::new(
                    Kind::Malformed,
                    format!("the body does not say what key to make: {error}"),
                )
                .hint(r#"{"algorithm": "ES256"} or {"algorithm": "RS256"}, or no body"#)
            })
    }
}

/// A device's key pairs.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyList {
    /// Whether the device signs with these keys; otherwise it has a `private_key_file` in the configuration, or signs no
    /// tokens.
    kept_here: bool,
    /// The oldest first.
    keys: Vec<KeyBody>,
}

impl KeyList {
    pub(super) const NOT_KEPT_HERE: Self = Self {
        kept_here: false,
        keys: Vec::new(),
    };

    pub(super) fn of(ring: &Ring) -> Self {
        let keys = ring.keys().iter().map(|key| KeyBody::of(key, ring));
        Self {
            kept_here: true,
            keys: keys.collect(),
        }
    }
}

/// A key pair without its private half.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyBody {
    /// SHA-256 of the public half (SPKI, DER), in hexadecimal digits: the `kid` of akenza's tokens.
    #[schema(example = "3a0c7d1b6f0e4d2f8f0d9d3f7d6f1f5c2b1a09f8e7d6c5b4a39281706f5e4d3c")]
    kid: String,
    /// `RS256` or `ES256`.
    #[schema(example = "ES256")]
    algorithm: &'static str,
    /// `new` (register it with the platform, then activate it), `active` (it signs) or `previous` (it signed before).
    #[schema(example = "active")]
    state: &'static str,
    /// The key is active, and the broker has not accepted it yet.
    on_trial: bool,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:00:00.000Z")]
    created_at: Timestamp,
    /// When the broker last accepted it; after a crash it may be an hour older.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-01-31T12:20:00.000Z")]
    last_used_at: Option<Timestamp>,
    /// That the broker refused it, if it has not accepted it since.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalBody>,
    /// The public half as PEM (SPKI): what the platform wants to have.
    #[schema(
        example = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…\n-----END PUBLIC KEY-----\n"
    )]
    public_key: String,
}

/// The broker refused a key.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyRefusal)]
pub(super) struct RefusalBody {
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T12:10:00.000Z")]
    at: Timestamp,
    /// The broker's reason.
    #[schema(example = "not authorized (0x87)")]
    why: String,
}

impl KeyBody {
    pub(super) fn of(key: &KeyPair, ring: &Ring) -> Self {
        Self {
            kid: key.kid.to_string(),
            algorithm: key.algorithm.name(),
            state: key.state.name(),
            on_trial: key.state == KeyState::Active && ring.on_trial(),
            created_at: Timestamp(key.created_at),
            last_used_at: key.last_used_at.map(Timestamp),
            refusal: key.refusal.as_ref().map(RefusalBody::from),
            public_key: key.public_pem.to_string(),
        }
    }
}

impl From<&Refusal> for RefusalBody {
    fn from(refusal: &Refusal) -> Self {
        Self {
            at: Timestamp(refusal.at),
            why: refusal.why.to_string(),
        }
    }
}
