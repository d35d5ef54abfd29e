//! The live page as it is used, in a real browser.

use serde_json::Value;

use super::{ROWS, assert_accessible, assert_well_behaved, config, open, until_live};
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::browser::{Browser, ENTER, Screen, TAB};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::{Cut, Proxy};
use crate::harness::shell::paste;
use crate::harness::subscriber::Subscriber;

#[tokio::test]
async fn the_page_shows_what_goes_on_and_sends_a_test_uplink() {
    let mut broker = Mosquitto::start().await;
    let platform = Subscriber::start(&broker.access(), &["devices/+/up/#", "devices/+/up"]).await;
    let bridge = TestBridge::start(&config(&broker, ["pump-1", "pump-2"])).await;
    bridge.until("pump-1", "connected").await;
    let browser = Browser::start(Screen::Wide).await;
    open(&browser, &bridge, "/").await;
    until_live(&browser).await;
    browser
        .until("both devices", &format!("{ROWS} === 2"))
        .await;
    browser.until_text("#devices-rows", "Connected").await;
    assert_eq!(browser.value("document.title").await, "Causeway");

    // The keyboard alone: past the skip link to the list, and into a device.
    browser.press("body", TAB).await;
    assert_eq!(
        browser
            .value("document.activeElement.className.includes('skip')")
            .await,
        true
    );
    browser
        .press("#devices-rows tr:nth-child(1) button", ENTER)
        .await;
    browser.until_text("#device-title", "pump-1").await;
    browser.until_text("#device-facts", "Delivered").await;
    assert_eq!(browser.value("location.hash").await, "#device=pump-1");

    browser.fill("#test-subtopic", "alerts/too hot").await;
    browser.fill("#test-body", "{\"it's\": \"hot\"}").await;
    browser.click("#test-send").await;
    browser.until_text("#test-result", "Delivered").await;
    browser.until_text("#test-result", "200 in ").await;
    let sent = platform.wait_count(1).await.remove(0);
    assert_eq!(sent.topic, "devices/pump-1/up/alerts/too hot");
    assert_eq!(sent.text(), "{\"it's\": \"hot\"}");
    // What it shows for a terminal does the same.
    let line = browser
        .value("document.querySelector('#curl').textContent")
        .await;
    let receipt: Value = serde_json::from_str(&paste(line.as_str().unwrap()).await).unwrap();
    assert_eq!(receipt["status"], "delivered");
    assert_eq!(platform.wait_count(2).await[1], sent);
    browser.until_text("#uplink-more", "2 delivered").await;

    browser.click("#listen").await;
    browser.until_text("#downlinks-empty", "Listening").await;
    let message = Message::new("devices/pump-1/down/led", r#"{"on": true}"#);
    broker.access().publish(&message).await.accepted();
    browser.until_text("#downlinks-list", "\"on\": true").await;
    browser.until_text("#downlinks-list", "led").await;

    // The broker goes, and comes back.
    broker.stop().await;
    browser.until_text("#troubles", "Needs attention").await;
    browser.until_text("#troubles-list .hint", " ").await;
    browser.until_text("#device-state", "Disconnected").await;
    browser
        .until("the title", "document.title === '(2) Causeway'")
        .await;
    browser.fill("#test-body", "1").await;
    browser.click("#test-send").await;
    browser.until_text("#test-result", "Queued").await;
    browser
        .until_text("#waiting-more", "1 uplink on disk")
        .await;
    broker.restart().await;
    browser.until_text("#test-result", "Delivered").await;
    browser
        .until("no trouble", "document.querySelector('#troubles').hidden")
        .await;
    browser
        .until("the title", "document.title === 'Causeway'")
        .await;
    browser.until_text("#failures-list", "pump-1").await;
    browser.until_text("#failures-list .hint", " ").await;

    // A device that is not there: the bridge's own words, and where they are explained.
    browser.fill("#test-device", "nobody").await;
    browser.click("#test-send").await;
    browser
        .until_text("#test-result", "404 Unknown device")
        .await;
    let link = browser
        .value("document.querySelector('#test-result a').getAttribute('href')")
        .await;
    assert_eq!(link, "/docs#problem-unknown-device");
    assert_well_behaved(&browser, &bridge, &["404 (Not Found)"]).await;

    // The bridge goes: the page says so, and does not pretend.
    let folder = bridge.stop().await;
    browser.until_text("#link-text", "No connection").await;
    browser
        .until_text("#notice", "What is shown is how it was")
        .await;
    drop(folder);
}

#[tokio::test]
async fn a_page_that_lost_its_bridge_says_so_and_comes_back_by_itself() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(&broker, ["pump-1", "pump-2"])).await;
    let way = Proxy::start(bridge.addr());
    let browser = Browser::start(Screen::Wide).await;
    let url = format!("http://{}/#device=pump-1", way.addr());
    browser.open(&url).await;
    until_live(&browser).await;
    browser.until_text("#device-facts", "Delivered").await;
    browser.click("#listen").await;
    browser.until_text("#downlinks-empty", "Listening").await;

    way.refuse().await;
    way.cut(Cut::Reset);
    browser.until_text("#link-text", "No connection").await;
    let notice = "What is shown is how it was";
    browser.until_text("#notice", notice).await;
    // The devices are still there to be read, although without their colours.
    assert_eq!(browser.value(ROWS).await, 2);
    assert_accessible(&browser, "without a bridge").await;
    browser.fill("#test-body", "1").await;
    browser.click("#test-send").await;
    browser.until_text("#test-result", "No answer").await;

    way.admit();
    until_live(&browser).await;
    let hidden = "document.querySelector('#notice').hidden";
    browser.until("no notice", hidden).await;
    browser.until_text("#downlinks-empty", "Listening").await;
    let message = Message::new("devices/pump-1/down/led", "on again");
    broker.access().publish(&message).await.accepted();
    browser.until_text("#downlinks-list", "on again").await;
    browser.click("#test-send").await;
    browser.until_text("#test-result", "Delivered").await;
    browser.until_text("#device-facts", "1 uplink").await;
}

#[tokio::test]
async fn thousands_of_devices_are_shown_page_by_page() {
    let broker = Mosquitto::start().await;
    let devices = (0..2000).map(|number| format!("pump-{number:04}"));
    let bridge = TestBridge::start(&config(&broker, devices)).await;
    let browser = Browser::start(Screen::Phone).await;
    open(&browser, &bridge, "/").await;
    until_live(&browser).await;
    browser.until_text("#range", "1–50 of 2,000").await;
    assert_eq!(browser.value(ROWS).await, 50);
    browser.click("#next").await;
    browser.until_text("#range", "51–100 of 2,000").await;
    browser.fill("#filter", "PUMP-199").await;
    browser.until("ten rows", &format!("{ROWS} === 10")).await;
    browser.fill("#filter", "nothing like it").await;
    browser
        .until_text("#devices-empty", "No device matches")
        .await;
    browser.click("#devices-empty button").await;
    browser.until_text("#range", "1–50 of 2,000").await;

    // With a finger: the device comes into view.
    browser.click("#devices-rows tr:nth-child(3)").await;
    browser.until_text("#device-title", "pump-0002").await;
    browser
        .until(
            "the device in view",
            "Math.abs(document.querySelector('#device').getBoundingClientRect().top) < 60",
        )
        .await;
    browser.until_text("#device-facts", "Delivered").await;
    assert_accessible(&browser, "the page on a phone").await;
    assert_well_behaved(&browser, &bridge, &[]).await;
}
