//! Tokens from the command line, as a script makes and uses them.

use std::fs;
use std::path::Path;

use crate::harness::bridge::TestBridge;
use crate::harness::shell::paste;

const DEVICES: &str = "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://127.0.0.1:1\"\n[devices.pump-1]\nconnector = \"local\"\n";

async fn script(folder: &Path, line: &str) -> String {
    let (folder, causeway) = (folder.display(), env!("CARGO_BIN_EXE_causeway"));
    paste(&format!(
        "set -e; cd {folder}; causeway() {{ {causeway} \"$@\"; }}; {line}"
    ))
    .await
}

#[tokio::test]
async fn a_token_is_made_and_lets_its_program_in() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sections.toml"), DEVICES).unwrap();
    let new = "causeway access new dashboard --scopes devices:read --devices 'pump-*' --expires 90days 2>>sections.toml";
    let token = script(folder.path(), new).await;
    assert!(token.starts_with("cwy_") && token.len() == 47, "{token}");
    let sections = fs::read_to_string(folder.path().join("sections.toml")).unwrap();
    assert!(!sections.contains(&token), "{sections}");

    let bridge = TestBridge::start(&sections).await;
    let http = bridge.http.with_token(&token);
    assert_eq!(http.get("/v1/devices/pump-1").await.status, 200);
    assert_eq!(http.get("/v1/devices/valve-1").await.status, 403);
    assert_eq!(bridge.http.get("/v1/devices/pump-1").await.status, 401);

    let hash = script(
        folder.path(),
        &format!("printf %s {token} | causeway access hash"),
    )
    .await;
    assert!(
        sections.contains(&format!("hash = \"{hash}\"\n")),
        "{hash}\n{sections}"
    );
}

#[tokio::test]
async fn what_is_no_token_has_no_hash() {
    let folder = tempfile::tempdir().unwrap();
    let said = script(
        folder.path(),
        "echo short | causeway access hash 2>&1 || echo failed $?",
    )
    .await;
    assert!(
        said.contains("at least 16 characters") && said.ends_with("failed 1"),
        "{said}"
    );
}
