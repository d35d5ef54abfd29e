//! How the collector of traces is reached.

use crate::config::Telemetry;
use crate::fleet::PlanError;
use crate::mqtt::tls::{self, Roots, TlsError, Trust};
use crate::mqtt::transport::{Endpoint, Tls};
use crate::telemetry::Settings;

pub(super) fn settings(telemetry: &Telemetry) -> Result<Settings, PlanError> {
    let Telemetry {
        url,
        sampling,
        headers,
        resource,
        ..
    } = telemetry;
    let mut endpoint = Endpoint::plain(url.host.shared(), url.port);
    endpoint.tls = tls(telemetry).map_err(PlanError::Telemetry)?;
    Ok(Settings {
        endpoint,
        host: url.authority().into(),
        path: url.traces().into(),
        headers: headers.clone(),
        resource: resource.clone().into_iter().collect(),
        sampling: *sampling,
    })
}

fn tls(telemetry: &Telemetry) -> Result<Option<Tls>, TlsError> {
    if !telemetry.url.is_tls {
        return Ok(None);
    }
    let roots = match &telemetry.ca {
        Some(file) => Roots::Pem {
            file: &file.path,
            bytes: &file.bytes,
        },
        None => Roots::System,
    };
    let http1 = ["http/1.1".to_owned()];
    Ok(Some(Tls {
        config: tls::client_config(&Trust::new(roots)?, None, &http1),
        server_name: tls::server_name(telemetry.url.host.as_str())?,
        identity: None,
    }))
}
