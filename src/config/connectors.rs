//! `[connectors.NAME]`: a broker with a profile.

use std::collections::BTreeMap;

use super::files::Files;
use super::fit::{self, ClientIds};
use super::model::{ConnectWhen, Connector};
use super::reach;
use super::section::Section;
use crate::broker::BrokerUrl;
use crate::device::ConnectorName;
use crate::profile::{
    BUILTIN, PasswordSource, Profile, ProfileError, SessionScope, builtin, merge,
};

/// Reads all connectors. One that is not sound is there without a value, so that its devices are not told that it does
/// not exist.
pub(super) fn read(
    section: Section<'_>,
    files: &Files<'_>,
    client_ids: &mut ClientIds,
) -> BTreeMap<ConnectorName, Option<Connector>> {
    let mut bases = Bases::default();
    let mut connectors = BTreeMap::new();
    for (name, mut section) in section.sections() {
        let before = section.report().errors();
        let name = match ConnectorName::parse(name) {
            Ok(name) => name,
            Err(error) => {
                section.report().error(section.place(), error);
                continue;
            }
        };
        let connector = one(&name, &mut section, files, &mut bases);
        let report = section.report();
        if let (Some(connector), true) = (&connector, report.errors() == before) {
            fit::check_connection(&section, connector, client_ids);
        }
        section.finish();
        let sound = report.errors() == before;
        connectors.insert(name, connector.filter(|_| sound));
    }
    connectors
}

/// Profiles as they were named, without overrides: each is read once.
type Bases = BTreeMap<String, Result<(toml::Table, Profile), String>>;

fn one(
    name: &ConnectorName,
    section: &mut Section<'_>,
    files: &Files<'_>,
    bases: &mut Bases,
) -> Option<Connector> {
    let profile = profile(section, files, bases);
    let url = section
        .required_text(
            "url",
            "mqtts://HOST[:8883], or wss://HOST[:443]/PATH over WebSocket, or mqtt://HOST[:1883] without encryption",
        )
        .and_then(|text| {
            BrokerUrl::parse(text)
                .map_err(|error| section.error("url", error))
                .ok()
        });
    let ca = files.public(section, "ca_file");
    let server_name = reach::server_name(section);
    let proxy = reach::proxy(section, files);
    let passphrase = files.secret(section, "passphrase", "passphrase_file");
    let identity = reach::identity(section, files, passphrase.as_ref());
    let mqtt_version = section.parsed("mqtt_version", str::parse);
    let when = [("lazy", ConnectWhen::Lazy), ("eager", ConnectWhen::Eager)];
    let connect = section.choice("connect", &when, ConnectWhen::Lazy);
    let secret = files.secret(section, "secret", "secret_file");
    let drain_rate = section.optional_count("drain_rate", 1..=1_000_000);
    let variables = section.texts("variables");

    for key in ["passphrase", "passphrase_file"] {
        if section.has(key) && !section.has("identity_file") {
            section.error(key, "has no effect without identity_file");
        }
    }
    let (profile_name, profile) = profile?;
    fit::check_values(section, &profile, &variables, secret.as_ref());
    if secret.is_some() && !fit::uses_secret(&profile) {
        section.error(
            fit::secret_key(section),
            format_args!("the profile {profile_name} has no use for a secret; remove the key"),
        );
    }
    let needs_secret = profile.session == SessionScope::Connector
        && profile.connect.password == PasswordSource::Secret;
    if needs_secret && !section.has("secret") && !section.has("secret_file") {
        section.error(
            "secret",
            format_args!(
                "the profile {profile_name} needs a secret: write secret_file (or secret)"
            ),
        );
    }
    let connector = Connector {
        name: name.clone(),
        profile,
        profile_name,
        url: url?,
        ca,
        server_name,
        proxy,
        identity,
        mqtt_version,
        connect,
        secret,
        drain_rate,
        variables,
    };
    reach::check_connector(section, &connector);
    Some(connector)
}

fn profile(
    section: &mut Section<'_>,
    files: &Files<'_>,
    bases: &mut Bases,
) -> Option<(String, Profile)> {
    let overrides = section.has("override");
    let over = overrides.then_some(section.section("override"));
    let name = section.required_text(
        "profile",
        &format!("name a built-in one ({}) or a file", builtin_names()),
    )?;
    let (table, profile) = match bases
        .entry(name.to_owned())
        .or_insert_with(|| base(name, files))
    {
        Ok(base) => base,
        Err(message) => {
            section.error("profile", message);
            return None;
        }
    };
    let Some(over) = over else {
        return Some((name.to_owned(), profile.clone()));
    };
    match overridden(table, over.to_toml()) {
        Ok(profile) => Some((name.to_owned(), profile)),
        Err(error) => {
            let place = match culprit(table, &over.to_toml(), &error) {
                Some(path) => {
                    over.deepest_place(&path.iter().map(String::as_str).collect::<Vec<_>>())
                }
                None => over.place().clone(),
            };
            over.report().error(
                &place,
                format_args!("the profile {name} with this override is not valid: {error}"),
            );
            None
        }
    }
}

/// A profile as it was named: a path where it contains a slash or ends in `.toml`.
fn base(name: &str, files: &Files<'_>) -> Result<(toml::Table, Profile), String> {
    let is_path = name.contains('/') || name.ends_with(".toml");
    let (text, origin) = if is_path {
        let file = files
            .read(&files.resolve(name))
            .map_err(|error| error.to_string())?;
        let origin = file.path.display().to_string();
        let text = String::from_utf8(file.bytes.to_vec())
            .map_err(|_| format!("{origin} is not UTF-8 text"))?;
        (text, origin)
    } else {
        let text = builtin(name).ok_or_else(|| {
            format!(
                "there is no built-in profile {name:?}; there are: {}; a file is written with a / or ends in .toml",
                builtin_names()
            )
        })?;
        (text.to_owned(), name.to_owned())
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let behind = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(behind).filter(|b| *b == b'\n').count() + 1;
        format!("{origin}:{line}: not TOML: {}", error.message())
    })?;
    let profile =
        Profile::from_table(table.clone()).map_err(|error| format!("{origin}: {error}"))?;
    Ok((table, profile))
}

fn overridden(base: &toml::Table, over: toml::Table) -> Result<Profile, ProfileError> {
    let mut table = base.clone();
    merge(&mut table, over);
    Profile::from_table(table)
}

/// The key of an override that causes this error by itself, if there is one.
fn culprit(base: &toml::Table, over: &toml::Table, error: &ProfileError) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    leaves(over, &mut Vec::new(), &mut paths);
    paths
        .into_iter()
        .find(|(_, alone)| overridden(base, alone.clone()).is_err_and(|e| e == *error))
        .map(|(path, _)| path)
}

/// Every key that is not a table, with an override that has it alone.
fn leaves(
    table: &toml::Table,
    above: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, toml::Table)>,
) {
    for (key, value) in table {
        above.push(key.clone());
        if let toml::Value::Table(inner) = value {
            leaves(inner, above, found);
        } else {
            let mut alone = value.clone();
            for key in above.iter().rev() {
                alone = toml::Value::Table([(key.clone(), alone)].into_iter().collect());
            }
            if let toml::Value::Table(alone) = alone {
                found.push((above.clone(), alone));
            }
        }
        above.pop();
    }
}

fn builtin_names() -> String {
    let names: Vec<_> = BUILTIN.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}
