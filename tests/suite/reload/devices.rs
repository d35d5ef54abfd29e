//! Devices that change, come and go with the configuration; the others keep their connections.

use reqwest::Method;
use serde_json::json;

use super::{FILES, Plant, accepted, broker, config, write};
use crate::harness::access::Message;
use crate::harness::http::Reply;
use crate::harness::subscriber::Subscriber;

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
