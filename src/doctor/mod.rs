//! Why a device does not get through to its platform: one step after another, each with what was seen and what to do.
//!
//! ```text
//! configuration ─► dns ─► tcp ─► proxy ─► tls ─► websocket      way: connections of its own, without MQTT
//!               ─► certificate ─► token ─► clock                what there is to show, and when
//!               ─► connect ─► subscribe ─► publish ─► takeover  alone: as the device itself; beside: a session is asked
//! ```
//!
//! - [`Patient`]: what is examined
//! - [`Diagnosis`]: what it comes to
//! - `network`, `tls`, `web_socket`, `certificate`, `token`, `clock`, `connect`, `permission`, `takeover`: verdicts from evidence, without I/O
//! - `client`, `refusal`, `silence`: who connects, and what to do where the broker refuses that or says nothing
//! - `recognise`: what speaks on a port where the configured protocol does not come about
//!
//! Nothing here disturbs a running bridge: where one runs, only its own session speaks MQTT ([`Mqtt::Beside`]).

mod alone;
mod beside;
mod certificate;
mod client;
mod clock;
mod connect;
mod facts;
mod network;
mod notes;
mod patient;
mod permission;
mod recognise;
mod refusal;
mod report;
mod silence;
mod takeover;
mod tls;
mod token;
mod way;
mod web_socket;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub use clock::Clock;
pub use facts::Facts;
pub use notes::Progress;
pub use patient::{Fault, Outlet, Patient, TestMessage};
pub use report::{Cause, Diagnosis, Examiner, Finding, Step, StepName, Verdict};

use crate::mqtt::transport::Endpoint;
use crate::registry::Device;
use crate::uplink::Uplinks;
use alone::Alone;
use beside::Beside;
use certificate::Shown;
use notes::Notebook;
use way::{Seen, Way};

/// How long each part may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Looking a name up. Default 5 s.
    pub dns: Duration,
    /// Connecting to one address. Default 5 s.
    pub address: Duration,
    /// Connecting to all of them. Default 15 s.
    pub tcp: Duration,
    /// The TLS handshake. Default 10 s.
    pub tls: Duration,
    /// How long a broker may take to refuse a client certificate behind the handshake, at least. Default 300 ms.
    pub refusal: Duration,
    /// An answer to SUBSCRIBE or PUBLISH. Default 10 s.
    pub answer: Duration,
    /// An attempt of the running bridge to connect. Default 25 s.
    pub attempt: Duration,
    /// All of it; what is not reached by then is skipped. Default 2 min.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            dns: seconds(5),
            address: seconds(5),
            tcp: seconds(15),
            tls: seconds(10),
            refusal: Duration::from_millis(300),
            answer: seconds(10),
            attempt: seconds(25),
            total: seconds(120),
        }
    }
}

/// Who speaks MQTT with the broker.
#[derive(Debug)]
pub enum Mqtt<'a> {
    /// The examination connects as the device. Only where no bridge does: it would take the connection over.
    Alone {
        /// What to publish; nothing by default.
        publish: Option<TestMessage>,
        /// How long to look for another client with the same client id.
        watch: Duration,
    },
    /// The running bridge's session is asked.
    Beside {
        /// The device as it is registered.
        device: &'a Arc<Device>,
        /// The bridge's road out, for a test message.
        uplinks: &'a Uplinks,
        /// What to publish; nothing by default.
        publish: Option<TestMessage>,
    },
    /// Nobody, for this reason.
    Nobody(String),
}

/// Examines devices.
#[derive(Debug, Clone)]
pub struct Doctor {
    /// What is taken for the time.
    pub clock: Clock,
    /// How long each part may take.
    pub limits: Limits,
}

impl Default for Doctor {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            limits: Limits::default(),
        }
    }
}

impl Doctor {
    /// Examines one device. `watch` is told of each step as it begins and ends.
    pub async fn examine(
        &self,
        patient: &Patient,
        mqtt: Mqtt<'_>,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Diagnosis {
        let at = self.clock.now();
        let mut notes = Notebook::new(self.limits.total, watch);
        notes.note(StepName::Configuration, configuration(patient));
        let endpoint = patient
            .endpoint
            .as_ref()
            .map(|endpoint| self.by_our_clock(endpoint));
        let way = endpoint.as_ref().map(|endpoint| Way {
            endpoint,
            clock: &self.clock,
            limits: &self.limits,
        });
        let seen = match &way {
            Some(way) => way.examine(&mut notes).await,
            None => Seen::default(),
        };
        if let Some(problem) = patient.fault(StepName::Tls) {
            let hint = "correct what ca_file or server_name names";
            let finding = Finding::failed(Cause::InvalidConfiguration, problem).hint(hint);
            notes.note(StepName::Tls, finding);
        }
        self.identify(patient, &seen, &mut notes);
        let by = match &mqtt {
            Mqtt::Beside { .. } => Examiner::Bridge,
            Mqtt::Alone { .. } | Mqtt::Nobody(_) => Examiner::Command,
        };
        self.speak(patient, mqtt, way.as_ref(), &seen, &mut notes)
            .await;
        let steps = notes.into_steps();
        Diagnosis {
            device: patient.device.clone(),
            connector: patient.connector.clone(),
            profile: patient.profile.clone(),
            broker: patient.broker.clone(),
            by,
            at: report::moment(at),
            verdict: Diagnosis::worst(&steps),
            steps,
        }
    }

    /// Client certificate, token and clock.
    fn identify(&self, patient: &Patient, seen: &Seen, notes: &mut Notebook<'_>) {
        let now = self.clock.now();
        let tls = patient
            .endpoint
            .as_ref()
            .and_then(|endpoint| endpoint.tls.as_ref());
        let shown = Shown {
            identity: tls.and_then(|tls| tls.identity.as_ref()),
            met: seen.met,
            asked: seen.asked.clone(),
            refusal: seen.refusal.as_ref(),
        };
        match patient.fault(StepName::Certificate) {
            Some(problem) => notes.note(StepName::Certificate, unusable_certificate(problem)),
            None => {
                if let Some(finding) = certificate::judge(&shown, now) {
                    notes.note(StepName::Certificate, finding);
                }
            }
        }
        let token = match patient.fault(StepName::Token) {
            Some(problem) => Some(token::unusable(problem)),
            None => (patient.connect.as_ref()).and_then(|connect| token::examine(connect, now)),
        };
        if let Some(finding) = token {
            notes.note(StepName::Token, finding);
        }
        notes.note(StepName::Clock, clock::judge(now, &seen.evidence));
    }

    async fn speak(
        &self,
        patient: &Patient,
        mqtt: Mqtt<'_>,
        way: Option<&Way<'_>>,
        seen: &Seen,
        notes: &mut Notebook<'_>,
    ) {
        const STEPS: [StepName; 4] = [
            StepName::Connect,
            StepName::Subscribe,
            StepName::Publish,
            StepName::Takeover,
        ];
        if notes.is_over(&STEPS) {
            return;
        }
        let now = self.clock.now();
        let Some(connect) = &patient.connect else {
            let why = match patient.device {
                Some(_) => "the device cannot connect with what is configured",
                None => "no device is registered on this connector yet",
            };
            return not_reached(notes, &STEPS, why);
        };
        let client = patient.client(connect, now);
        match (mqtt, way) {
            (Mqtt::Nobody(why), _) => {
                let finding = Finding::warning(Cause::BridgeRuns, format!("not looked at: {why}"));
                notes.note(StepName::Connect, finding);
                not_reached(notes, &STEPS[1..], "it needs the step connect");
            }
            // Its session may be connected although the way is not free any more.
            (
                Mqtt::Beside {
                    device,
                    uplinks,
                    publish,
                },
                way,
            ) => {
                let beside = Beside {
                    device,
                    uplinks,
                    way: way.filter(|_| seen.open),
                    client,
                };
                beside
                    .examine(publish.as_ref(), self.limits.attempt, notes)
                    .await;
            }
            (Mqtt::Alone { publish, watch }, Some(way)) if seen.open => {
                let alone = Alone {
                    patient,
                    connect,
                    way,
                    client,
                };
                alone.examine(publish.as_ref(), watch, notes).await;
            }
            (Mqtt::Alone { .. }, _) => {
                not_reached(notes, &STEPS, "there is no way to the broker, see above");
            }
        }
    }

    /// The way with certificates held against our clock, and none left out because a session was resumed.
    fn by_our_clock(&self, endpoint: &Endpoint) -> Endpoint {
        let tls = endpoint.tls.as_ref();
        Endpoint {
            tls: tls.map(|tls| way::by_clock(tls, &self.clock)),
            ..endpoint.clone()
        }
    }
}

fn configuration(patient: &Patient) -> Finding {
    if let Some(problem) = patient.fault(StepName::Configuration) {
        return Finding::failed(Cause::InvalidConfiguration, problem)
            .hint("causeway check tells everything that is wrong with the configuration");
    }
    match patient.warnings.as_slice() {
        [] => Finding::ok(match &patient.device {
            Some(device) => format!(
                "{device} is on {} with the profile {}",
                patient.connector, patient.profile
            ),
            None => format!(
                "{} has the profile {} and no device yet",
                patient.connector, patient.profile
            ),
        }),
        warnings => Finding::warning(Cause::ConfigurationWarning, warnings.join("; ")),
    }
}

fn unusable_certificate(problem: &str) -> Finding {
    let (cause, hint) = match problem.contains("passphrase") {
        true => (
            Cause::WrongPassphrase,
            "check passphrase_file: it holds the passphrase that came with the certificate and nothing else",
        ),
        false => (
            Cause::ClientCertificateUnusable,
            "check identity_file and identity_key_file: certificate and key as the platform handed them out",
        ),
    };
    Finding::failed(cause, problem).hint(hint)
}

/// Steps that need what an earlier one did not bring: the first of them says why.
fn not_reached(notes: &mut Notebook<'_>, steps: &[StepName], why: &str) {
    for (place, step) in steps.iter().enumerate() {
        let seen = match place {
            0 => format!("not reached: {why}"),
            _ => "not reached".to_owned(),
        };
        notes.note(*step, Finding::skipped(Cause::Unreachable, seen));
    }
}
