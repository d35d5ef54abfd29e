//! How the main listener is spoken to, from the configuration. For the start, and for a change while it runs.

use super::open_files;
use crate::config::{Config, Https};
use crate::fleet::{PlanError, PlanWarning, read_identity};
use crate::http::{ClientAuthorities, ConnectionLimits, ListenerSettings, Origins, Tls};

/// Reads the listener's certificate and what else it needs; warns of a certificate that will not do for long.
pub fn listener_settings(
    config: &Config,
) -> Result<(ListenerSettings, Vec<PlanWarning>), PlanError> {
    let http = &config.http;
    let mut warnings = Vec::new();
    let tls = match &http.https {
        Some(https) => Some(tls(https, &mut warnings)?),
        None => None,
    };
    let connections = &http.connections;
    let limits = ConnectionLimits {
        max: open_files::affordable(connections.max, config.devices.len()),
        per_address: connections.per_address,
        max_head: connections.max_head,
        max_headers: connections.max_headers,
        head_time: connections.head_timeout,
        idle_time: connections.idle_timeout,
    };
    let settings = ListenerSettings {
        tls,
        limits,
        origins: Origins::new(&http.cors_origins),
    };
    Ok((settings, warnings))
}

fn tls(https: &Https, warnings: &mut Vec<PlanWarning>) -> Result<Tls, PlanError> {
    let owner = "http.tls_certificate_file";
    let identity = read_identity(&https.identity, owner.to_owned(), false, warnings)?;
    let no_host = identity.host_warning();
    warnings.extend(no_host.map(|warning| PlanWarning::new(owner, warning)));
    let failed = |key| move |error| PlanError::Https { key, error };
    let clients = match &https.clients {
        Some(clients) => {
            let file = &clients.authorities;
            let read = ClientAuthorities::read(&file.path, &file.bytes, clients.required);
            Some(read.map_err(failed("client_ca_file"))?)
        }
        None => None,
    };
    Tls::new(&identity, clients.as_ref()).map_err(failed("tls_certificate_file"))
}
