//! What else is taken over: who may do what, the listener's certificate, origins; and what needs a new start is named.

use reqwest::Method;

use super::{FILES, Plant, broker, config, write};
use crate::harness::certificates::{Authority, Identity};
use crate::harness::http::{Http, Reply};

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
