//! `[cluster]`: how a replica is seen by the others. Only with a store that several processes can share.

use std::time::Duration;

use super::model::{Cluster, Store};
use super::section::Section;

const MAX_NAME: usize = 64;
const LEASE: Duration = Duration::from_secs(6);

pub(super) fn cluster(mut section: Section<'_>, store: &Store) -> Cluster {
    let name = section.text("name");
    let lease = section.duration(
        "lease",
        LEASE,
        Duration::from_secs(3)..=Duration::from_secs(60),
    );
    if store.servers.is_none() {
        for key in ["name", "lease"] {
            if section.has(key) {
                section.error(
                    key,
                    "has no effect without store.url: only a store on NATS JetStream is shared by several replicas",
                );
            }
        }
    }
    if let Some(name) = name
        && !is_name(name)
    {
        section.error(
            "name",
            format!("must have 1 to {MAX_NAME} bytes, and no control characters"),
        );
    }
    section.finish();
    Cluster {
        name: name.map_or_else(host_name, str::to_owned).into(),
        lease,
    }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// What the machine, or the container, is called.
fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    match is_name(&name) {
        true => name.into_owned(),
        false => "causeway".to_owned(),
    }
}
