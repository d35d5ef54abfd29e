//! What must be seen by nobody, looked for in everything that the program says: with success, with every kind of
//! refusal, over lost connections, at the most talkative log level.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::harness::causeway::{causeway, configure};
use crate::harness::certificates::Authority;
use crate::harness::collector::Collector;
use crate::harness::demo::Demo;
use crate::harness::http::{Http, Reply};
use crate::harness::jwt;
use crate::harness::keys::{KeyForm, PASSPHRASE};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::{Cut, Proxy};
use crate::harness::talkative::{Refuses, Talkative};

const PASSWORD: &str = "pa55word-of-the-plant";
const WRONG_PASSWORD: &str = "pa55word-that-is-wrong";
const WRONG_SECRET: &str = "5ecret-that-is-wrong";
const COLLECTOR_TOKEN: &str = "t0ken-of-the-collector";
const TOLD_SECRET: &str = "5ecret-that-is-told-back";

/// Something that must not be seen.
pub(super) struct Hidden {
    what: String,
    bytes: Vec<u8>,
}

impl Hidden {
    pub(super) fn new(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let (what, bytes) = (what.into(), bytes.into());
        assert!(bytes.len() >= 8, "{what} is too short to be looked for");
        Self { what, bytes }
    }

    /// The bytes themselves.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As text, and in the ways in which programs print bytes.
    fn forms(&self) -> Vec<String> {
        let list: Vec<_> = self.bytes.iter().map(u8::to_string).collect();
        let hex: String = self.bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut forms = vec![
            list.join(", "),
            hex.to_uppercase(),
            hex,
            STANDARD.encode(&self.bytes),
        ];
        forms.extend(String::from_utf8(self.bytes.clone()));
        forms
    }

    /// The lines of a PEM file between its labels, and the same bytes decoded.
    fn pem(file: &Path) -> Vec<Self> {
        let text = fs::read_to_string(file).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        let what = file.display().to_string();
        let lines: Vec<_> = lines.filter(|line| line.len() >= 32).collect();
        let mut hidden: Vec<_> = lines.iter().map(|line| Self::new(&what, *line)).collect();
        // From the middle of the key: its beginning is the same for all of a kind, and its end is the public half.
        let bytes = STANDARD.decode(
            text.lines()
                .filter(|l| !l.starts_with("-----"))
                .collect::<String>(),
        );
        hidden.push(Self::new(what, &bytes.unwrap()[8..24]));
        hidden
    }

    fn token(token: &jwt::Jwt) -> Vec<Self> {
        let parts: Vec<_> = token.text.split('.').collect();
        vec![
            Self::new("a token", token.text.clone()),
            Self::new("a token's claims", parts[1]),
            Self::new("a token's signature", parts[2]),
        ]
    }
}

/// Everything that came out.
#[derive(Default)]
pub(super) struct Heard(Vec<(String, String)>);

impl Heard {
    pub(super) fn add(&mut self, from: impl Into<String>, text: impl Into<String>) {
        self.0.push((from.into(), text.into()));
    }

    pub(super) fn reply(&mut self, what: &str, reply: &Reply) {
        let headers = format!("{:?}", reply.headers);
        let body = String::from_utf8_lossy(&reply.body);
        self.add(what, format!("{} {headers} {body}", reply.status));
    }

    pub(super) async fn get(&mut self, http: &Http, path: &str) {
        self.reply(path, &http.get(path).await);
    }

    pub(super) fn assert_free_of(&self, hidden: &[Hidden]) {
        let forms: Vec<_> = hidden
            .iter()
            .map(|hidden| (&hidden.what, hidden.forms()))
            .collect();
        let mut leaks = Vec::new();
        for (from, text) in &self.0 {
            for line in text.lines() {
                let seen = |form: &String| line.contains(form.as_str());
                let leaked = forms.iter().filter(|(_, forms)| forms.iter().any(seen));
                leaks.extend(leaked.map(|(what, _)| format!("{from} tells {what}: {line}")));
            }
        }
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    }
}

/// A connector with one device of the same name.
fn connector(name: &str, profile: &str, url: &str, more: &str) -> String {
    format!(
        "[connectors.{name}]\nprofile = \"{profile}\"\nurl = \"{url}\"\n{more}\n[devices.{name}]\nconnector = \"{name}\"\n"
    )
}

fn secret(name: &str, url: &str, secret: &str, more: &str) -> String {
    let more = format!(
        "secret = \"{secret}\"\nvariables = {{ connector_id = \"demo-connector\" }}\n{more}"
    );
    connector(name, "akenza-secret", url, &more)
}

fn plain(name: &str, broker: SocketAddr, password: &str) -> String {
    let more = format!("secret = \"{password}\"\nvariables = {{ username = \"causeway\" }}");
    connector(name, "plain", &format!("mqtt://{broker}"), &more)
}

/// The devices, and whether the broker takes their uplinks.
const DEVICES: [(&str, bool); 13] = [
    ("demo-rsa", true),
    ("demo-ec", true),
    ("demo-secret-1", true),
    ("demo-secret-2", true),
    ("plant", true),
    ("secret-name", true),
    ("wrong-key", false),
    ("wrong-secret", false),
    ("wrong-password", false),
    ("wrong-ca", false),
    ("told-at-connect", false),
    ("told-at-publish", false),
    ("told-at-the-end", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_secret_is_said() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(&dir.path().join("demo")).await;
    let demo_secret = demo.device("demo-secret-1")["secret"]
        .as_str()
        .unwrap()
        .to_owned();
    let (tokens, secrets) = (
        Proxy::start(demo.addr("mqtt")),
        Proxy::start(demo.addr("mqtt")),
    );
    tokens.capture();
    secrets.capture();
    let plant = Mosquitto::builder()
        .user("causeway", PASSWORD)
        .start()
        .await;
    let other_ca = Authority::new("Another CA");
    let refuses = [Refuses::Connect, Refuses::Publish, Refuses::Dismiss];
    let mut talkative = Vec::new();
    for refuses in refuses {
        talkative.push(Talkative::start(refuses).await);
    }
    let foreign_key = KeyForm::EcPkcs8Encrypted.make(dir.path());
    fs::write(dir.path().join("passphrase"), format!("{PASSPHRASE}\n")).unwrap();

    let url = |link: &Proxy| format!("mqtt://{}", link.addr());
    let mut config = String::new();
    let collector = Collector::start();
    let header = format!("Authorization: Bearer {COLLECTOR_TOKEN}\n");
    fs::write(dir.path().join("collector"), header).unwrap();
    config += &format!(
        "[telemetry]\notlp_url = \"http://{}\"\nheaders_file = \"collector\"\n",
        collector.addr()
    );
    config += &format!(
        "[connectors.keys]\nprofile = \"akenza-device\"\nurl = \"{}\"\n",
        url(&tokens)
    );
    for (device, file) in [
        (
            "demo-rsa",
            demo.device("demo-rsa")["private_key_file"]
                .as_str()
                .unwrap(),
        ),
        (
            "demo-ec",
            demo.device("demo-ec")["private_key_file"].as_str().unwrap(),
        ),
        ("wrong-key", foreign_key.to_str().unwrap()),
    ] {
        config +=
            &format!("[devices.{device}]\nconnector = \"keys\"\nprivate_key_file = \"{file}\"\n");
    }
    config += "passphrase_file = \"passphrase\"\n";
    config += &secret("demo-secret-1", &url(&secrets), &demo_secret, "");
    config += "[devices.demo-secret-2]\nconnector = \"demo-secret-1\"\n";
    config += &secret("wrong-secret", &url(&secrets), WRONG_SECRET, "");
    let ca = format!("ca_file = \"{}\"", other_ca.ca_file().display());
    config += &secret("wrong-ca", demo.text("mqtts"), &demo_secret, &ca);
    config += &plain("plant", plant.addr(), PASSWORD);
    config += &plain("wrong-password", plant.addr(), WRONG_PASSWORD);
    // Where a platform wants the secret in a name, a name is a secret.
    config += &plain("secret-name", plant.addr(), PASSWORD);
    config = config.replace(
        "[devices.secret-name]",
        "override.connect.client_id = \"id-{secret}\"\n[devices.secret-name]",
    );
    for (name, broker) in ["told-at-connect", "told-at-publish", "told-at-the-end"]
        .iter()
        .zip(&talkative)
    {
        config += &secret(name, &format!("mqtt://{}", broker.addr()), TOLD_SECRET, "");
    }
    configure(dir.path(), &config);

    let mut heard = Heard::default();
    let mut check = causeway(dir.path(), &["check"], &[]);
    assert!(check.exit().await.success(), "{:?}", check.stderr().all());
    heard.add(
        "check",
        [check.stdout().all(), check.stderr().all()]
            .concat()
            .join("\n"),
    );

    let mut bridge = causeway(dir.path(), &["serve"], &[("RUST_LOG", "trace")]);
    let line = bridge.stderr().wait_for("serving http://").await;
    let ports = line.match_indices("127.0.0.1:").map(|(at, found)| {
        let digits = line[at + found.len()..].split(|c: char| !c.is_ascii_digit());
        format!("127.0.0.1:{}", digits.into_iter().next().unwrap())
    });
    let ports: Vec<SocketAddr> = ports.map(|addr| addr.parse().unwrap()).collect();
    let (http, management) = (Http::new(ports[0]), Http::new(ports[1]));

    let devices = DEVICES
        .map(|(device, _)| format!("device={device}"))
        .join("&");
    let downlinks = http.events(&format!("/v1/downlinks?{devices}"), None).await;
    for round in 0..2 {
        for (device, taken) in DEVICES {
            for path in [
                format!("/v1/devices/{device}/uplinks"),
                format!("/v1/devices/{device}/uplinks/a/b"),
            ] {
                let request = http
                    .request(reqwest::Method::POST, &path)
                    .header("prefer", "wait=1");
                let request = request
                    .header("content-type", "application/json")
                    .body("[1]");
                let reply = Reply::to(request).await;
                assert_eq!(reply.status == 200, taken, "{device}: {}", reply.text());
                heard.reply(&path, &reply);
                if reply.status == 202 {
                    heard.get(&http, reply.header("location")).await;
                }
            }
            heard.get(&http, &format!("/v1/devices/{device}")).await;
            heard
                .get(&http, &format!("/v1/devices/{device}/session"))
                .await;
        }
        for device in ["demo-rsa", "demo-secret-1", "demo-secret-2"] {
            let path = format!("/devices/{device}/downlinks/settings");
            let reply = demo.console.post(&path, "text/plain", "on").await;
            assert_eq!(reply.status, 202, "{}", reply.text());
        }
        downlinks.wait_count((round + 1) * 3).await;
        tokens.cut(Cut::Reset);
        secrets.cut(Cut::Fin);
    }
    for path in [
        "/v1/devices",
        "/openapi.json",
        "/v1/devices/nobody",
        "/v1/downlinks?device=demo-ec&topic=%23%23",
    ] {
        heard.get(&http, path).await;
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        heard.get(&management, path).await;
    }
    assert_eq!(bridge.terminate().await.code(), Some(0));

    // A span names neither topic nor payload; the collector alone is told its token.
    for body in collector.bodies() {
        heard.add("a span", String::from_utf8_lossy(&body));
    }
    let heads = collector.heads().all();
    assert!(heads.iter().all(|head| head.contains(COLLECTOR_TOKEN)));
    assert!(collector.spans().all().len() > 50);
    for event in downlinks.events().all() {
        heard.add("a downlink", format!("{event:?}"));
    }
    heard.add("standard output", bridge.stdout().all().join("\n"));
    heard.add("the log", bridge.stderr().all().join("\n"));
    heard.add(
        "the demo",
        [demo.printed().await, demo.complaints()]
            .concat()
            .join("\n"),
    );
    for path in ["/refused", "/uplinks"] {
        heard.get(&demo.console, path).await;
    }

    let sent = tokens.traffic().captured.unwrap();
    let seen = jwt::find(&sent);
    assert!(seen.len() >= 6, "{} tokens", seen.len());
    let mut hidden: Vec<_> = seen.iter().flat_map(Hidden::token).collect();
    hidden.extend([
        Hidden::new("the connector's secret", demo_secret.clone()),
        Hidden::new("a wrong secret", WRONG_SECRET),
        Hidden::new("a secret that brokers tell back", TOLD_SECRET),
        Hidden::new("the collector's token", COLLECTOR_TOKEN),
        Hidden::new("a password", PASSWORD),
        Hidden::new("a wrong password", WRONG_PASSWORD),
        Hidden::new("a passphrase", PASSPHRASE),
    ]);
    for device in ["demo-rsa", "demo-ec"] {
        let file = demo.device(device)["private_key_file"].as_str().unwrap();
        hidden.extend(Hidden::pem(Path::new(file)));
    }
    hidden.extend(Hidden::pem(&foreign_key));

    // What is looked for was really in use, and there is enough to look through.
    let topic = format!("/up/{demo_secret}/id/demo-secret-1/a/b");
    let topics = secrets.traffic().captured.unwrap();
    assert!(String::from_utf8_lossy(&topics).contains(&topic));
    let log = bridge.stderr().all();
    assert!(log.iter().any(|line| line.contains("DEBUG")), "{log:#?}");
    assert!(
        log.iter().any(|line| line.contains("causeway::session")),
        "{log:#?}"
    );
    heard.assert_free_of(&hidden);
}

#[test]
#[should_panic(expected = "the log tells a password")]
fn a_leak_is_found_in_another_form_too() {
    let mut heard = Heard::default();
    heard.add(
        "the log",
        "all is well\nbytes [104, 117, 110, 116, 101, 114, 48, 50]\n",
    );
    heard.assert_free_of(&[Hidden::new("a password", "hunter02")]);
}
