//! `profiles/README.md` lists every key with its default, every word that a key takes, and every variable.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::profile::Profile;

/// Every section with nothing but its required keys.
const BASE: &str = r#"
title = "t"
session = "device"
connect = { client_id = "c", password = "jwt" }
token = { audience = "a" }
uplink.topic = "u"
uplink.envelope.n = { type = "array" }
uplink.envelope.p = { type = "string", parameter = "p" }
uplink.envelope.b = { type = "array", body = true }
downlink = [{ filter = "d" }]
ack = { filter = "a", id_member = "i", match_member = "m", code_member = "c", success = [1] }
variables.v = { about = "v", default = "v" }
"#;

/// A section's heading in the README, where it is in [`BASE`], and what templates in it are called.
const SECTIONS: [(&str, &str, &str); 8] = [
    ("Top level", "", ""),
    ("`[connect]`", "connect", "connect."),
    ("`[token]`", "token", "token."),
    ("`[uplink]`", "uplink", "uplink."),
    (
        "`[uplink.envelope.NAME]`",
        "uplink.envelope.n",
        "uplink.envelope.",
    ),
    ("`[[downlink]]`", "downlink.0", "downlink."),
    ("`[ack]`", "ack", "ack."),
    ("`[variables.NAME]`", "variables.v", "variables."),
];

fn readme() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/README.md");
    std::fs::read_to_string(path).unwrap()
}

/// The rows of the first table below a heading, cell by cell.
fn table(readme: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, below) = readme
        .split_once(&format!("# {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let lines = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

fn words(text: &str) -> BTreeSet<String> {
    let inside = text.split('`').skip(1).step_by(2);
    inside.map(str::to_owned).collect()
}

fn section<'a>(table: &'a mut Table, path: &str) -> &'a mut Table {
    path.split('.')
        .filter(|step| !step.is_empty())
        .fold(table, |table, step| {
            let next = match step {
                "downlink" => &mut table["downlink"].as_array_mut().unwrap()[0],
                "0" => return table,
                name => &mut table[name],
            };
            next.as_table_mut().unwrap()
        })
}

/// The base with a key of a section changed, or taken out.
fn parse(path: &str, key: &str, value: Option<Value>) -> Result<Profile, String> {
    let mut base: Table = toml::from_str(BASE).unwrap();
    let section = section(&mut base, path);
    match value {
        Some(value) => section.insert(key.to_owned(), value),
        None => section.remove(key),
    };
    Profile::from_table(base).map_err(|error| error.to_string())
}

fn toml_value(text: &str) -> Value {
    let mut table: Table =
        toml::from_str(&format!("x = {text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    table.remove("x").unwrap()
}

#[test]
fn every_key_is_listed_and_no_other() {
    for (heading, path, _) in SECTIONS {
        let error = parse(path, "zz", Some(Value::Integer(1))).unwrap_err();
        let (_, expected) = error
            .split_once("expected")
            .unwrap_or_else(|| panic!("{heading}: {error}"));
        let listed = table(&readme(), heading)
            .iter()
            .flat_map(|row| words(&row[0]))
            .collect::<BTreeSet<_>>();
        assert_eq!(listed, words(expected), "{heading}");
    }
}

#[test]
fn every_default_is_as_listed() {
    let base = format!("{:?}", Profile::parse(BASE).unwrap());
    let mut checked = 0;
    for (heading, path, _) in SECTIONS {
        for row in table(&readme(), heading) {
            let (key, default) = (row[0].trim_matches('`'), row[1].as_str());
            let mut bare: Table = toml::from_str(BASE).unwrap();
            let in_base = section(&mut bare, path).contains_key(key);
            match default {
                "required" => {
                    let error = parse(path, key, None).unwrap_err();
                    assert!(
                        error.contains(&format!("missing field `{key}`")),
                        "{heading} {key}: {error}"
                    );
                }
                // A section that the base has is left out together with what needs it.
                "none" if key == "token" => {
                    assert!(parse("connect", "password", Some("none".into())).is_err())
                }
                "none" if in_base => assert!(parse(path, key, None).is_ok(), "{heading} {key}"),
                "none" => {}
                _ if in_base => {
                    let left_out = parse(path, key, None).unwrap();
                    let written =
                        parse(path, key, Some(toml_value(default.trim_matches('`')))).unwrap();
                    assert_eq!(
                        format!("{left_out:?}"),
                        format!("{written:?}"),
                        "{heading} {key}"
                    );
                }
                _ => {
                    let written = parse(path, key, Some(toml_value(default.trim_matches('`'))));
                    let written =
                        written.unwrap_or_else(|error| panic!("{heading} {key}: {error}"));
                    assert_eq!(format!("{written:?}"), base, "{heading} {key}");
                }
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} keys were found");
}

#[test]
fn every_word_that_a_key_takes_is_listed() {
    let mut found = 0;
    for (heading, path, _) in SECTIONS {
        for row in table(&readme(), heading) {
            let key = row[0].trim_matches('`');
            let Err(error) = parse(path, key, Some("zz".into())) else {
                continue;
            };
            let Some((_, variants)) = error.split_once("unknown variant `zz`, expected") else {
                continue;
            };
            found += 1;
            for word in words(variants) {
                let listed = row[2].contains(&format!("`\"{word}\"`"))
                    || row[2].contains(&format!("`{{ {word} = "));
                assert!(listed, "{heading} {key}: {word}");
            }
        }
    }
    assert_eq!(found, 5, "session, password, tls_identity, kid, type");
}

#[test]
fn every_template_is_listed_with_its_variables() {
    let readme = readme();
    let rows = table(&readme, "Templates");
    let mut found = BTreeSet::new();
    for (heading, path, name) in SECTIONS {
        for row in table(&readme, heading) {
            let key = row[0].trim_matches('`');
            let shapes = ["\"{zz}\"", "{ x = \"{zz}\" }", "{ literal = \"{zz}\" }"];
            let errors = shapes
                .iter()
                .filter_map(|shape| parse(path, key, Some(toml_value(shape))).err());
            for error in errors {
                let Some((_, known)) =
                    error.split_once("there is no variable {zz} here; there are: ")
                else {
                    continue;
                };
                let name = format!("{name}{key}");
                let row = rows.iter().find(|row| row[0] == format!("`{name}`"));
                let row = row.unwrap_or_else(|| panic!("{name} is missing under Templates"));
                let known = known.split(", ").map(|variable| match variable {
                    "v" => "variables.NAME".to_owned(),
                    known => known.to_owned(),
                });
                assert_eq!(words(&row[1]), known.collect(), "{name}");
                found.insert(name);
            }
        }
    }
    assert_eq!(found.len(), rows.len(), "{found:?}");
}
