//! Certificates whose time ends while the bridge runs: those that devices show, and the listener's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::identity::{Validity, Warning};
use crate::registry::Registry;

/// How often they are looked at. At the start they are looked at when they are read.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Warns once a day of certificates that have expired, or will soon, until `shutdown`. `own` is the listener's.
pub async fn watch(
    registry: Arc<Registry>,
    own: impl Fn() -> Option<Validity>,
    shutdown: CancellationToken,
) {
    let look = || {
        let now = SystemTime::now();
        if let Some(warning) = own().and_then(|own| own.at(now)) {
            warn!(key = "http.tls_certificate_file", "{warning}");
        }
        let devices = registry.all();
        let certificates = devices.iter().filter_map(|device| {
            let certificate = device.session.status().certificate()?;
            Some((device.connector.name.as_str(), certificate))
        });
        for (connector, warning) in due(certificates, now) {
            warn!(connector, "{warning}");
        }
    };
    daily(look, shutdown).await;
}

async fn daily(mut look: impl FnMut(), shutdown: CancellationToken) {
    let mut interval = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => look(),
        }
    }
}

/// What is to be said of them, once for each file, however many devices share it.
fn due<'a>(
    certificates: impl Iterator<Item = (&'a str, Validity)>,
    now: SystemTime,
) -> Vec<(&'a str, Warning)> {
    let mut files = BTreeSet::new();
    certificates
        .filter(|(_, certificate)| files.insert(certificate.file().to_owned()))
        .filter_map(|(connector, certificate)| Some((connector, certificate.at(now)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ClientIdentity, EXPIRY_NOTICE};

    fn certificate(file: &str) -> Validity {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        let now = SystemTime::now();
        let read = ClientIdentity::read(file.as_ref(), pem.as_bytes(), None, None, now);
        read.unwrap().0.validity()
    }

    #[test]
    fn what_ends_soon_is_said_once_for_each_file() {
        let (one, two) = (certificate("one.pem"), certificate("two.pem"));
        let all = || [("a", one.clone()), ("a", one.clone()), ("b", two.clone())].into_iter();
        let end = one.not_after();
        assert_eq!(due(all(), end - EXPIRY_NOTICE), []);
        for (now, says) in [
            (end - Duration::from_secs(60), "expires on"),
            (end + Duration::from_secs(60), "expired on"),
        ] {
            let said = due(all(), now);
            let said: Vec<_> = said
                .iter()
                .map(|(connector, warning)| format!("{connector} {warning}"))
                .collect();
            assert_eq!(said.len(), 2, "{said:?}");
            assert!(
                said[0].starts_with("a one.pem: ") && said[0].contains(says),
                "{said:?}"
            );
            assert!(
                said[1].starts_with("b two.pem: ") && said[1].contains(says),
                "{said:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_looked_at_every_day_until_the_end() {
        let shutdown = CancellationToken::new();
        let (end, begin) = (shutdown.clone(), Instant::now());
        let mut looks = Vec::new();
        let look = || {
            looks.push(begin.elapsed() / 3600);
            if looks.len() == 3 {
                end.cancel();
            }
        };
        daily(look, shutdown).await;
        assert_eq!(looks, [24, 48, 72].map(Duration::from_secs));
    }
}
