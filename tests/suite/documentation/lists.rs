//! Lists in the documentation are those of the program: problems, causes, states, routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reqwest::StatusCode;
use serde_json::Value;

use super::BOOK;
use crate::harness::markdown::project;

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
