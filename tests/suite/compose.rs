//! What the Compose file takes together fits together. That it starts is seen with a real Docker.

use std::collections::BTreeSet;
use std::fs;

use causeway::config::Config;

use crate::harness::markdown::project;

fn file(path: &str) -> String {
    let path = project().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of each service, by its name.
fn services(compose: &str) -> Vec<(&str, String)> {
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let (services, _) = services.split_once("\nvolumes:\n").unwrap();
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in services.lines() {
        let name = line
            .strip_prefix("  ")
            .filter(|l| !l.starts_with([' ', '#']));
        match name.map(|name| name.strip_suffix(':').unwrap_or(name)) {
            Some(name) => found.push((name, String::new())),
            _ => {
                if let Some((_, lines)) = found.last_mut() {
                    *lines += line;
                    lines.push('\n');
                }
            }
        }
    }
    // `<<: *NAME` stands for the lines of the service that is called `&NAME`.
    let anchors: Vec<(String, String)> = (found.iter())
        .filter_map(|(name, lines)| Some((name.split_once(": &")?.1.to_owned(), lines.clone())))
        .collect();
    for (name, lines) in &mut found {
        if let Some((own, _)) = name.split_once(": &") {
            *name = own;
        }
        for (anchor, of_anchor) in &anchors {
            if lines.contains(&format!("<<: *{anchor}\n")) {
                *lines += of_anchor;
            }
        }
    }
    found
}

#[test]
fn services_are_hardened_and_mount_what_is_there() {
    let compose = file("docker-compose.yml");
    let services = services(&compose);
    let names: Vec<_> = services.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "causeway",
            "mosquitto",
            "prometheus",
            "grafana",
            "causeway-1",
            "causeway-2",
            "causeway-3",
            "nats-1",
            "nats-2",
            "nats-3",
            "balancer",
        ]
    );
    for (name, lines) in &services {
        for setting in [
            "read_only: true",
            "cap_drop: [ALL]",
            "no-new-privileges:true",
        ] {
            assert!(lines.contains(setting), "{name}: {setting}");
        }
        // The bridge's is part of its image.
        let has_check = lines.contains("healthcheck:");
        let is_ours = name.starts_with("causeway");
        assert_eq!(has_check, !is_ours, "{name}");
        let profile = match *name {
            "causeway" | "mosquitto" => None,
            "prometheus" | "grafana" => Some("monitoring"),
            _ => Some("cluster"),
        };
        let of = lines.split_once("profiles: [").map(|(_, of)| of);
        assert_eq!(of.and_then(|of| of.split(']').next()), profile, "{name}");
        let is_extra = profile.is_some() && !is_ours;
        for line in lines.lines().map(str::trim) {
            if let Some(mount) = line.strip_prefix("- ./") {
                let (from, _) = mount.split_once(':').unwrap();
                assert!(project().join(from).exists(), "{name}: {from}");
                assert!(mount.ends_with(":ro"), "{name}: {mount}");
            }
            if let Some(image) = line.strip_prefix("image: ") {
                let is_pinned = image.contains(':') && !image.ends_with(":latest");
                assert_eq!(is_pinned, is_extra, "{name}: {image}");
            }
            // The only lists of texts in quotation marks are those of published ports.
            if let Some(port) = line.strip_prefix("- \"") {
                assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            }
            let setting = line.split('#').next().unwrap().to_uppercase();
            let names_secret = ["PASSWORD", "SECRET", "TOKEN"]
                .iter()
                .any(|word| setting.contains(word));
            assert!(
                !names_secret || setting.contains("/RUN/SECRETS"),
                "{name}: {line}"
            );
        }
    }
}

/// Compose builds for several services side by side, and whichever is second to name its image would find the name taken.
#[test]
fn no_two_services_name_what_they_build_alike() {
    let compose = file("docker-compose.yml");
    let mut named = BTreeSet::new();
    for (name, lines) in services(&compose) {
        let is_built = lines.contains("    build: ");
        let image = (lines.lines()).find_map(|line| line.trim().strip_prefix("image: "));
        if let Some(image) = image.filter(|_| is_built) {
            assert!(named.insert(image.to_owned()), "{name}: {image}");
        }
    }
    assert!(named.contains("causeway"), "{named:?}");
}

/// One Dockerfile for every architecture: it names none, neither by a platform nor in what it fetches.
#[test]
fn the_image_is_for_any_architecture() {
    let dockerfile = file("Dockerfile");
    let lines = dockerfile.lines().map(|line| line.trim().to_lowercase());
    for line in lines.filter(|line| !line.starts_with('#')) {
        for word in [
            "amd64",
            "x86",
            "arm64",
            "aarch64",
            "--platform",
            "target=",
            "curl",
            "wget",
        ] {
            assert!(!line.contains(word), "{word}: {line}");
        }
    }
}

#[test]
fn prometheus_finds_the_bridge_and_grafana_finds_prometheus() {
    let config = file("docker/causeway.toml");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), "let me in").unwrap();
    let config = config.replace("/run/secrets/mqtt_password", "password");
    let config = Config::from_text(&config, "causeway.toml", folder.path(), []).unwrap();
    let listen = config.management.listen;
    assert!(listen.ip().is_unspecified(), "{listen}: others reach it");
    let target = format!("targets: [\"causeway:{}\"]", listen.port());
    let prometheus = file("docker/prometheus.yml");
    assert!(prometheus.contains(&target), "{prometheus}");

    let compose = file("docker-compose.yml");
    let rules = "/etc/prometheus/alerts.yml";
    assert!(
        prometheus.contains(rules)
            && compose.contains(&format!("prometheus-alerts.yml:{rules}:ro"))
    );
    let source = file("docker/grafana/provisioning/datasources/prometheus.yml");
    assert!(source.contains("url: http://prometheus:9090\n"), "{source}");
    let provider = file("docker/grafana/provisioning/dashboards/causeway.yml");
    let (_, folder) = provider.split_once("path: ").unwrap();
    let folder = folder.trim();
    assert!(compose.contains(&format!("./docker/grafana/dashboards:{folder}:ro")));
    assert!(compose.contains(&format!("HOME_DASHBOARD_PATH: {folder}/causeway.json")));
}

/// Of what the replicas, their servers and their load balancer say of each other.
#[test]
fn replicas_find_their_servers_and_the_balancer_finds_them() {
    let compose = file("docker-compose.yml");
    let services = services(&compose);
    let config = file("docker/causeway-cluster.toml");
    let (nats, balancer) = (file("docker/nats.conf"), file("docker/haproxy.cfg"));
    for number in 1..=3 {
        let lines = |name: &str| {
            let service = services.iter().find(|(service, _)| *service == name);
            service.unwrap_or_else(|| panic!("no {name}")).1.as_str()
        };
        let (server, replica) = (format!("nats-{number}"), format!("causeway-{number}"));
        assert!(
            config.contains(&format!("\"nats://{server}:4222\"")),
            "{server}"
        );
        assert!(
            nats.contains(&format!("\"nats://{server}:6222\"")),
            "{server}"
        );
        assert!(
            lines(&server).contains(&format!("--name, {server}]")),
            "{server}"
        );
        assert!(
            lines(&server).contains(&format!("- {server}:/data")),
            "{server}"
        );
        assert!(compose.contains(&format!("\n  {server}:\n")), "{server}");
        let at_balancer = format!("server {replica} {replica}:8080\n");
        assert_eq!(balancer.matches(&at_balancer).count(), 2, "{replica}");
        assert!(
            lines(&replica).contains(&format!("hostname: {replica}\n")),
            "{replica}"
        );
    }
    let settings = [
        (&nats, "port: 4222"),
        (&nats, "port: 6222"),
        (&config, "listen = \"0.0.0.0:8080\""),
        (&config, "listen = \"0.0.0.0:9090\""),
        (&balancer, "check port 9090"),
        // Without a broker, and without NATS, replicas still do what they can.
        (&balancer, "uri /readyz?exclude=brokers\n"),
        (&balancer, "uri /readyz?exclude=brokers,store\n"),
        // Events of streams go on at once.
        (&balancer, "option http-no-delay\n"),
        // Sent twice, an uplink may arrive twice.
        (&balancer, "retry-on conn-failure\n"),
        (&nats, "max_payload: 2MB\n"),
        (&compose, "127.0.0.1:8090:8080"),
    ];
    for (text, setting) in settings {
        assert!(text.contains(setting), "{setting}");
    }
    let prometheus = file("docker/prometheus.yml");
    assert!(
        prometheus.contains("names: [\"replicas\"]") && compose.contains("aliases: [replicas]")
    );
    if cfg!(feature = "nats") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), "let me in").unwrap();
        let config = config.replace("/run/secrets/mqtt_password", "password");
        let config = Config::from_text(&config, "causeway.toml", folder.path(), []).unwrap();
        assert_eq!(config.store.servers.unwrap().replicas, 3);
        let envelope = 1024;
        assert!(config.http.max_body + envelope < 2 * 1024 * 1024);
        // All come from the load balancer's address.
        let connections = &config.http.connections;
        assert_eq!(connections.per_address, Some(connections.max));
    }
}
