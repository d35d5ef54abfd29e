//! Configurations that are refused while the bridge runs: as a whole, and it says so.

use super::{FILES, Plant, broker, config, with_listeners, write};
use crate::harness::DEADLINE;
use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::http::Http;
use crate::harness::port::Port;

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
