//! The replicas that share the store, seen from outside: one line before everything else.

use serde::Serialize;

use crate::config::Config;
use crate::doctor::Verdict;

/// What there is to say of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Cluster {
    pub(super) verdict: Verdict,
    pub(super) seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<&'static str>,
    /// The names of those who run.
    #[serde(skip)]
    pub(super) alive: Vec<String>,
}

/// `None` where the store is a file, or there is none.
#[cfg(feature = "nats")]
pub(super) async fn examine(config: &Config) -> Option<Cluster> {
    let servers = config.store.servers.as_ref()?;
    Some(match crate::cluster::Look::at(servers).await {
        Ok(look) => told(&look, &config.digest()),
        Err(error) => Cluster {
            verdict: Verdict::Failed,
            seen: error.to_string(),
            hint: Some(
                "see to store.url and what belongs to it, and to nats-server; without it no session runs for longer than \
                 cluster.lease",
            ),
            alive: Vec::new(),
        },
    })
}

#[cfg(not(feature = "nats"))]
pub(super) async fn examine(_: &Config) -> Option<Cluster> {
    None
}

#[cfg(feature = "nats")]
fn told(look: &crate::cluster::Look, configuration: &str) -> Cluster {
    let alive = look.alive();
    let answers = format!(
        "nats-server answers in {:.1} ms",
        look.round_trip.as_secs_f64() * 1000.0
    );
    let silent = look.members.iter().filter(|seen| seen.is_silent);
    let silent: Vec<_> = silent.map(|seen| &*seen.name).collect();
    let who = match alive.as_slice() {
        [] => "no replica runs".to_owned(),
        [one] => format!("one replica runs: {one}"),
        some => format!("{} replicas run: {}", some.len(), some.join(", ")),
    };
    let late = match silent.as_slice() {
        [] => String::new(),
        some => format!("; no sign of life from {}", some.join(", ")),
    };
    let vacant = match look.vacant {
        _ if alive.is_empty() => String::new(),
        none if none.is_empty() => "; they have all partitions".to_owned(),
        some => format!("; nobody has the partitions {some}"),
    };
    let unlike = look.others_than(configuration);
    let other = match unlike.as_slice() {
        [] => String::new(),
        some => format!(
            "; another configuration than this file: {}",
            some.join(", ")
        ),
    };
    let is_bad = !silent.is_empty() || !look.vacant.is_empty();
    let (verdict, hint) = match alive.is_empty() {
        true => (Verdict::Ok, None),
        false if is_bad => (
            Verdict::Warning,
            Some("look again in some seconds: partitions may be moving; GET /v1/cluster says more"),
        ),
        false if !unlike.is_empty() => (
            Verdict::Warning,
            Some(
                "give all replicas the same connectors, devices and access; what one of them does not know, it refuses",
            ),
        ),
        false => (Verdict::Ok, None),
    };
    Cluster {
        verdict,
        seen: format!("{answers}; {who}{late}{vacant}{other}"),
        hint,
        alive: alive.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
#[cfg(feature = "nats")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::{Look, Partition, Partitions, Seen};

    #[test]
    fn it_is_said_who_runs_and_what_is_missing() {
        let seen = |name: &str, partitions, is_silent| Seen {
            name: name.into(),
            partitions,
            configuration: Some("same".into()),
            is_silent,
        };
        let told = |look: &Look| super::told(look, "same");
        let all = Partitions::ALL;
        let look = |members, vacant| Look {
            round_trip: Duration::from_micros(1250),
            members,
            vacant,
        };
        let fine = told(&look(
            vec![seen("a", all, false), seen("b", all, false)],
            Partitions::NONE,
        ));
        assert_eq!(
            (fine.verdict, &*fine.seen),
            (
                Verdict::Ok,
                "nats-server answers in 1.2 ms; 2 replicas run: a, b; they have all partitions"
            )
        );
        let vacant = Partition::new(7).unwrap().into();
        let bad = told(&look(
            vec![seen("a", all, false), seen("b", vacant, true)],
            vacant,
        ));
        assert_eq!(bad.verdict, Verdict::Warning);
        let end = "one replica runs: a; no sign of life from b; nobody has the partitions 7";
        assert!(bad.seen.ends_with(end), "{}", bad.seen);
        let unlike = look(vec![seen("a", all, false)], Partitions::NONE);
        let unlike = super::told(&unlike, "other");
        assert_eq!(unlike.verdict, Verdict::Warning);
        let end = "; another configuration than this file: a";
        assert!(unlike.seen.ends_with(end), "{}", unlike.seen);
        let nobody = told(&look(Vec::new(), all));
        assert_eq!(nobody.verdict, Verdict::Ok);
        assert!(
            nobody.seen.ends_with("; no replica runs"),
            "{}",
            nobody.seen
        );
    }
}
