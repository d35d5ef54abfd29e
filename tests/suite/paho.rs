//! Scripts that follow akenza's documentation word for word, against the demo's broker: whom it lets in, and whom not.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::demo::Demo;
use crate::harness::keys::KeyForm;
use crate::harness::python::paho;

use Outcome::{Accepted, Refused};

/// One run of a script.
struct Case {
    what: String,
    script: &'static str,
    args: Vec<String>,
    outcome: Outcome,
}

/// What shall become of it.
#[derive(Clone, Copy)]
enum Outcome {
    Accepted,
    /// The script says this of its refusal.
    Refused(&'static str),
}

/// Every documented way to speak to the broker.
const WAYS: [(&str, Way); 4] = [
    ("3.1.1", Way::Plain),
    ("3.1.1", Way::Tls),
    ("5", Way::Plain),
    ("5", Way::Tls),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
}

/// Makes the scripts' arguments from what the demo says of itself.
struct Table<'a> {
    demo: &'a Demo,
    cases: Vec<Case>,
}

impl Table<'_> {
    fn connection(&self, version: &str, way: Way) -> Vec<String> {
        let (what, ca) = match way {
            Way::Plain => ("mqtt", None),
            Way::Tls => ("mqtts", Some(self.demo.text("ca_file"))),
        };
        let port = self.demo.addr(what).port();
        let mut args = words(&format!("--mqtt {version} --port {port}"));
        args.extend(
            ca.into_iter()
                .flat_map(|file| ["--ca".to_owned(), file.to_owned()]),
        );
        args
    }

    fn device(&mut self, id: &str, way: (&str, Way), more: &str, outcome: Outcome) {
        let device = self.demo.device(id);
        let file = device["private_key_file"].as_str().unwrap();
        let algorithm = device["algorithm"].as_str().unwrap();
        let args = format!("--device {id} --key {file} --algorithm {algorithm}");
        self.push("akenza_device.py", id, way, &args, more, outcome);
    }

    fn secret(&mut self, id: &str, way: (&str, Way), more: &str, outcome: Outcome) {
        let connector = self.demo.device("demo-secret-1");
        let secret = connector["secret"].as_str().unwrap();
        let connector = connector["connector_id"].as_str().unwrap();
        let args = format!("--device {id} --connector-id {connector} --secret {secret}");
        self.push("akenza_secret.py", id, way, &args, more, outcome);
    }

    fn push(
        &mut self,
        script: &'static str,
        id: &str,
        way: (&str, Way),
        args: &str,
        more: &str,
        outcome: Outcome,
    ) {
        let mut all = words(args);
        all.extend(self.connection(way.0, way.1));
        // Of two options of the same name the later one counts.
        all.extend(words(more));
        self.cases.push(Case {
            what: format!("{script} {id}, MQTT {} {:?} {more}", way.0, way.1),
            script,
            args: all,
            outcome,
        });
    }

    /// Runs the cases one after the other: two clients with one id would take each other's connection.
    async fn run(self) {
        let mut accepted: BTreeMap<String, usize> = BTreeMap::new();
        let refused = self
            .cases
            .iter()
            .filter(|case| matches!(case.outcome, Refused(_)));
        let refused = refused.count();
        for case in &self.cases {
            let output = paho(case.script, &case.args).await;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            let what = &case.what;
            match case.outcome {
                Accepted => {
                    assert!(
                        output.status.success() && said.contains("accepted"),
                        "{what}: {said}"
                    );
                    let id = &case.args[1];
                    *accepted.entry(id.clone()).or_default() += 1;
                }
                Refused(why) => {
                    assert!(!output.status.success(), "{what}: {said}");
                    assert!(
                        said.contains("refused: ") && said.contains(why),
                        "{what}: {said}"
                    );
                }
            }
        }
        // Not only the scripts say so: the platform has what was accepted, and nothing else.
        for id in ["demo-rsa", "demo-ec", "demo-secret-1", "demo-secret-2"] {
            let taken = self.demo.taken(id, 0).await.len();
            assert_eq!(Some(&taken), accepted.get(id), "{id}");
        }
        assert!(self.demo.refused().await.len() >= refused);
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn path(file: &Path) -> String {
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn documented_scripts_are_accepted() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let mut table = Table {
        demo: &demo,
        cases: Vec::new(),
    };
    for way in WAYS {
        for id in ["demo-rsa", "demo-ec"] {
            table.device(id, way, "", Accepted);
            let public = demo.device(id)["public_key_file"].as_str().unwrap();
            let more = format!("--public-key {public} --topic /up/device/id/{id}/alerts/critical");
            table.device(id, way, &more, Accepted);
        }
        table.secret("demo-secret-1", way, "", Accepted);
        table.secret("demo-secret-2", way, "--report", Accepted);
    }
    let csv = "--report --content-type text/csv --payload 1,2";
    table.device("demo-ec", ("5", Way::Tls), csv, Accepted);
    table.run().await;

    let topics: Vec<_> = demo.taken("demo-rsa", 0).await;
    assert_eq!(
        (&*topics[0].topic, &*topics[1].topic),
        ("default", "alerts_critical")
    );
    assert_eq!(
        demo.taken("demo-ec", 0).await.last().unwrap().payload,
        Value::Null
    );
    assert_eq!(demo.refused().await, [Value::Null; 0]);
}

#[tokio::test]
async fn scripts_that_pretend_are_refused() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let foreign_rsa = path(&KeyForm::RsaPkcs8.make(dir.path()));
    let foreign_ec = path(&KeyForm::EcPkcs8.make(dir.path()));
    let secret = demo.device("demo-secret-1")["secret"].as_str().unwrap();
    let kid = "0".repeat(64);
    let mut table = Table {
        demo: &demo,
        cases: Vec::new(),
    };
    // MQTT 3.1.1 cannot give a reason in words, and for a publish none at all.
    for (way, bad_publish) in [
        (("3.1.1", Way::Plain), "the connection was closed"),
        (("5", Way::Tls), "PUBACK: Not authorized"),
    ] {
        let bad_password = "CONNACK: Bad user name or password";
        for (id, more, why) in [
            ("demo-rsa", format!("--key {foreign_rsa}"), bad_password),
            ("demo-ec", format!("--key {foreign_ec}"), bad_password),
            ("demo-rsa", format!("--kid {kid}"), bad_password),
            ("demo-ec", "--client-id demo-rsa".into(), bad_password),
            ("demo-rsa", "--client-id demo-ec".into(), bad_password),
            (
                "demo-ec",
                "--client-id nobody".into(),
                "CONNACK: Client identifier not valid",
            ),
            (
                "demo-rsa",
                "--audience https://akenza.io/devices/demo-ec".into(),
                "CONNACK: Not authorized",
            ),
            (
                "demo-ec",
                "--audience https://example.com/devices/demo-ec".into(),
                "CONNACK: Not authorized",
            ),
            (
                "demo-rsa",
                "--issued -3600".into(),
                "CONNACK: Not authorized",
            ),
            (
                "demo-ec",
                "--issued -10 --lifetime 9".into(),
                "CONNACK: Not authorized",
            ),
            ("demo-ec", "--issued 3600".into(), "CONNACK: Not authorized"),
            (
                "demo-rsa",
                "--topic /up/device/id/demo-ec".into(),
                bad_publish,
            ),
            (
                "demo-ec",
                "--topic up/device/id/demo-ec".into(),
                bad_publish,
            ),
            (
                "demo-ec",
                format!("--topic /up/{secret}/id/demo-secret-1"),
                bad_publish,
            ),
        ] {
            table.device(id, way, &format!("--report {more}"), Refused(why));
        }
        for (id, more, why) in [
            ("demo-secret-1", "--secret wrong", bad_password),
            ("demo-secret-1", "--connector-id other", bad_password),
            (
                "demo-secret-1",
                "--topic /up/wrong/id/demo-secret-1",
                bad_publish,
            ),
            (
                "demo-secret-1",
                "--topic /up/device/id/demo-rsa",
                bad_publish,
            ),
            ("demo-rsa", "", bad_publish),
            ("nobody", "", bad_publish),
        ] {
            table.secret(id, way, &format!("--report {more}"), Refused(why));
        }
    }
    let five = ("5", Way::Plain);
    for more in ["--content-type image/png", "--payload {"] {
        let more = format!("--report {more}");
        table.device(
            "demo-ec",
            five,
            &more,
            Refused("PUBACK: Payload format invalid"),
        );
    }
    // The documented call itself, which only knows that it did not succeed.
    table.device(
        "demo-ec",
        five,
        "--client-id demo-rsa",
        Refused("Bad user name or password"),
    );
    let foreign = "--topic /up/device/id/demo-rsa --seconds 2";
    table.device(
        "demo-ec",
        ("3.1.1", Way::Plain),
        foreign,
        Refused("no confirmation in time"),
    );

    // One that is accepted each, so that nothing above was refused for a reason of its own.
    for id in ["demo-rsa", "demo-ec"] {
        table.device(id, five, "", Accepted);
    }
    for id in ["demo-secret-1", "demo-secret-2"] {
        table.secret(id, five, "", Accepted);
    }
    table.run().await;
}
