//! The pages do nothing but what they are for: what they show is text, what they know stays with them, and the browser
//! holds them to it.

use serde_json::{Value, json};

use super::{ROWS, assert_well_behaved, config, open, until_live};
use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::browser::{Browser, ENTER, Screen};
use crate::harness::eventually::eventually;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::shell::paste;

/// Ids as somebody would choose them who wants a page to do something; all of them can be part of a topic.
const HOSTILE: [&str; 6] = [
    "<img src=x onerror=pwned()>",
    "\"><script>pwned()<!--",
    "__proto__",
    "a&b=c;d?e%20'f",
    "\u{202e}drawkcab",
    "{{constructor.constructor('pwned()')()}}",
];

#[tokio::test]
async fn what_devices_and_platforms_say_is_only_ever_text() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(&broker, HOSTILE)).await;
    let browser = Browser::start(Screen::Wide).await;
    open(&browser, &bridge, "/").await;
    until_live(&browser).await;
    let elements = "document.querySelectorAll('img, script, iframe, object, embed').length";
    let before = browser.value(elements).await;
    for device in HOSTILE {
        let has = "return [...document.querySelectorAll('#devices-rows button')].some((b) => b.textContent === arguments[0])";
        eventually("the device in the list", DEADLINE, async || {
            browser.script(has, &[json!(device)]).await == true
        })
        .await;
        let choose = "for (const b of document.querySelectorAll('#devices-rows button')) if (b.textContent === arguments[0]) b.click()";
        browser.script(choose, &[json!(device)]).await;
        browser
            .until(
                "the device",
                &format!(
                    "document.querySelector('#device-title').textContent === {}",
                    json!(device)
                ),
            )
            .await;
        browser.until_text("#device-facts", "Delivered").await;
        browser.click("#listen").await;
        browser.until_text("#downlinks-empty", "Listening").await;
        for payload in [
            "<img src=x onerror=pwned()><script>pwned()</script>",
            "\u{202e}\u{1b}[31mred",
            "{\"__proto__\": {\"html\": \"<b>\"}}",
        ] {
            let message = Message::new(
                &format!("devices/{device}/down/<svg onload=pwned()>"),
                payload,
            );
            broker.access().publish(&message).await.accepted();
        }
        browser
            .until(
                "three downlinks",
                "document.querySelectorAll('#downlinks-list li pre').length === 3",
            )
            .await;
        browser.fill("#test-body", "\"<script>\"").await;
        browser.click("#test-send").await;
        browser.until_text("#test-result", "Delivered").await;
        let line = browser
            .value("document.querySelector('#curl').textContent")
            .await;
        let receipt: Value = serde_json::from_str(&paste(line.as_str().unwrap()).await).unwrap();
        assert_eq!(receipt["device"], device);
    }
    let text = browser
        .value("document.querySelector('#downlinks-list').textContent")
        .await;
    assert!(
        text.as_str()
            .unwrap()
            .contains("<img src=x onerror=pwned()><script>pwned()</script>")
    );
    assert_eq!(browser.value(elements).await, before);
    assert_eq!(
        browser
            .value("({}).html === undefined && typeof pwned")
            .await,
        "undefined"
    );
    assert_well_behaved(&browser, &bridge, &[]).await;
}

#[tokio::test]
async fn a_token_is_pasted_once_and_never_stands_in_an_address() {
    let broker = Mosquitto::start().await;
    let folder = tempfile::tempdir().unwrap();
    let token = "a-token-that-nobody-would-guess-0123456789";
    std::fs::write(folder.path().join("token"), token).unwrap();
    let access = "[access.tokens.dashboard]\ntoken_file = \"token\"\nscopes = [\"devices:read\", \"uplink\", \"downlink\"]\ndevices = [\"pump-*\"]\n";
    let config = config(&broker, ["pump-1", "pump-2", "valve-1"]) + access;
    let bridge = TestBridge::start_in(folder, &config).await;
    let browser = Browser::start(Screen::Wide).await;
    open(&browser, &bridge, "/").await;
    browser
        .until(
            "the question",
            "document.querySelector('#token-dialog').open",
        )
        .await;
    assert_eq!(
        browser.value("document.activeElement.id").await,
        "token-value"
    );
    browser
        .press(
            "#token-value",
            &format!("{}{ENTER}", "wrong-wrong-wrong-wrong-wrong-wrong-wrong"),
        )
        .await;
    browser.until_text("#token-why", "not known").await;
    browser.press("#token-value", token).await;
    browser.click("#token-use").await;
    until_live(&browser).await;
    browser
        .until("the token's devices", &format!("{ROWS} === 2"))
        .await;

    browser.click("#devices-rows tr:nth-child(2)").await;
    browser.until_text("#device-facts", "Delivered").await;
    browser.click("#listen").await;
    browser.until_text("#downlinks-empty", "Listening").await;
    browser.click("#test-send").await;
    browser.until_text("#test-result", "Delivered").await;
    let line = browser
        .value("document.querySelector('#curl').textContent")
        .await;
    assert!(line.as_str().unwrap().contains("Bearer $TOKEN"), "{line}");
    let page = browser
        .value("document.documentElement.outerHTML + location.href + document.cookie")
        .await;
    assert!(!page.as_str().unwrap().contains(token));
    assert_eq!(
        browser
            .value("Object.values(localStorage).join()")
            .await
            .as_str()
            .map(|all| all.contains(token)),
        Some(false)
    );
    let requested = browser.requested().await;
    assert!(requested.iter().any(|url| url.contains("/v1/events")));
    assert!(
        !requested.iter().any(|url| url.contains("token-that")),
        "{requested:?}"
    );

    // It lasts as long as the tab.
    open(&browser, &bridge, "/").await;
    until_live(&browser).await;
    browser.click("#token").await;
    browser.click("#token-forget").await;
    browser
        .until(
            "the question",
            "document.querySelector('#token-dialog').open",
        )
        .await;
    assert_eq!(browser.value("sessionStorage.length").await, 0);
}

#[tokio::test]
async fn the_browser_lets_the_pages_do_nothing_else() {
    let bridge = TestBridge::without_store("").await;
    let other = TestBridge::without_store("").await;
    let other = [json!(format!("http://{}", other.addr()))];
    let browser = Browser::start(Screen::Wide).await;
    let script = format!(
        "return (async () => {{ {} }})();",
        include_str!("forbidden.js")
    );
    for path in ["/", "/docs"] {
        open(&browser, &bridge, path).await;
        let found = browser.script(&script, &other).await;
        assert_eq!(found["possible"], json!([]), "{path}");
        let parts = [
            "connect-src",
            "frame-src",
            "img-src",
            "require-trusted-types-for",
            "script-src-elem",
            "style-src-elem",
            "trusted-types",
        ];
        for part in parts {
            let forbade = found["parts"].as_array().unwrap();
            assert!(
                forbade.contains(&json!(part)),
                "{path}: {part}: {forbade:?}"
            );
        }
    }
}
