//! What pages consist of: their links lead somewhere, and what they show can be run and read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use causeway::config::Config;
use causeway::profile::Profile;

use super::{BOOK, page, pages, place};
use crate::harness::markdown::project;

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
