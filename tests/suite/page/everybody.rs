//! The pages are for everybody: without a mouse, without a screen, in the dark.

use serde_json::Value;

use super::{assert_accessible, assert_well_behaved, config, open, until_live};
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::browser::{Browser, ENTER, ESCAPE, Screen, TAB};
use crate::harness::mosquitto::Mosquitto;

#[tokio::test]
async fn the_pages_are_for_everybody() {
    let mut broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(&broker, ["pump-1", "pump-2"])).await;
    let empty = TestBridge::without_store("").await;
    let browser = Browser::start(Screen::Wide).await;
    open(&browser, &empty, "/").await;
    until_live(&browser).await;
    browser.until_text("#devices-empty", "No devices yet").await;
    assert_accessible(&browser, "without devices").await;
    assert_well_behaved(&browser, &empty, &[]).await;

    open(&browser, &bridge, "/#device=pump-1").await;
    until_live(&browser).await;
    browser.until_text("#device-facts", "Delivered").await;
    browser.click("#test-send").await;
    browser.until_text("#test-result", "Delivered").await;
    browser.click("#listen").await;
    let message = Message::new("devices/pump-1/down/led", "on");
    browser.until_text("#downlinks-empty", "Listening").await;
    broker.access().publish(&message).await.accepted();
    browser.until_text("#downlinks-list", "on").await;
    broker.stop().await;
    browser.until_text("#troubles-list", "pump-2").await;
    for dark in [false, true] {
        browser.prefer_dark(dark).await;
        assert_accessible(&browser, &format!("in trouble, dark: {dark}")).await;
    }
    browser.prefer_dark(false).await;

    // What the reader chooses wins over the system, and is kept.
    browser.click("#theme").await;
    browser.click("#theme").await;
    assert_eq!(
        browser
            .value("document.documentElement.dataset.theme")
            .await,
        "dark"
    );
    open(&browser, &bridge, "/docs").await;
    assert_eq!(
        browser
            .value("document.documentElement.dataset.theme")
            .await,
        "dark"
    );
    assert_accessible(&browser, "the API page, dark").await;
    browser.click("#theme").await;
    assert_accessible(&browser, "the API page").await;
    assert_well_behaved(&browser, &bridge, &[]).await;
}

/// What a keyboard must reach, in the order of the page, each with a number to know it by.
const MARK: &str = r#"
const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
const usable = [...all].filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled);
usable.forEach((element, at) => (element.dataset.order = at));
return usable.length;
"#;

/// Where the focus is: its number, and whether it can be seen there.
const FOCUS: &str = r#"
const element = document.activeElement;
if (!element || element === document.body) return null;
const style = getComputedStyle(element);
const ring = style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 1.5 && style.opacity === "1";
const { top, bottom, width, height } = element.getBoundingClientRect();
const inView = bottom > 0 && top < innerHeight && width > 0 && height > 0;
return { order: element.dataset.order ?? element.outerHTML.slice(0, 80), ring, inView };
"#;

/// Walks with the tabulator key from the beginning of the page to its end.
async fn walk(browser: &Browser, what: &str) {
    let count = browser.script(MARK, &[]).await.as_u64().unwrap();
    assert!(count > 10, "{what}: {count}");
    for at in 0..count {
        browser.key(TAB).await;
        let focus = browser.script(FOCUS, &[]).await;
        assert_eq!(
            focus["order"],
            Value::from(at.to_string()),
            "{what}: {focus}"
        );
        assert_eq!(
            focus["ring"], true,
            "{what}: {focus}: the focus cannot be seen"
        );
        assert_eq!(
            focus["inView"], true,
            "{what}: {focus}: the focus is out of view"
        );
    }
    browser.key(TAB).await;
    let behind = browser.script(FOCUS, &[]).await;
    assert!(
        behind.is_null() || behind["order"] == "0",
        "{what}: {behind}: a trap"
    );
}

#[tokio::test]
async fn a_keyboard_reaches_everything_in_order_and_is_never_trapped() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(&broker, ["pump-1", "pump-2"])).await;
    let browser = Browser::start(Screen::Wide).await;
    open(&browser, &bridge, "/#device=pump-1").await;
    until_live(&browser).await;
    browser.until_text("#device-facts", "Delivered").await;
    walk(&browser, "the live page").await;

    // The skip link leads past the head, and the device that is looked at stays.
    browser.press(".skip", ENTER).await;
    let focused = "document.activeElement.id";
    assert_eq!(browser.value(focused).await, "devices");
    assert_eq!(browser.value("location.hash").await, "#device=pump-1");
    browser.key(TAB).await;
    assert_eq!(browser.value(focused).await, "filter");

    // The question for a token opens, keeps the focus, and gives it back.
    browser.press("#token", ENTER).await;
    browser
        .until("the field", "document.activeElement.id === 'token-value'")
        .await;
    browser.key(ESCAPE).await;
    browser
        .until("the way back", "document.activeElement.id === 'token'")
        .await;

    open(&browser, &bridge, "/docs").await;
    walk(&browser, "the API page").await;
}
