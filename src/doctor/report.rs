//! What an examination comes to: steps in their order, each with what was seen and what to do. The same over HTTP and
//! from the command line.

use std::fmt;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::facts::Facts;
use crate::device::{ConnectorName, DeviceId};

/// One examination.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// The device; absent where a connector has none yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, example = "pump-1")]
    pub device: Option<DeviceId>,
    /// Its connector.
    #[schema(value_type = String, example = "akenza")]
    pub connector: ConnectorName,
    /// The connector's profile.
    #[schema(example = "akenza-device")]
    pub profile: String,
    /// Where its broker is.
    #[schema(example = "mqtts://mqtt.akenza.io:8883")]
    pub broker: String,
    /// Who looked: a running bridge, or the command by itself.
    pub by: Examiner,
    /// When it began.
    #[schema(example = "2026-01-31T12:00:00Z")]
    pub at: String,
    /// The worst that was found.
    pub verdict: Verdict,
    /// What was looked at, in its order. What does not apply is left out.
    pub steps: Vec<Step>,
}

/// Who looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DiagnosisExaminer)]
pub enum Examiner {
    /// The running bridge, which knows how its session is doing.
    Bridge,
    /// `causeway doctor`, which connected as the device itself.
    Command,
}

/// One step.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = DiagnosisStep)]
pub struct Step {
    /// Which.
    pub step: StepName,
    /// What it came to.
    #[serde(flatten)]
    pub finding: Finding,
    /// How long it took, in milliseconds.
    #[schema(example = 12)]
    pub took_ms: u64,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DiagnosisFinding)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What is wrong, by a name that does not change; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<Cause>,
    /// What was seen.
    #[schema(example = "127.0.0.1:8883 refuses connections: nothing listens there")]
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "check host and port in the connector's url")]
    pub hint: Option<String>,
    /// Details, by name. Never a secret.
    #[serde(skip_serializing_if = "Facts::is_empty", default)]
    #[schema(value_type = std::collections::HashMap<String, String>, example = json!({"kid": "9f86d081884c7d65"}))]
    pub facts: Facts,
}

/// The steps, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DiagnosisStepName)]
pub enum StepName {
    /// What is written down, and the files that it names.
    Configuration,
    /// The host's name becomes addresses: the broker's, or the proxy's where there is one.
    Dns,
    /// One of them takes a connection.
    Tcp,
    /// The proxy opens a tunnel.
    Proxy,
    /// The TLS handshake, and the broker's certificate.
    Tls,
    /// The client certificate and its key.
    Certificate,
    /// The handshake of a WebSocket.
    WebSocket,
    /// The key that signs tokens, and what they say.
    Token,
    /// This machine's clock against what others say.
    Clock,
    /// CONNECT and its answer.
    Connect,
    /// The device's subscriptions.
    Subscribe,
    /// One message, where that is wished.
    Publish,
    /// Whether another client has the same client id.
    Takeover,
}

/// How a step is. The worst is the greatest.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = DiagnosisVerdict)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not looked at; the text says why.
    Skipped,
    /// It works, but should be seen to; or it may be wrong.
    Warning,
    /// Nothing gets through like this.
    Failed,
}

/// What can be wrong, by names that do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the documentation")]
#[schema(as = DiagnosisCause)]
pub enum Cause {
    InvalidConfiguration,
    ConfigurationWarning,
    UnknownHost,
    NoNameServer,
    PortClosed,
    Filtered,
    NoRoute,
    DeadAddress,
    NotAProxy,
    ProxyCredentials,
    ProxyRefused,
    ProxyUnreachable,
    PlainPort,
    TlsPort,
    WebSocketPort,
    NotWebSocket,
    NotMqtt,
    ServerCertificateExpired,
    ServerCertificateNotYetValid,
    ServerCertificateExpiresSoon,
    ServerCertificateUnusable,
    IssuerUnknown,
    SelfSigned,
    OtherName,
    TlsRefused,
    NoAnswer,
    HungUp,
    ClientCertificateDemanded,
    ClientCertificateUnasked,
    ClientCertificateRefused,
    ClientCertificateUnusable,
    ClientCertificateExpired,
    ClientCertificateNotYetValid,
    ClientCertificateExpiresSoon,
    KeyUnusable,
    WrongPassphrase,
    TokenImpossible,
    ClockOff,
    Version,
    ClientIdRefused,
    CredentialsRefused,
    NotAuthorized,
    Banned,
    Unavailable,
    Redirected,
    Refused,
    SubscriptionRefused,
    PublishRefused,
    PublishNotCarried,
    PublishUnconfirmed,
    TakenOver,
    DownlinksTouched,
    Unreachable,
    NotAsked,
    BridgeRuns,
    OutOfTime,
}

impl Diagnosis {
    /// The step of this name, if it is there.
    pub fn step(&self, name: StepName) -> Option<&Step> {
        self.steps.iter().find(|step| step.step == name)
    }

    /// The worst of some steps.
    pub(super) fn worst(steps: &[Step]) -> Verdict {
        let verdicts = steps.iter().map(|step| step.finding.verdict);
        match verdicts.max() {
            // That something was not looked at is nothing bad in itself.
            Some(Verdict::Skipped) | None => Verdict::Ok,
            Some(worst) => worst,
        }
    }
}

impl Finding {
    fn new(verdict: Verdict, seen: impl Into<String>) -> Self {
        Self {
            verdict,
            cause: None,
            seen: seen.into(),
            hint: None,
            facts: Facts::default(),
        }
    }

    /// As it should be.
    pub(crate) fn ok(seen: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, seen)
    }

    /// Not looked at.
    pub(crate) fn skipped(cause: Cause, seen: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, seen).cause(cause)
    }

    /// It works, but.
    pub(crate) fn warning(cause: Cause, seen: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, seen).cause(cause)
    }

    /// It does not work.
    pub(crate) fn failed(cause: Cause, seen: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, seen).cause(cause)
    }

    fn cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One more detail.
    pub(crate) fn fact(mut self, name: &str, value: impl ToString) -> Self {
        self.facts.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// One more detail that is a moment.
    pub(crate) fn moment(self, name: &str, at: SystemTime) -> Self {
        self.fact(name, moment(at))
    }
}

impl StepName {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::WebSocket => "websocket",
            Self::Token => "token",
            Self::Clock => "clock",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Takeover => "takeover",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A moment as it is shown.
pub(super) fn moment(at: SystemTime) -> String {
    format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(verdict: Verdict) -> Step {
        Step {
            step: StepName::Dns,
            finding: Finding::new(verdict, "seen"),
            took_ms: 1,
        }
    }

    #[test]
    fn the_worst_counts_and_what_was_not_looked_at_does_not() {
        use Verdict::{Failed, Ok, Skipped, Warning};
        for (all, worst) in [
            (&[][..], Ok),
            (&[Ok, Skipped], Ok),
            (&[Warning, Skipped, Ok], Warning),
            (&[Skipped, Failed, Warning], Failed),
        ] {
            let steps: Vec<_> = all.iter().map(|verdict| step(*verdict)).collect();
            assert_eq!(Diagnosis::worst(&steps), worst);
        }
    }

    #[test]
    fn what_is_answered_is_read_back_as_it_was() {
        let finding = Finding::failed(Cause::ClockOff, "wrong")
            .hint("set it")
            .fact("z", 1)
            .fact("a", 2);
        let step = Step {
            step: StepName::WebSocket,
            finding,
            took_ms: 7,
        };
        let text = serde_json::to_string(&step).unwrap();
        assert_eq!(
            text,
            r#"{"step":"websocket","verdict":"failed","cause":"clock-off","seen":"wrong","hint":"set it","facts":{"z":"1","a":"2"},"took_ms":7}"#
        );
        let read: Step = serde_json::from_str(&text).unwrap();
        assert_eq!((read.step, read.finding), (step.step, step.finding));
    }

    #[test]
    fn steps_are_named_as_they_are_written() {
        for step in [
            StepName::Configuration,
            StepName::WebSocket,
            StepName::Takeover,
        ] {
            let text = serde_json::to_value(step).unwrap();
            assert_eq!(text, step.as_str());
        }
    }
}
