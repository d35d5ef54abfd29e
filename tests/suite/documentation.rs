//! The documentation is true: its commands run, its configurations are valid, its links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use causeway::config::Config;
use causeway::profile::Profile;
use reqwest::StatusCode;
use serde_json::Value;

use crate::harness::demo::Demo;
use crate::harness::markdown::{Block, Page, project};
use crate::harness::tutorial::Reader;

const BOOK: &str = "docs/src";

/// Every page that users read.
fn pages() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = ["README.md", "profiles/README.md"].map(Into::into).into();
    for entry in fs::read_dir(project().join(BOOK)).unwrap() {
        let name = entry.unwrap().file_name();
        if Path::new(&name).extension().is_some_and(|e| e == "md") {
            paths.push(Path::new(BOOK).join(name));
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

fn page(name: &str) -> Page {
    Page::read(&Path::new(BOOK).join(name))
}

fn place(page: &Page, block: &Block) -> String {
    format!("{}:{}", page.path.display(), block.line)
}

/// A path without `..`, which may not lead out of the project.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{} leads outside", path.display()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<_, _> = pages
        .iter()
        .map(|page| (page.path.clone(), page.anchors()))
        .collect();
    let mut followed = 0;
    for page in &pages {
        for link in page.links() {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => plain(&page.path.with_file_name(file)),
            };
            let from = page.path.display();
            assert!(project().join(&target).exists(), "{from}: {link}");
            if !anchor.is_empty() {
                let known = anchors.get(&target);
                let known = known.is_some_and(|anchors| anchors.contains(anchor));
                assert!(known, "{from}: {link}: no such heading");
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found");
}

#[test]
fn the_summary_lists_every_page() {
    let summary = page("SUMMARY.md");
    let listed: BTreeSet<_> = summary.links().into_iter().map(PathBuf::from).collect();
    let there = pages().into_iter().filter_map(|page| {
        let name = page.path.strip_prefix(BOOK).ok()?.to_owned();
        (name != Path::new("SUMMARY.md")).then_some(name)
    });
    assert_eq!(listed, there.collect());
}

#[test]
fn every_shell_block_can_be_read_by_the_shell() {
    let mut read = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "sh") {
            let parsed = Command::new("bash")
                .args(["-n", "-c", &block.text])
                .output()
                .expect("bash; install it with: apt-get install bash");
            let said = String::from_utf8_lossy(&parsed.stderr);
            assert!(
                parsed.status.success() && said.is_empty(),
                "{}: {said}",
                place(&page, block)
            );
            read += 1;
        }
    }
    assert!(read > 30, "only {read} blocks were found");
}

#[test]
fn every_configuration_is_valid() {
    let mut valid = 0;
    for page in pages() {
        let mut whole = String::new();
        for block in page.blocks.iter().filter(|b| b.language == "toml") {
            let place = place(&page, block);
            if block.text.starts_with("title = ") {
                let profile = Profile::parse(&block.text);
                profile.unwrap_or_else(|error| panic!("{place}: {error}"));
                continue;
            }
            match block.remark() {
                "add to causeway.toml" => whole += &block.text,
                _ => whole.clone_from(&block.text),
            }
            read(&whole, &place);
            valid += 1;
        }
    }
    let container = "docker/causeway.toml";
    let text = fs::read_to_string(project().join(container)).unwrap();
    let in_volume = text.contains("path = \"/var/lib/causeway/");
    assert!(in_volume, "{container}: nothing else can be written there");
    read(&text, container);
    assert!(valid > 10, "only {valid} configurations were found");
}

/// Reads a configuration beside the files that it names.
fn read(text: &str, place: &str) {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &Path, content: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    for entry in fs::read_dir(project().join("profiles")).unwrap() {
        let path = entry.unwrap().path();
        let name = Path::new("profiles").join(path.file_name().unwrap());
        write(&name, &fs::read(&path).unwrap());
    }
    let mut own = String::new();
    for line in text.lines() {
        let file = line.split_once("_file = \"").map(|(_, rest)| rest);
        let Some(path) = file.and_then(|rest| rest.split('"').next()) else {
            own += line;
            own.push('\n');
            continue;
        };
        let relative = path.trim_start_matches('/');
        // 32 bytes in hexadecimal, another one for each file: enough of a token, and of a key.
        let hex = relative.bytes().cycle().take(32);
        let content: String = hex.map(|byte| format!("{byte:02x}")).collect();
        write(Path::new(relative), content.as_bytes());
        own += &line.replace(path, relative);
        own.push('\n');
    }
    let config = Config::from_text(&own, place, folder.path(), []);
    if cfg!(not(feature = "nats")) && own.contains("\"nats://") {
        // Nothing else is wrong with it: that is said first.
        let error = config.map(drop).unwrap_err().to_string();
        assert!(error.contains("--features nats"), "{error}");
        return;
    }
    config.unwrap_or_else(|error| panic!("{error}"));
}

/// The kinds of problems that the code knows, by their slugs, with their codes.
fn problems() -> BTreeMap<String, u16> {
    let source = fs::read_to_string(project().join("src/http/kind.rs")).unwrap();
    let mut kinds = BTreeMap::new();
    // `Malformed: BAD_REQUEST "malformed" "Malformed request"`
    for line in source.lines() {
        let Some((_, kind)) = line.trim().split_once(": ") else {
            continue;
        };
        let words: Vec<_> = kind.splitn(3, ' ').collect();
        let [name, slug, _] = words[..] else {
            continue;
        };
        let code = (400..600).find(|code| {
            let status = StatusCode::from_u16(*code).unwrap();
            let words = status.canonical_reason().unwrap_or_default();
            words.to_uppercase().replace(' ', "_") == name
        });
        if let Some(code) = code {
            kinds.insert(slug.trim_matches('"').to_owned(), code);
        }
    }
    assert!(kinds.len() > 30, "{kinds:?}");
    kinds
}

/// Every kind of problem that the code knows is explained, with its code, and no other.
#[test]
fn every_problem_is_explained() {
    let kinds = problems().into_iter();
    let kinds = kinds.map(|(slug, code)| format!("| {code} | `{slug}` "));
    let page = fs::read_to_string(project().join(BOOK).join("guarantees.md")).unwrap();
    let explained = page.lines().filter_map(|line| {
        let code = line.strip_prefix("| ")?.get(..3)?;
        let row = line.split_once("` |")?.0;
        code.parse::<u16>().is_ok().then(|| format!("{row}` "))
    });
    assert_eq!(explained.collect::<BTreeSet<_>>(), kinds.collect());
}

/// What a schema of the description may be.
fn enumerated(schema: &str) -> BTreeSet<String> {
    let description = fs::read(project().join("openapi/openapi.json")).unwrap();
    let description: Value = serde_json::from_slice(&description).unwrap();
    let names = description["components"]["schemas"][schema]["enum"].as_array();
    let names = names.unwrap_or_else(|| panic!("{schema} is not in the description"));
    let text = |name: &Value| name.as_str().unwrap().to_owned();
    names.iter().map(text).collect()
}

/// What the page about troubles says of the doctor, of problems and of states is what the program says, and nothing that
/// the doctor may say is missing.
#[test]
fn troubles_are_called_as_the_program_calls_them() {
    let page = fs::read_to_string(project().join(BOOK).join("troubleshooting.md")).unwrap();
    let (symptoms, doctor) = page.split_once("## What the doctor says").unwrap();
    let rows = |text: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.strip_prefix("| `"));
        names
            .map(|row| row[..row.find('`').unwrap()].to_owned())
            .collect()
    };
    let (steps, causes) = (
        enumerated("DiagnosisStepName"),
        enumerated("DiagnosisCause"),
    );
    let (of_steps, of_causes) = doctor.split_once("| cause |").unwrap();
    assert_eq!(rows(of_steps), steps);
    assert_eq!(rows(of_causes), causes);

    let problems = problems().into_keys().collect();
    let states = fs::read_to_string(project().join("src/session/snapshot.rs")).unwrap();
    let states = states.split("=> \"").skip(1);
    let states = states
        .filter_map(|rest| rest.split_once('"'))
        .map(|(name, _)| name.to_owned())
        .collect();
    // By a word before it, or in the first column of a table under that word.
    let flat = symptoms.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = flat.to_lowercase();
    for (word, known, at_least) in [
        ("step", &steps, 8),
        ("cause", &causes, 20),
        ("problem", &problems, 20),
        ("state", &states, 5),
    ] {
        let prefix = format!("{word} `");
        let beside = flat.split(&prefix).skip(1);
        let beside = beside.map(|after| after.split('`').next().unwrap());
        let header = format!("\n| {word} |");
        let tables = symptoms.split(&header).skip(1);
        let rows = tables.flat_map(|table| table.lines().take_while(|line| line.ends_with('|')));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let listed = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let named: BTreeSet<_> = beside.chain(listed).collect();
        for name in &named {
            assert!(known.contains(*name), "there is no {word} {name}");
        }
        assert!(named.len() >= at_least, "{word}: {named:?}");
    }
}

/// The overview lists every operation of the description with its scope, and no other.
#[test]
fn every_route_is_listed() {
    let description = fs::read(project().join("openapi/openapi.json")).unwrap();
    let description: Value = serde_json::from_slice(&description).unwrap();
    let mut there = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // A path item has other members, too.
            if !["get", "put", "post", "delete"].contains(&method.as_str()) {
                continue;
            }
            let scope = match &operation["security"][0]["token"][0] {
                Value::String(scope) => format!(" `{scope}` "),
                _ => " ".to_owned(),
            };
            there.insert(format!("| `{} {path}` |{scope}|", method.to_uppercase()));
        }
    }
    let page = fs::read_to_string(project().join(BOOK).join("http.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let columns: Vec<_> = line.splitn(4, '|').collect();
        let is_route = columns.get(1)?.contains(" /");
        is_route.then(|| format!("|{}|{}|", columns[1], columns[2]))
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), there);
}

/// Pages that need no platform.
const LOCAL: [&str; 5] = [
    "first-uplink-mosquitto.md",
    "http.md",
    "profiles.md",
    "access.md",
    "troubleshooting.md",
];
/// Pages that are followed with a pretended platform.
const PRETENDED: [&str; 3] = ["first-uplink-akenza.md", "first-uplink-sap.md", "keys.md"];

#[test]
fn no_command_is_left_out_in_silence() {
    let followed = LOCAL.iter().chain(&PRETENDED);
    let followed: Vec<_> = followed.map(|name| Path::new(BOOK).join(name)).collect();
    let others = pages().into_iter();
    for page in others.filter(|p| !followed.contains(&p.path) && p.path != Path::new("README.md")) {
        for block in page.blocks.iter().filter(|b| b.language == "sh") {
            let says_why = block.remark().starts_with("needs ");
            assert!(
                says_why,
                "{}: not run, and no `# needs …`",
                place(&page, block)
            );
        }
    }
}

#[tokio::test]
async fn first_uplink_with_your_own_mosquitto() {
    Reader::sit_down()
        .follow(&page(LOCAL[0]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn the_http_interface() {
    Reader::sit_down()
        .follow(&page(LOCAL[1]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn profiles() {
    Reader::sit_down()
        .follow(&page(LOCAL[2]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn access_control() {
    Reader::sit_down()
        .follow(&page(LOCAL[3]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn troubleshooting() {
    Reader::sit_down()
        .follow(&page(LOCAL[4]), async |_, _| {})
        .await;
}

/// What a page asks its reader to do on akenza's own pages, done on the pretended platform's.
async fn in_akenza(demo: &Demo, shown: &str, printed: &str) {
    let (path, kind, body) = match shown.lines().next() {
        Some("-----BEGIN PUBLIC KEY-----") => ("keys", "application/x-pem-file", printed),
        Some("event: downlink") => ("downlinks/led", "application/json", "{\"on\": true}"),
        _ => return,
    };
    let path = format!("/devices/70B3D57ED0001A2B/{path}");
    let reply = demo.console.post(&path, kind, body.to_owned()).await;
    assert!(reply.status < 300, "{}", reply.text());
}

#[tokio::test]
async fn keys_and_their_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let reader = Reader::sit_down().instead("mqtts://mqtt.akenza.io:8883", demo.text("mqtt"));
    let outside = async |shown: &str, printed: &str| in_akenza(&demo, shown, printed).await;
    reader.follow(&page(PRETENDED[2]), outside).await;
    assert_eq!(demo.taken("70B3D57ED0001A2B", 0).await.len(), 1);
}

#[tokio::test]
async fn first_uplink_with_akenza() {
    let page = page(PRETENDED[0]);
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let connector = demo.device("demo-secret-1");
    let text = |key: &str| connector[key].as_str().unwrap().to_owned();
    let reader = Reader::sit_down()
        .instead("mqtts://mqtt.akenza.io:8883", demo.text("mqtt"))
        .instead("6f2d8a0c4b1e", text("connector_id"))
        .instead("sensor-1", "demo-secret-1")
        .brings("secrets/office", text("secret").into());
    let outside = async |shown: &str, printed: &str| in_akenza(&demo, shown, printed).await;
    reader.follow(&page, outside).await;
    assert_eq!(demo.taken("70B3D57ED0001A2B", 0).await.len(), 2);
    assert_eq!(demo.taken("demo-secret-1", 0).await.len(), 1);
}

#[tokio::test]
async fn first_uplink_with_sap() {
    let page = page(PRETENDED[1]);
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let device = demo.device("demo-sap");
    let file = |key: &str| fs::read(device[key].as_str().unwrap()).unwrap();
    let url = format!(
        "{}\"\nca_file = \"{}",
        demo.text("sap"),
        demo.text("ca_file")
    );
    let reader = Reader::sit_down()
        .instead("mqtts://my-instance.eu10.cp.iot.sap:8883", url)
        .instead("pump-1", "demo-sap")
        .brings("sap/demo-sap.pem", file("identity_file"))
        .brings("sap/demo-sap.secret", file("passphrase_file"));
    let command = async |shown: &str, _: &str| {
        if shown.starts_with("event: downlink") {
            let sent = demo.console.post(
                "/devices/demo-sap/downlinks/commands",
                "application/json",
                r#"{"capabilityAlternateId": "valve", "sensorAlternateId": "s1", "command": {"open": true}}"#,
            );
            assert_eq!(sent.await.json()["connected"], 1);
        }
    };
    reader.follow(&page, command).await;
    assert_eq!(demo.taken("demo-sap", 0).await.len(), 3);
}

/// What stands in the README goes to the demo.
#[tokio::test]
async fn the_readme() {
    let page = Page::read("README.md".as_ref());
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let printed = demo.printed().await;
    let mut curls = 0;
    for block in page.blocks.iter().filter(|block| block.language == "sh") {
        for line in block.text.lines().filter(|line| line.starts_with("curl ")) {
            let line = line
                .replace("http://127.0.0.1:8080", demo.text("http"))
                .replace("http://127.0.0.1:8090", demo.text("console"));
            if line.starts_with("curl -N") {
                let listener = crate::harness::shell::begin(&line);
                listener.stdout().wait_for("retry: ").await;
            } else {
                let said = crate::harness::shell::paste(&line).await;
                assert!(!said.contains("\"status\":4"), "{line}: {said}");
            }
            curls += 1;
        }
    }
    assert!(curls >= 2, "{curls} of {printed:?}");
    assert_eq!(demo.refused().await, [Value::Null; 0]);
}
