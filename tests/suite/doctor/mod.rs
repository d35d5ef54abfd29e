//! The doctor: every failure provoked for real, and what is said of it.

mod bridge;
mod command;
mod network;
mod permission;
mod server_certificates;
mod token;

use std::path::Path;
use std::time::Duration;

use causeway::bridge::patient;
use causeway::device::DeviceId;
use causeway::doctor::{
    Cause, Clock, Diagnosis, Doctor, Limits, Mqtt, StepName, TestMessage, Verdict,
};

use crate::harness::bridge::config;
use crate::harness::pretended::Pretended;

/// An examination as the command makes it where no bridge runs.
struct Examination {
    doctor: Doctor,
    publish: Option<TestMessage>,
    watch: Duration,
}

impl Default for Examination {
    fn default() -> Self {
        Self {
            doctor: Doctor::default(),
            publish: None,
            watch: Duration::ZERO,
        }
    }
}

impl Examination {
    /// With a clock that differs from the machine's by so many seconds.
    fn with_clock_off_by(seconds: i64) -> Self {
        let now = std::time::SystemTime::now;
        let by = Duration::from_secs(seconds.unsigned_abs());
        let clock = match seconds {
            0.. => Clock::new(move || now() + by),
            _ => Clock::new(move || now() - by),
        };
        Self {
            doctor: Doctor {
                clock,
                ..Doctor::default()
            },
            ..Self::default()
        }
    }

    /// With less patience for what never answers.
    fn impatient() -> Self {
        let short = Duration::from_millis(300);
        Self {
            doctor: Doctor {
                limits: Limits {
                    address: short,
                    tls: short,
                    ..Limits::default()
                },
                ..Doctor::default()
            },
            ..Self::default()
        }
    }

    fn publishing(message: TestMessage) -> Self {
        Self {
            publish: Some(message),
            ..Self::default()
        }
    }

    async fn of(self, device: &str, text: &str, folder: &Path) -> Diagnosis {
        let config = config(text, folder);
        let patient = patient(&config, &DeviceId::parse(device).unwrap()).unwrap();
        let mqtt = Mqtt::Alone {
            publish: self.publish,
            watch: self.watch,
        };
        self.doctor.examine(&patient, mqtt, &mut |_| {}).await
    }
}

/// A device of a pretended akenza with its key in `NAME.pem`, and more lines of its connector.
fn akenza(broker: &Pretended, device: &str, more: &str) -> String {
    format!(
        "[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{}\"\n{more}\n\
         [devices.{device}]\nconnector = \"akenza\"\nprivate_key_file = \"{device}.pem\"\n",
        broker.addr()
    )
}

/// The device `pump-1` on a connector with the profile `plain`, with more lines for the connector.
fn plain(url: &str, more: &str) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"{url}\"\n{more}\n[devices.pump-1]\nconnector = \"local\"\n"
    )
}

async fn examine(text: &str) -> Diagnosis {
    Examination::default()
        .of("pump-1", text, ".".as_ref())
        .await
}

/// That a step failed with this cause, that what is said of it contains all this, and that nothing after it is said to
/// be well.
#[track_caller]
fn failed(diagnosis: &Diagnosis, step: StepName, cause: Cause, words: &[&str]) {
    found(diagnosis, step, Verdict::Failed, Some(cause), words);
    assert_eq!(diagnosis.verdict, Verdict::Failed);
    if step < StepName::Connect {
        let connect = diagnosis.step(StepName::Connect).unwrap();
        assert_eq!(connect.finding.verdict, Verdict::Skipped, "{diagnosis:#?}");
    }
}

/// That a step came to this, and that what is said of it contains all this.
#[track_caller]
fn found(
    diagnosis: &Diagnosis,
    step: StepName,
    verdict: Verdict,
    cause: Option<Cause>,
    words: &[&str],
) {
    let Some(found) = diagnosis.step(step) else {
        panic!("no step {step}: {diagnosis:#?}")
    };
    let finding = &found.finding;
    assert_eq!(
        (finding.verdict, finding.cause),
        (verdict, cause),
        "{diagnosis:#?}"
    );
    let facts = finding.facts.0.iter();
    let facts = facts.map(|(name, value)| format!("{name}: {value}"));
    let said = format!(
        "{} | {} | {}",
        finding.seen,
        finding.hint.as_deref().unwrap_or_default(),
        facts.collect::<Vec<_>>().join(" | ")
    );
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}
