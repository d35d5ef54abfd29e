//! Another configuration while the bridge runs: on SIGHUP, and when a file changes.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::causeway::causeway;
use crate::harness::certificates::{Authority, Identity};
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::program::Program;
use crate::harness::subscriber::Subscriber;

/// The program with a configuration file that the test writes.
struct Plant {
    folder: TempDir,
    port: Port,
    management: Port,
    program: Program,
}

impl Plant {
    async fn start(files: &[(&str, &str)], config: &str) -> Self {
        let (folder, port, management) = (
            tempfile::tempdir().unwrap(),
            Port::reserve(),
            Port::reserve(),
        );
        for (name, content) in files {
            write(folder.path(), name, content);
        }
        let text = with_listeners(&port, &management, config);
        write(folder.path(), "causeway.toml", &text);
        let env = [("NO_COLOR", "1"), ("CAUSEWAY__HTTP__WAIT", "7s")];
        let program = causeway(folder.path(), &["serve"], &env);
        program.stderr().wait_for("serving http").await;
        Self {
            folder,
            port,
            management,
            program,
        }
    }

    fn http(&self) -> Http {
        Http::new(self.port.addr())
    }

    /// Puts another configuration in the place of the one that there is, in one step, as careful programs do.
    fn change(&self, config: &str) {
        let text = with_listeners(&self.port, &self.management, config);
        write(self.folder.path(), "new", &text);
        let file = self.folder.path().join("causeway.toml");
        std::fs::rename(self.folder.path().join("new"), file).unwrap();
    }

    /// The same, and does not wait until it is noticed.
    async fn change_now(&self, config: &str) {
        let before = self.reloads().await;
        self.change(config);
        self.program.signal("HUP");
        self.until_reloaded(before).await;
    }

    /// Configurations that were taken over, and those that were refused.
    async fn reloads(&self) -> (u64, u64) {
        let figures = Http::new(self.management.addr()).get("/metrics").await;
        let of = |outcome: &str| {
            let series = format!("causeway_config_reloads_total{{outcome=\"{outcome}\"}} ");
            let value = figures
                .text()
                .lines()
                .find_map(|line| line.strip_prefix(&series));
            value.unwrap().parse().unwrap()
        };
        (of("applied"), of("refused"))
    }

    async fn until_reloaded(&self, before: (u64, u64)) {
        eventually("the configuration to be looked at", DEADLINE, async || {
            self.reloads().await != before
        })
        .await;
    }

    async fn connects(&self, device: &str) -> Value {
        self.connects_over(&self.http(), device).await
    }

    async fn connects_over(&self, http: &Http, device: &str) -> Value {
        let session = http.get(&format!("/v1/devices/{device}/session")).await;
        session.json()["counters"]["connects"].clone()
    }

    async fn delivered(&self, device: &str, payload: &str) {
        let reply = self.post(device, payload).await;
        assert_eq!(reply.status, 200, "{device}: {}", reply.text());
    }

    async fn post(&self, device: &str, payload: &str) -> Reply {
        let path = format!("/v1/devices/{device}/uplinks");
        let request = self.http().request(Method::POST, &path);
        Reply::to(request.header("prefer", "wait=30").body(payload.to_owned())).await
    }
}

/// A configuration that begins with `[http]` has more lines for that section.
fn with_listeners(port: &Port, management: &Port, config: &str) -> String {
    format!(
        "[management]\nlisten = \"{}\"\n[http]\nlisten = \"{}\"\n{}",
        management.addr(),
        port.addr(),
        config.strip_prefix("[http]\n").unwrap_or(config)
    )
}

fn write(folder: &Path, name: &str, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Three devices with connections of their own, which log in with secrets in files; one on a shared connection.
fn config(broker: &Mosquitto) -> String {
    let addr = broker.addr();
    format!(
        r#"
[connectors.own]
profile = "plain"
url = "mqtt://{addr}"
override.session = "device"
override.connect.client_id = "own-{{device}}"
variables.username = "plant"
secret_file = "secret"
[connectors.local]
profile = "plain"
url = "mqtt://{addr}"
variables.username = "plant"
secret_file = "secret"
[devices]
pump = {{ connector = "own" }}
valve = {{ connector = "own", secret_file = "valve.secret" }}
gauge = {{ connector = "own" }}
shared = {{ connector = "local" }}
"#
    )
}

const FILES: [(&str, &str); 2] = [("secret", "right\n"), ("valve.secret", "right\n")];

async fn broker() -> Mosquitto {
    Mosquitto::builder()
        .config("log_type all")
        .user("plant", "right")
        .user("other", "newer")
        .start()
        .await
}

/// How often a client has connected, as the broker tells it.
fn accepted(broker: &Mosquitto, client_id: &str) -> usize {
    let of_client = format!(" as {client_id} (");
    let log = broker.log().all();
    log.iter()
        .filter(|line| line.contains("New client connected") && line.contains(&of_client))
        .count()
}

#[tokio::test]
async fn what_has_not_changed_keeps_its_connection() {
    let broker = broker().await;
    let observer = Subscriber::start(&broker.access().user("plant", "right"), &["#"]).await;
    let text = config(&broker);
    let plant = Plant::start(&FILES, &text).await;
    for device in ["pump", "valve", "gauge", "shared"] {
        plant.delivered(device, "1").await;
    }
    let listener = plant
        .http()
        .events("/v1/devices/gauge/downlinks", None)
        .await;
    // One changes, one goes, one comes, one joins a connection that there is.
    let other = text
        .replace(
            "valve = { connector = \"own\", secret_file",
            "valve = { connector = \"own\", variables = { username = \"other\" }, secret_file",
        )
        .replace("gauge = { connector = \"own\" }\n", "")
        .replace(
            "shared = {",
            "drive = { connector = \"own\" }\njoins = { connector = \"local\" }\nshared = {",
        );
    write(plant.folder.path(), "valve.secret", "newer");
    plant.change_now(&other).await;
    assert_eq!(plant.reloads().await, (1, 0));
    for device in ["pump", "valve", "drive", "shared", "joins"] {
        plant.delivered(device, "2").await;
    }
    assert_eq!(plant.post("gauge", "2").await.status, 404);
    listener.wait_end().await;
    for (device, connects) in [
        ("pump", 1),
        ("valve", 2),
        ("drive", 1),
        ("shared", 1),
        ("joins", 1),
    ] {
        assert_eq!(plant.connects(device).await, connects, "{device}");
    }
    let clients = ["own-pump", "own-valve", "own-drive", "causeway-local"];
    let connects = clients.map(|client_id| accepted(&broker, client_id));
    assert_eq!(connects, [1, 2, 1, 1]);
    let seen = observer.wait_count(9).await;
    assert!(
        seen.iter()
            .all(|message| !message.topic.contains("gauge") || message.text() == "1")
    );
    // The same once more is no change at all.
    plant.change_now(&other).await;
    assert_eq!(plant.reloads().await, (2, 0));
    for (device, connects) in [("pump", 1), ("valve", 2), ("shared", 1)] {
        assert_eq!(plant.connects(device).await, connects, "{device}");
    }
    assert_eq!(
        clients.map(|client_id| accepted(&broker, client_id)),
        [1, 2, 1, 1]
    );
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_a_signal_and_only_its_devices_connect_anew() {
    let broker = broker().await;
    let plant = Plant::start(
        &[("secret", "right"), ("valve.secret", "wrong")],
        &config(&broker),
    )
    .await;
    plant.delivered("pump", "1").await;
    let refused = plant.post("valve", "1").await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    write(plant.folder.path(), "valve.secret", "right");
    plant.until_reloaded((0, 0)).await;
    plant.delivered("valve", "2").await;
    plant.delivered("pump", "2").await;
    assert_eq!(plant.connects("pump").await, 1);
    // The configuration itself, written in place by an editor that is in no hurry.
    let file = plant.folder.path().join("causeway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let before = plant.reloads().await;
    std::fs::write(&file, format!("{text}late = {{ connector = \"own\" }}\n")).unwrap();
    plant.until_reloaded(before).await;
    plant.delivered("late", "1").await;
    assert_eq!(plant.reloads().await, (2, 0));
}

#[tokio::test]
async fn what_is_not_valid_is_refused_as_a_whole_and_said_so() {
    let broker = broker().await;
    let text = config(&broker);
    let plant = Plant::start(&FILES, &text).await;
    plant.delivered("pump", "1").await;
    let line =
        |text: &str, what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    let wrong = text.replace(
        "gauge = { connector = \"own\" }",
        "gauge = { connector = \"nowhere\" }",
    );
    let whole = with_listeners(&plant.port, &plant.management, &wrong);
    plant
        .change_now(&wrong.replace("pump = {", "pomp = {"))
        .await;
    let place = format!(
        "causeway.toml:{}: devices.gauge.connector: there is no connector",
        line(&whole, "nowhere")
    );
    plant.program.stderr().wait_for(&place).await;
    plant
        .program
        .stderr()
        .wait_for("was not taken over; everything goes on as it was")
        .await;
    assert_eq!(plant.reloads().await, (0, 1));
    let ready = Http::new(plant.management.addr()).get("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready
            .text()
            .contains("was refused, and the one before goes on"),
        "{}",
        ready.text()
    );
    assert!(
        ready.text().contains("devices.gauge.connector"),
        "{}",
        ready.text()
    );
    // Nothing of it: neither the good part nor the bad one.
    assert_eq!(plant.post("pomp", "x").await.status, 404);
    for device in ["pump", "gauge"] {
        plant.delivered(device, "2").await;
    }
    assert_eq!(plant.connects("pump").await, 1);

    // What only shows when it is used counts as well: a secret that is a folder, a file that is no certificate.
    let broken = text
        .replace("url =", "ca_file = \"secret\"\nurl =")
        .replace("mqtt://", "mqtts://");
    plant.change_now(&broken).await;
    plant.program.stderr().wait_for("connectors.local").await;
    assert_eq!(plant.reloads().await, (0, 2));
    let gone = plant.folder.path().join("valve.secret");
    std::fs::remove_file(&gone).unwrap();
    plant.change_now(&text).await;
    plant.program.stderr().wait_for("valve.secret").await;
    assert_eq!(plant.reloads().await, (0, 3));
    plant.delivered("valve", "still").await;
    // It is taken over as soon as it is whole again.
    write(plant.folder.path(), "valve.secret", "right");
    eventually("the configuration to be taken over", DEADLINE, async || {
        plant.reloads().await == (1, 3)
    })
    .await;
    let ready = Http::new(plant.management.addr()).get("/readyz").await;
    assert!(!ready.text().contains("was refused"), "{}", ready.text());
    let log = plant.program.stderr().all().join("\n");
    assert!(!log.contains("right") && !log.contains("newer"), "{log}");
}

#[tokio::test]
async fn registered_devices_stay_beside_those_of_the_file() {
    let broker = broker().await;
    let text = config(&broker);
    let plant = Plant::start(&FILES, &text).await;
    for (id, connector) in [("extra", "own"), ("joins", "local"), ("pump-2", "own")] {
        let request = plant
            .http()
            .request(Method::PUT, &format!("/v1/devices/{id}"));
        let body = json!({ "connector": connector }).to_string();
        assert_eq!(Reply::to(request.body(body)).await.status, 201);
        plant.delivered(id, "1").await;
    }
    // The file takes one of them over, as it is: its connection has no reason to change.
    let taken = text.replace("pump = {", "pump-2 = { connector = \"own\" }\npump = {");
    plant.change_now(&taken).await;
    let origin = async |id: &str| {
        let shown = plant.http().get(&format!("/v1/devices/{id}")).await;
        shown.json()["origin"].clone()
    };
    assert_eq!(origin("pump-2").await, "configuration");
    assert_eq!(origin("extra").await, "api");
    for id in ["extra", "joins", "pump-2"] {
        plant.delivered(id, "2").await;
        assert_eq!(plant.connects(id).await, 1, "{id}");
    }
    // Without its connector one is not there, and says why; with it, it is again.
    let renamed = text
        .replace("connectors.local", "connectors.lan")
        .replace("shared = { connector = \"local\" }\n", "");
    plant.change_now(&renamed).await;
    let missing = plant.http().get("/v1/devices/joins").await;
    assert_eq!(missing.status, 404);
    assert!(
        missing.text().contains("there is no connector"),
        "{}",
        missing.text()
    );
    assert_eq!(plant.post("joins", "x").await.status, 404);
    plant.change_now(&text).await;
    for id in ["joins", "pump-2", "shared"] {
        plant.delivered(id, "3").await;
    }
    assert_eq!(origin("pump-2").await, "api");
    assert_eq!(plant.connects("extra").await, 1);
}

#[tokio::test]
async fn who_may_do_what_is_taken_over_and_what_needs_a_new_start_is_named() {
    let broker = broker().await;
    let token = "0123456789abcdef0123456789abcdef";
    let newer = "fedcba9876543210fedcba9876543210";
    let access = "[access.tokens.press]\ntoken_file = \"press.token\"\nscopes = [\"uplink\", \"downlink\"]\n";
    let files = [FILES[0], FILES[1], ("press.token", token)];
    let text = config(&broker) + access;
    let plant = Plant::start(&files, &text).await;
    let with = |token: &str| plant.http().with_token(token);
    let listener = with(token).events("/v1/devices/pump/downlinks", None).await;
    let status = async |token: &str| {
        let poll = with(token).request(Method::GET, "/v1/devices/pump/downlinks?wait=0");
        Reply::to(poll.header("accept", "application/json"))
            .await
            .status
    };
    assert_eq!((status(token).await, status(newer).await), (200, 401));
    // The file of the token alone.
    write(plant.folder.path(), "press.token", newer);
    plant.until_reloaded((0, 0)).await;
    assert_eq!((status(token).await, status(newer).await), (401, 200));
    listener.wait_end().await;
    // One more, and then no more.
    let listener = with(newer).events("/v1/devices/pump/downlinks", None).await;
    let second = "[access.tokens.second]\ntoken_file = \"second.token\"\nscopes = [\"downlink\"]\n";
    write(plant.folder.path(), "second.token", token);
    plant.change_now(&format!("{text}{second}")).await;
    assert_eq!((status(token).await, status(newer).await), (200, 200));
    let of_second = with(token).events("/v1/devices/pump/downlinks", None).await;
    plant.change_now(&text).await;
    assert_eq!((status(token).await, status(newer).await), (401, 200));
    of_second.wait_end().await;
    assert!(!listener.has_ended());

    let more = "[limits]\nqueued_uplinks = 7\n[downlinks]\nhistory = 5\n[log]\nlevel = \"debug\"\n";
    plant.change_now(&format!("{text}{more}")).await;
    for key in ["limits.queued_uplinks", "downlinks.history", "log.level"] {
        let warning = format!("{key} is another one now, and takes effect at the next start");
        plant.program.stderr().wait_for(&warning).await;
    }
    assert_eq!(status(newer).await, 200);
    // Said by the environment, now as before.
    let log = plant.program.stderr().all().join("\n");
    assert!(!log.contains("http.wait is another one"), "{log}");
    assert!(!log.contains(token) && !log.contains(newer), "{log}");
}

#[tokio::test]
async fn a_device_that_comes_back_goes_on_with_what_was_kept_of_it() {
    let broker = broker().await;
    let text = config(&broker);
    let plant = Plant::start(&FILES, &text).await;
    let login = || broker.access().user("plant", "right");
    let downlink = async |payload: &str| {
        let message = Message::new("devices/gauge/down/set", payload);
        login().publish(&message).await.accepted();
    };
    let path = "/v1/devices/gauge/downlinks";
    let listener = plant.http().events(path, None).await;
    for payload in ["1", "2"] {
        downlink(payload).await;
    }
    let seen = listener.wait_count(2).await;
    // Uplinks that wait, for a connection that the broker refuses from now on.
    write(plant.folder.path(), "secret", "wrong");
    plant.until_reloaded((0, 0)).await;
    let stored = plant
        .http()
        .request(Method::POST, "/v1/devices/gauge/uplinks");
    let stored = Reply::to(stored.header("prefer", "respond-async").body("late")).await;
    assert_eq!(stored.status, 202, "{}", stored.text());
    plant
        .change_now(&text.replace("gauge = { connector = \"own\" }\n", ""))
        .await;
    let events = listener.wait_end().await;
    assert_eq!(events.last().unwrap().event, "deleted");
    assert_eq!(plant.http().get(path).await.status, 404);
    let orphan = "uplinks are stored for a device that is not configured any more";
    plant.program.stderr().wait_for(orphan).await;

    let observer = Subscriber::start(&login(), &["devices/gauge/up/#", "devices/gauge/up"]).await;
    write(plant.folder.path(), "secret", "right");
    plant.change_now(&text).await;
    assert_eq!(observer.wait_count(1).await[0].text(), "late");
    let resumed = plant.http().events(path, seen[0].id.as_deref()).await;
    downlink("3").await;
    let missed: Vec<_> = resumed.wait_count(2).await;
    let missed: Vec<_> = missed
        .iter()
        .map(|event| event.json()["payload"].clone())
        .collect();
    assert_eq!(missed, [json!(2), json!(3)]);
}

#[tokio::test]
async fn the_listeners_certificate_and_the_origins_of_pages_are_taken_over() {
    let (old, new) = (Authority::new("Old CA"), Authority::new("New CA"));
    let broker = broker().await;
    let Identity {
        certificate_file,
        key_file,
    } = old.server();
    let devices = config(&broker);
    let http = |more: &str| {
        let lines = "tls_certificate_file = \"server.pem\"\ntls_key_file = \"server.key\"\n";
        // Behind the listeners' own lines.
        format!("[http]\n{lines}{more}{devices}")
    };
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (certificate, key) = (read(certificate_file), read(key_file));
    let files = [
        FILES[0],
        FILES[1],
        ("server.pem", &certificate),
        ("server.key", &key),
    ];
    let plant = Plant::start(&files, &http("")).await;
    let client =
        |authority: &Authority| Http::secure(plant.port.addr(), authority.trusting_client());
    let first = client(&old);
    let page = async |http: &Http| {
        let request = http.request(Method::POST, "/v1/devices/pump/uplinks");
        let request = request.header("origin", "https://plant.example").body("1");
        Reply::to(request).await.status
    };
    assert_eq!(page(&first).await, 403);
    plant
        .change_now(&http("cors_origins = [\"https://plant.example\"]\n"))
        .await;
    // Of connections that begin from then on.
    assert_eq!(page(&client(&old)).await, 200);

    // Certificate and key are two files: with one of them alone, the pair does not fit, and nothing changes.
    let renewed = new.server();
    write(
        plant.folder.path(),
        "server.pem",
        &read(renewed.certificate_file),
    );
    let what = "do not belong together";
    plant.program.stderr().wait_for(what).await;
    assert_eq!(page(&client(&old)).await, 200);
    let before = plant.reloads().await;
    write(plant.folder.path(), "server.key", &read(renewed.key_file));
    plant.until_reloaded(before).await;
    assert_eq!(plant.reloads().await, (2, 1));
    assert_eq!(page(&client(&new)).await, 200);
    assert!(client(&old).request(Method::GET, "/").send().await.is_err());
    // A connection that was open stays.
    assert_eq!(plant.connects_over(&first, "pump").await, 1);
}

#[tokio::test]
async fn a_listener_that_others_reach_is_not_opened_by_mistake() {
    let broker = broker().await;
    let files = [
        FILES[0],
        FILES[1],
        ("press.token", "0123456789abcdef0123456789abcdef"),
    ];
    let access = "[access.tokens.press]\ntoken_file = \"press.token\"\nscopes = [\"uplink\"]\n";
    let text = config(&broker);
    // All addresses of this machine, with a token.
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        write(folder.path(), name, content);
    }
    let (port, management) = (Port::reserve(), Port::reserve());
    let file = |listen: &str, more: &str| {
        let listeners = with_listeners(&port, &management, &(text.clone() + more));
        listeners.replace(&port.addr().to_string(), listen)
    };
    let everywhere = format!("0.0.0.0:{}", port.number());
    write(folder.path(), "causeway.toml", &file(&everywhere, access));
    let program = causeway(folder.path(), &["serve"], &[("NO_COLOR", "1")]);
    program.stderr().wait_for("serving http").await;
    // Valid in itself, for the address that it names. The listener is still everywhere.
    let local = port.addr().to_string();
    write(folder.path(), "causeway.toml", &file(&local, ""));
    program.signal("HUP");
    program
        .stderr()
        .wait_for("this configuration lets anybody in")
        .await;
    let answer = Http::new(port.addr()).get("/v1/devices").await;
    assert_eq!(answer.status, 401);
}
