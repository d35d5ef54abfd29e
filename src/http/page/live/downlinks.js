// Watching the downlinks of a device, the latest first.

import { devicePath } from "./api.js";
import { $, announce, el, setText } from "./dom.js";
import { clockElement } from "./format.js";
import { stateOf } from "./model.js";
import { follow } from "./stream.js";

/** How many are shown, and how much of each. */
const SHOWN = 50;
const LENGTH = 4000;
/** JSON that is not longer stands on one line. */
const LINE = 60;

export class DownlinkPanel {
  #id = null;
  #stream = null;

  constructor() {
    $("listen").addEventListener("click", () => (this.#stream ? this.#stop() : this.#listen()));
  }

  /** Shows the panel for a device, or not at all. */
  show(id) {
    if (id === this.#id) {
      return;
    }
    this.#stop();
    this.#id = id;
    $("downlinks").hidden = id === null;
    $("downlinks-list").replaceChildren();
    this.#say("Messages from the platform to this device. Nothing is taken away from other listeners.");
  }

  #listen() {
    this.#button(true);
    const path = `${devicePath(this.#id)}/downlinks`;
    this.#stream = follow(
      path,
      (event) => this.#take(event),
      (state, about) => this.#state(state, about),
    );
  }

  #stop() {
    this.#stream?.stop();
    this.#stream = null;
    this.#button(false);
    this.#say($("downlinks-list").children.length ? "" : "Not listening.");
  }

  #button(pressed) {
    $("listen").setAttribute("aria-pressed", pressed);
    setText($("listen"), pressed ? "Stop" : "Listen");
  }

  #state(state, about) {
    const empty = $("downlinks-list").children.length === 0;
    switch (state) {
      case "connecting":
        this.#say("Connecting…");
        break;
      case "live":
        this.#say(empty ? "Listening. Nothing has come yet." : "");
        break;
      case "lost":
        this.#say(about.why);
        break;
      case "refused":
        this.#stop();
        this.#say(about.refusal.message);
        break;
    }
  }

  #take({ event, data }) {
    const list = $("downlinks-list");
    const entry = { downlink, gap, session, deleted }[event]?.(data);
    if (!entry) {
      return;
    }
    this.#say("");
    list.prepend(entry);
    if (event === "downlink") {
      announce(`A downlink has come${data.topic ? ` on ${data.topic}` : ""}.`, { minor: true });
    }
    while (list.children.length > SHOWN) {
      list.lastElementChild.remove();
    }
  }

  #say(text) {
    setText($("downlinks-empty"), text);
    $("downlinks-empty").hidden = text === "";
  }
}

function downlink(data) {
  const about = [
    data.content_type,
    data.encoding,
    data.retained ? "retained" : undefined,
    `QoS ${data.qos}`,
  ].filter(Boolean);
  return el(
    "li",
    {},
    el("p", { class: "line" }, clockElement(data.received_at), el("span", { class: "id topic" }, data.topic || "(no topic)"), el("small", {}, about.join(" · "))),
    payload(data.payload),
  );
}

function payload(value) {
  const text = typeof value === "string" ? value : json(value);
  const cut = text.length > LENGTH ? `${text.slice(0, LENGTH)}\n… (${text.length} characters)` : text;
  return el("pre", { tabindex: "0" }, cut);
}

function json(value) {
  const lines = JSON.stringify(value, null, 2);
  // In JSON, a line only ends between values.
  const line = lines.replaceAll(/\n */g, " ");
  return line.length > LINE ? lines : line;
}

function gap(data) {
  return el("li", { class: "note" }, `Downlinks are missing here: they are no longer kept. It goes on behind ${data.next}.`);
}

function deleted() {
  return el("li", { class: "note" }, "The device was deleted.");
}

function session(data) {
  const error = data.state !== "connected" && data.last_error ? `: ${data.last_error.what}` : "";
  return el("li", { class: "note" }, clockElement(data.since), `Session ${stateOf(data).name.toLowerCase()}${error}`);
}
