// The live page: one stream of events feeds a model, and the parts of the page draw what they need of it.

import { hasToken, setToken } from "./api.js";
import { ClusterCard } from "./cluster.js";
import { DevicePanel } from "./device.js";
import { DeviceList } from "./devices.js";
import { $, announce, setText } from "./dom.js";
import { DownlinkPanel } from "./downlinks.js";
import { plural, refreshTimes, setClock } from "./format.js";
import { Model } from "./model.js";
import { Overview } from "./overview.js";
import { follow } from "./stream.js";
import { Troubles, drawTitle } from "./troubles.js";
import { UplinkForm } from "./uplink.js";

const EVENTS = "/v1/events?receipts=failed&figures=2";
/** The page is drawn at most so often, in milliseconds, whatever comes. */
const FRAME = 250;
/** A tab that nobody looks at for this long gives its connection back: a browser has few of them for all its tabs. */
const UNSEEN = 60_000;

const model = new Model();
const overview = new Overview();
const list = new DeviceList(model, choose);
const troubles = new Troubles(model, choose);
const cluster = new ClusterCard();
const device = new DevicePanel(model);
const downlinks = new DownlinkPanel();
const form = new UplinkForm();

let due = false;

function draw() {
  if (due) {
    return;
  }
  due = true;
  setTimeout(() => {
    due = false;
    list.draw();
    troubles.draw();
    device.draw();
    drawTitle(model.troubled().length);
  }, FRAME);
}

let inTrouble = 0;

/** Says it when the number of devices in trouble changes. */
function sayTrouble() {
  const now = model.troubled().length;
  if (model.complete && now !== inTrouble) {
    inTrouble = now;
    announce(now ? `${plural(now, "device needs", "devices need")} attention.` : "No device needs attention.");
  }
}

function take(event) {
  const rates = model.take(event);
  if (event.event === "figures") {
    setClock(event.data.at);
    overview.take(event.data, rates);
    sayTrouble();
  }
  draw();
}

function link(state, about = {}) {
  const words = {
    connecting: "Connecting…",
    live: "Live",
    lost: "No connection",
    refused: "Not allowed",
    paused: "Paused",
  };
  if (state === "live") {
    model.begin();
    cluster.begin();
  } else {
    cluster.end();
  }
  if ($("link").dataset.state === "live" || state === "live") {
    announce(state === "live" ? "The page is live." : "The page is not live.");
  }
  $("link").dataset.state = state;
  setText($("link-text"), words[state]);
  $("main").classList.toggle("stale", state !== "live" && model.complete);
  const stale = model.complete ? " What is shown is how it was." : "";
  notice(state === "lost" ? `${about.why}${stale} Trying again.` : state === "refused" ? refusal(about.refusal) : "");
}

function refusal(refusal) {
  if (refusal.status === 401) {
    askForToken(hasToken() ? sentence(refusal.message) : "This bridge asks for a token.");
  }
  return [refusal.message, refusal.problem.hint].filter(Boolean).map(sentence).join(" ");
}

/** What the bridge says, as a sentence. */
function sentence(text) {
  const end = /[.?!]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
}

function notice(text) {
  setText($("notice"), text);
  $("notice").hidden = text === "";
}

const events = follow(EVENTS, take, link);

/* One device is looked at. Which one is in the address, so that it can be kept or sent to somebody. */

function choose(id) {
  location.hash = `device=${encodeURIComponent(id)}`;
}

function chosen() {
  const [name, value] = location.hash.slice(1).split("=");
  try {
    return name === "device" && value ? decodeURIComponent(value) : null;
  } catch {
    return null;
  }
}

function look(follow) {
  const id = chosen();
  device.show(id);
  downlinks.show(id);
  list.mark(id);
  if (id !== null) {
    form.setDevice(id);
  }
  // Beside the list there is nothing to scroll to.
  if (follow && id !== null && matchMedia("(max-width: 64rem)").matches) {
    $("device").scrollIntoView();
    $("device").focus({ preventScroll: true });
  }
}

addEventListener("hashchange", () => look(true));
// The address stays: it says which device is looked at.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("devices").focus();
});
$("device-close").addEventListener("click", () => {
  location.hash = "";
  $("devices").focus();
});
look(false);

/* The token. */

function askForToken(why = "Where tokens are configured, the bridge asks for one.") {
  setText($("token-why"), why);
  $("token-forget").hidden = !hasToken();
  if (!$("token-dialog").open) {
    $("token-value").value = "";
    $("token-dialog").showModal();
  }
}

function useToken(value) {
  setToken(value);
  $("token-dialog").close();
  form.drawCurl();
  events.again();
  look(false);
}

$("token").addEventListener("click", () => askForToken());
$("token-cancel").addEventListener("click", () => $("token-dialog").close());
$("token-forget").addEventListener("click", () => useToken(""));
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken($("token-value").value);
});

/* A tab that is not seen. */

let unseen;
let paused = false;

document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) {
    unseen = setTimeout(() => {
      paused = true;
      events.stop();
      link("paused");
    }, UNSEEN);
  } else if (paused) {
    paused = false;
    events.again();
  }
});

setInterval(refreshTimes, 1000);
