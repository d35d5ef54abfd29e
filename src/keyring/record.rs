//! How a device's keys are stored: JSON of version 1, in the vault, under the device's id. The private halves are PKCS#8
//! in Base64. Times are milliseconds since the epoch.
//!
//! All keys of a device are one record, so that one write changes which of them is active.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::pair::{KeyPair, KeyState, Refusal};
use super::ring::{Ring, Trial};
use crate::identity::{Algorithm, LazyKey};

const VERSION: u32 = 1;

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not what is written here.
    #[error("{0} is damaged; restore the store from a copy")]
    Form(&'static str),
    /// Written by a newer program.
    #[error("it has version {0}, and this program knows {VERSION}; use the version that wrote it")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u32,
    #[serde(borrow)]
    keys: Vec<StoredKey<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trial: Option<StoredTrial>,
}

#[derive(Serialize, Deserialize)]
struct StoredKey<'a> {
    kid: Arc<str>,
    algorithm: Algorithm,
    state: StoredState,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<StoredRefusal>,
    public_key: Arc<str>,
    /// Borrowed from the record, so that no copy of it stays behind.
    pkcs8: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredState {
    New,
    Active,
    Previous,
}

#[derive(Serialize, Deserialize)]
struct StoredRefusal {
    at: u64,
    why: Box<str>,
}

#[derive(Serialize, Deserialize)]
struct StoredTrial {
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Arc<str>>,
}

/// What is to be stored of a ring.
pub(super) fn encode(ring: &Ring) -> Zeroizing<Vec<u8>> {
    /// Of one key beside its two halves: names, times, a broker's words.
    const ROOM: usize = 1024;
    let private: Vec<_> = ring
        .keys()
        .iter()
        .map(|key| Zeroizing::new(STANDARD.encode(&**key.pkcs8)))
        .collect();
    let keys = ring
        .keys()
        .iter()
        .zip(&private)
        .map(|(key, pkcs8)| StoredKey {
            kid: Arc::clone(&key.kid),
            algorithm: key.algorithm,
            state: match key.state {
                KeyState::New => StoredState::New,
                KeyState::Active => StoredState::Active,
                KeyState::Previous => StoredState::Previous,
            },
            created_at: millis(key.created_at),
            last_used_at: key.last_used_at.map(millis),
            refusal: key.refusal.as_ref().map(|refusal| StoredRefusal {
                at: millis(refusal.at),
                why: refusal.why.clone(),
            }),
            public_key: Arc::clone(&key.public_pem),
            pkcs8: pkcs8.as_str(),
        });
    let stored = Stored {
        version: VERSION,
        keys: keys.collect(),
        trial: ring.trial().map(|trial| StoredTrial {
            before: trial.before.clone(),
        }),
    };
    // Room for all of it at once: a vector that grows leaves copies behind that nobody clears.
    let halves = |key: &KeyPair| 2 * key.public_pem.len() + 2 * key.pkcs8.len();
    let room: usize = ring.keys().iter().map(|key| ROOM + halves(key)).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(ROOM + room));
    // Writing to a vector cannot fail, and neither can these types.
    let _ = serde_json::to_writer(&mut *bytes, &stored);
    bytes
}

/// The ring that was stored.
pub(super) fn decode(bytes: &[u8]) -> Result<Ring, RecordError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let damaged = |what| move |_| RecordError::Form(what);
    let Version { version } = serde_json::from_slice(bytes).map_err(damaged("the record"))?;
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    let stored: Stored<'_> = serde_json::from_slice(bytes).map_err(damaged("the record"))?;
    let keys: Result<Vec<_>, _> = stored.keys.into_iter().map(key).collect();
    let trial = stored.trial.map(|trial| Trial {
        before: trial.before,
    });
    Ok(Ring::restored(keys?, trial))
}

fn key(stored: StoredKey<'_>) -> Result<KeyPair, RecordError> {
    let pkcs8 = STANDARD
        .decode(stored.pkcs8)
        .map(Zeroizing::new)
        .map_err(|_| RecordError::Form("a private key"))?;
    let signs = LazyKey::from_pkcs8("the stored key", pkcs8.clone())
        .map_err(|_| RecordError::Form("a private key"))?;
    Ok(KeyPair {
        kid: stored.kid,
        algorithm: stored.algorithm,
        public_pem: stored.public_key,
        state: match stored.state {
            StoredState::New => KeyState::New,
            StoredState::Active => KeyState::Active,
            StoredState::Previous => KeyState::Previous,
        },
        created_at: time(stored.created_at),
        last_used_at: stored.last_used_at.map(time),
        refusal: stored.refusal.map(|refusal| Refusal {
            at: time(refusal.at),
            why: refusal.why,
        }),
        pkcs8: Arc::new(pkcs8),
        signs: Arc::new(signs),
    })
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SigningKey;

    #[test]
    fn what_was_stored_is_there_again() {
        let mut ring = Ring::default();
        for (second, algorithm) in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es256]
            .into_iter()
            .enumerate()
        {
            let now = time(second as u64 * 1000);
            ring.add(KeyPair::new(SigningKey::new(algorithm).unwrap(), now).unwrap())
                .unwrap();
        }
        let kids: Vec<_> = ring.keys().iter().map(|key| key.kid.clone()).collect();
        ring.activate(&kids[0]).unwrap();
        ring.accepted(&kids[0], time(5));
        ring.activate(&kids[1]).unwrap();
        let why = "not \"authorized\" … ".into();
        ring.refused(&kids[2], Refusal { at: time(6), why });

        let bytes = encode(&ring);
        let read = decode(&bytes).unwrap();
        assert_eq!(encode(&read), bytes);
        assert_eq!(format!("{read:?}"), format!("{ring:?}"));
        for (key, kid) in read.keys().iter().zip(&kids) {
            let signs = key.signs.get().unwrap();
            assert_eq!(signs.spki_sha256(), &**kid);
            assert_eq!(signs.public_pem(), &*key.public_pem);
        }
        assert!(bytes.len() < 9 * 1024, "{} bytes", bytes.len());
    }

    #[test]
    fn damage_and_newer_versions_are_told_apart() {
        let read = |text: &str| decode(text.as_bytes()).unwrap_err().to_string();
        assert!(read("{").contains("the record is damaged"));
        assert!(read(r#"{"version":2,"keys":0}"#).contains("has version 2"));
        assert!(read(r#"{"version":1,"keys":0}"#).contains("the record is damaged"));
        let key = r#"{"version":1,"keys":[{"kid":"a","algorithm":"ES256","state":"new","created_at":0,"public_key":"","pkcs8":"AAAA"}]}"#;
        assert!(read(key).contains("a private key is damaged"));
    }
}
