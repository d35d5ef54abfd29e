//! `causeway doctor`: why a device does not get through, one step after another.
//!
//! Where a bridge runs with the same configuration, it is asked: connecting as one of its devices would take that
//! device's connection over.
//!
//! - `ask`: the running bridge
//! - `cluster`: the replicas that share its store
//! - `print`: what is shown

mod ask;
mod cluster;
mod print;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::error::CliError;
use super::{ConfigFile, signals, token};
use crate::bridge;
use crate::config::{Config, ConfigError, read_secret};
use crate::device::DeviceId;
use crate::doctor::{Diagnosis, Doctor, Mqtt, Patient, Progress, StepName, TestMessage, Verdict};
use crate::secret::Secret;
use crate::store;
use crate::topic::SubTopic;
use ask::{Bridge, Heard};
use cluster::Cluster;
use print::Printer;

const EXAMPLES: &str = "\
Examples:
  causeway doctor                                      every connector, each with its first device
  causeway doctor pump-1 --verbose
  causeway doctor pump-1 --publish='{\"temperature\": 21.5}'
  causeway doctor pump-1 --watch 2m                    look longer for a second client with the same id
  causeway doctor --json | jq '.diagnoses[].steps[] | select(.verdict == \"failed\")'

Where a bridge runs with this configuration, it is asked, and nothing connects as its devices. Without one, doctor
connects as the device itself for a few seconds.

Exit codes: 0 nothing failed, 1 something failed, 2 wrong usage, 78 the configuration is not valid.";

/// Find out why a device does not get through: name, connection, TLS, keys, clock, CONNECT and permissions, each with what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The device to examine; without one, every connector with its first device
    #[arg(value_name = "DEVICE")]
    device: Option<DeviceId>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
    /// Show the details of every step, and not only where they help
    #[arg(long, short)]
    verbose: bool,
    /// Publish one uplink of the device, with this payload or a tiny one: it reaches the platform
    #[arg(long, value_name = "PAYLOAD", num_args = 0..=1, require_equals = true, default_missing_value = "", requires = "device")]
    publish: Option<String>,
    /// Publish it to this sub-topic
    #[arg(long, value_name = "SUBTOPIC", requires = "publish", value_parser = SubTopic::parse)]
    subtopic: Option<SubTopic>,
    /// How long to look for another client with the same client id, at most 10min; a running bridge knows without
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = watch_time)]
    watch: Duration,
    /// A file with a token of the running bridge's, with the scope devices:write, where it asks for one
    #[arg(long, value_name = "FILE", conflicts_with = "alone")]
    token_file: Option<PathBuf>,
    /// Connect as the device even where a bridge runs: takes its connection over for these seconds
    #[arg(long)]
    alone: bool,
}

/// The longest that is watched.
const MAX_WATCH: Duration = Duration::from_secs(600);

fn watch_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time <= MAX_WATCH => Ok(time),
        Ok(_) => Err("10min at the most".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    verdict: Verdict,
    /// What is wrong with the configuration, where nothing could be examined for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
    /// The replicas that share the store, where it is on NATS JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
    diagnoses: Vec<Diagnosis>,
}

impl Args {
    pub(super) fn run(self) -> Result<(), CliError> {
        let config = match self.config.load() {
            Ok(config) => config,
            Err(error) => return Err(self.invalid(error)),
        };
        let token = self.token_file.as_deref().map(read_secret).transpose()?;
        signals::run(|shutdown| async move {
            tokio::select! {
                outcome = self.examine(&config, token.as_ref()) => outcome,
                () = shutdown.cancelled() => Err(CliError::Failed("broken off".to_owned())),
            }
        })
    }

    fn invalid(&self, error: ConfigError) -> CliError {
        if self.json {
            let problems = error.problems().iter().map(ToString::to_string);
            let report = Report {
                verdict: Verdict::Failed,
                problems: problems.collect(),
                cluster: None,
                diagnoses: Vec::new(),
            };
            if let Err(error) = print::json(&report) {
                return error;
            }
        }
        error.into()
    }

    async fn examine(&self, config: &Config, token: Option<&Secret>) -> Result<(), CliError> {
        let mut printer = Printer::new(!self.json, self.verbose);
        let cluster = cluster::examine(config).await;
        if let Some(cluster) = &cluster {
            printer.cluster(cluster)?;
        }
        let others = cluster.as_ref();
        let mut diagnoses = Vec::new();
        match &self.device {
            Some(device) => {
                let patient = bridge::patient(config, device);
                diagnoses.push(
                    self.one(config, token, device, patient, others, &mut printer)
                        .await?,
                );
            }
            None => {
                let patients = bridge::patients(config);
                if patients.is_empty() {
                    let text = "the configuration has no connectors, and so nothing to examine";
                    return Err(CliError::Failed(text.to_owned()));
                }
                for patient in patients {
                    let diagnosis = match patient.device.clone() {
                        Some(device) => {
                            let patient = Some(patient);
                            self.one(config, token, &device, patient, others, &mut printer)
                                .await?
                        }
                        None => self.here(&patient, None, &mut printer).await?,
                    };
                    diagnoses.push(diagnosis);
                }
            }
        }
        let worst = diagnoses.iter().map(|diagnosis| diagnosis.verdict);
        let worst = worst.chain(cluster.as_ref().map(|of| of.verdict)).max();
        let report = Report {
            verdict: worst.unwrap_or(Verdict::Ok),
            problems: Vec::new(),
            cluster,
            diagnoses,
        };
        if self.json {
            print::json(&report)?;
        }
        match report.verdict {
            Verdict::Failed if printer.is_read() => Err(CliError::Shown),
            Verdict::Failed => Err(CliError::Failed(print::summary(&report))),
            _ => Ok(()),
        }
    }

    /// One device: by the running bridge, or here.
    async fn one(
        &self,
        config: &Config,
        token: Option<&Secret>,
        device: &DeviceId,
        patient: Option<Patient>,
        others: Option<&Cluster>,
        printer: &mut Printer,
    ) -> Result<Diagnosis, CliError> {
        let nobody = match self.alone {
            true => None,
            false => {
                let bridge = Bridge::of(config);
                printer.asking(device, &bridge.url())?;
                match bridge.ask(device, self.message().as_ref(), token).await {
                    Heard::Diagnosis(diagnosis) => {
                        printer.all(&diagnosis, &bridge.url())?;
                        return Ok(*diagnosis);
                    }
                    Heard::Nobody => hidden_bridge(config, others),
                    Heard::Refusal(why) => Some(why),
                }
            }
        };
        let Some(patient) = patient else {
            // Says which devices there are.
            return match token::find(config, device) {
                Err(error) => Err(error),
                Ok(_) => Err(CliError::Failed(format!("{device} cannot be examined"))),
            };
        };
        self.here(&patient, nobody, printer).await
    }

    async fn here(
        &self,
        patient: &Patient,
        nobody: Option<String>,
        printer: &mut Printer,
    ) -> Result<Diagnosis, CliError> {
        let mqtt = match nobody {
            Some(why) => Mqtt::Nobody(why),
            None => Mqtt::Alone {
                publish: self.message(),
                watch: self.watch,
            },
        };
        printer.head(patient)?;
        let mut broken = None;
        let mut show = |progress: Progress<'_>| {
            let shown = match progress {
                Progress::Begins(step) => printer.begins(step),
                Progress::Ends(step) => printer.ends(step),
            };
            if let Err(error) = shown {
                broken.get_or_insert(error);
            }
        };
        let diagnosis = Doctor::default().examine(patient, mqtt, &mut show).await;
        match broken {
            Some(error) => Err(error),
            None => {
                printer.foot(&diagnosis)?;
                Ok(diagnosis)
            }
        }
    }

    fn message(&self) -> Option<TestMessage> {
        let payload = self.publish.as_deref()?;
        Some(TestMessage {
            payload: (!payload.is_empty()).then(|| Bytes::copy_from_slice(payload.as_bytes())),
            content_type: None,
            subtopic: self.subtopic.clone(),
        })
    }
}

/// A bridge that does not answer where this configuration says, but has its store open.
fn hidden_bridge(config: &Config, others: Option<&Cluster>) -> Option<String> {
    if let Some(others) = others.filter(|others| !others.alive.is_empty()) {
        return Some(format!(
            "no bridge answers at {}, but {} may have its connection. Ask there, or use --alone to take it over for some \
             seconds",
            config.http.listen,
            others.alive.join(", ")
        ));
    }
    let path = config.store.path.as_ref()?;
    store::Embedded::is_in_use(path).then(|| {
        format!(
            "a bridge has {} open and does not answer at {}. Stop it, or use --alone to take its connection over for some \
             seconds",
            path.display(),
            config.http.listen
        )
    })
}

/// The steps that are worth their details even where all is well: they are what one compares with the platform.
fn has_details(step: StepName) -> bool {
    matches!(step, StepName::Token | StepName::Certificate)
}
