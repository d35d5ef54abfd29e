//! Keys in the store of a stopped bridge.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use super::files::describe;
use crate::cli::ConfigFile;
use crate::cli::error::CliError;
use crate::config::Config;
use crate::device::DeviceId;
use crate::identity::{Algorithm, Sealing, SigningKey};
use crate::keyring::{DeviceKeys, KeyPair, KeyState, Keyring, KeyringError, Ring};
use crate::profile::PasswordSource;
use crate::store::records::RecordKind;
use crate::store::{Embedded, Engine, OpenError, Records as _};
use crate::vault::Vault;

/// What is done with the keys of a device.
pub(super) enum Action {
    Make(Algorithm),
    Import(Box<SigningKey>),
    Show(String),
    Activate(String),
    Delete(String),
    /// Also of all devices.
    List,
}

/// Does it in the store that the configuration names, and gives what is to be printed.
pub(super) fn run(
    config: &ConfigFile,
    device: Option<DeviceId>,
    action: Action,
) -> Result<String, CliError> {
    let config = config.load()?;
    let adds = matches!(action, Action::Make(_) | Action::Import(_));
    if adds && config.store.is_enabled() && config.store.encryption_key.is_none() {
        eprintln!(
            "the private key is stored unencrypted, because [store] encryption_key_file is not set; \
             `causeway keys seal-key --out FILE` makes a key for it"
        );
    }
    with_store(&config, adds, async |store| {
        act(&config, store, device, action).await
    })
}

/// The keys of a device, to sign with.
pub(in crate::cli) fn kept(
    config: &Config,
    device: &DeviceId,
) -> Result<Arc<DeviceKeys>, CliError> {
    with_store(config, false, async |store| {
        Ok(keyring(config, store).await?.of(device))
    })
}

/// Does something with the store, which is there or `may_be_new`.
fn with_store<T>(
    config: &Config,
    may_be_new: bool,
    work: impl AsyncFnOnce(&Arc<Embedded>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    if config.store.servers.is_some() {
        return failed(
            "keys are kept on NATS JetStream: use a running bridge's HTTP interface, \
             /v1/devices/{device}/keys does the same",
        );
    }
    let Some(path) = &config.store.path else {
        return failed("keys are kept in the store, and [store] has enabled = false");
    };
    if !may_be_new && !path.exists() {
        return failed(format!("there is no store yet: {}", path.display()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("cannot start: {error}")))?;
    let store = Embedded::open(path, config.store.limits).map_err(|error| match error {
        OpenError::InUse(path) => CliError::Failed(format!(
            "{}: a running bridge has this store to itself; stop it, or use its HTTP interface: \
             /v1/devices/{{device}}/keys does the same",
            path.display()
        )),
        error => CliError::Failed(error.to_string()),
    })?;
    let store = Arc::new(store);
    runtime.block_on(async {
        let done = work(&store).await;
        if let Err(error) = store.close().await {
            return failed(format!("the store did not close: {error}"));
        }
        done
    })
}

async fn keyring(config: &Config, store: &Arc<Embedded>) -> Result<Keyring, KeyringError> {
    let sealing = Sealing::new(config.store.encryption_key.clone());
    Keyring::open(Arc::new(Vault::new(store.clone(), sealing))).await
}

async fn act(
    config: &Config,
    store: &Arc<Embedded>,
    device: Option<DeviceId>,
    action: Action,
) -> Result<String, CliError> {
    let keyring = keyring(config, store).await?;
    let Some(device) = device else {
        let lists = keyring.devices();
        let lists = lists.iter().map(|keys| list(keys.device(), &keys.ring()));
        return Ok(lists.collect());
    };
    let note = check_device(config, store, &device).await?;
    let keys = keyring.of(&device);
    let done = act_on(&keys, action).await;
    if let (Ok(_), Some(note)) = (&done, note) {
        eprintln!("{note}");
    }
    done
}

async fn act_on(keys: &Arc<DeviceKeys>, action: Action) -> Result<String, CliError> {
    let device = keys.device();
    let ring = keys.ring();
    Ok(match action {
        Action::List => list(device, &ring),
        Action::Show(kid) => show(find(&ring, &kid)?),
        Action::Make(algorithm) => {
            let key = keys.make(algorithm).await?;
            tell_next(device, &key);
            show(&key)
        }
        Action::Import(key) => {
            let key = keys.add(KeyPair::new(*key, SystemTime::now())?).await?;
            tell_next(device, &key);
            show(&key)
        }
        Action::Activate(kid) => {
            keys.activate(&find(&ring, &kid)?.kid).await?;
            list(device, &keys.ring())
        }
        Action::Delete(kid) => {
            keys.delete(&find(&ring, &kid)?.kid).await?;
            list(device, &keys.ring())
        }
    })
}

/// Refuses a device that there is not, or that signs nothing. Gives what else there is to say.
async fn check_device(
    config: &Config,
    store: &Arc<Embedded>,
    id: &DeviceId,
) -> Result<Option<String>, CliError> {
    let Some(device) = config.devices.get(id) else {
        let stored = store.record(RecordKind::Device, id.as_str()).await;
        return match stored.map_err(|error| CliError::Failed(error.to_string()))? {
            Some(_) => Ok(None),
            None => failed(format!(
                "there is no device {id}, neither in the configuration nor in the store"
            )),
        };
    };
    let connector = config.connectors.get(&device.connector);
    let signs = connector.is_some_and(|c| c.profile.connect.password == PasswordSource::Jwt);
    if !signs || device.via.is_some() {
        return failed(format!("the device {id} signs no tokens"));
    }
    Ok(device.private_key.as_ref().map(|file| {
        format!(
            "note: as long as the configuration has private_key_file for the device {id}, it signs with {}",
            file.path.display()
        )
    }))
}

/// A key by the beginning of its id.
fn find<'a>(ring: &'a Ring, kid: &str) -> Result<&'a KeyPair, CliError> {
    let mut found = ring.keys().iter().filter(|key| key.kid.starts_with(kid));
    match (found.next(), found.next()) {
        (Some(key), None) if !kid.is_empty() => Ok(key),
        (None, _) => failed(format!(
            "the device has no key {kid}; `causeway keys list` lists those that it has"
        )),
        _ => failed(format!(
            "{kid:?} is not enough of an id to tell which key is meant"
        )),
    }
}

fn show(key: &KeyPair) -> String {
    describe(&key.public_pem, key.algorithm, &key.kid)
}

fn tell_next(device: &DeviceId, key: &KeyPair) {
    eprintln!(
        "register the public key with the platform, then: causeway keys activate --device {device} {}",
        &key.kid[..8]
    );
}

fn list(device: &DeviceId, ring: &Ring) -> String {
    let mut text = format!("{device}\n");
    for key in ring.keys() {
        let state = match key.state {
            KeyState::Active if ring.on_trial() => "active, not accepted by the broker yet",
            state => state.name(),
        };
        let _ = write!(
            text,
            "  {}  {}  {state}  created {}",
            key.kid,
            key.algorithm,
            humantime::format_rfc3339_seconds(key.created_at)
        );
        if let Some(used) = key.last_used_at {
            let _ = write!(
                text,
                "  last used {}",
                humantime::format_rfc3339_seconds(used)
            );
        }
        if let Some(refusal) = &key.refusal {
            let _ = write!(text, "  refused: {}", refusal.why);
        }
        text.push('\n');
    }
    if ring.keys().is_empty() {
        text += "  no keys\n";
    }
    text
}

fn failed<T>(why: impl Into<String>) -> Result<T, CliError> {
    Err(CliError::Failed(why.into()))
}

impl From<KeyringError> for CliError {
    fn from(error: KeyringError) -> Self {
        Self::Failed(error.to_string())
    }
}
