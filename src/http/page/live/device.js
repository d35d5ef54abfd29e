// One device: its session in detail, asked for again every few seconds while somebody looks.

import { devicePath, request } from "./api.js";
import { Chart } from "./chart.js";
import { badge } from "./devices.js";
import { $, el, setText } from "./dom.js";
import { bytes, count, plural, rate, setTime, timeElement } from "./format.js";
import { stateOf } from "./model.js";

const INTERVAL = 2000;

export class DevicePanel {
  #model;
  #id = null;
  #timer;
  #aborter;
  #chart = new Chart($("device-chart"), "Uplinks per second of this session");
  #previous = null;

  constructor(model) {
    this.#model = model;
  }

  /** Looks at a device, or at none. */
  show(id) {
    this.#id = id;
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    this.#aborter = new AbortController();
    this.#previous = null;
    this.#chart.clear();
    $("device-close").hidden = id === null;
    $("device-empty").hidden = id !== null;
    $("device-body").hidden = true;
    const title = $("device-title");
    title.classList.toggle("id", id !== null);
    setText(title, id ?? "No device chosen");
    if (id !== null) {
      this.#ask(id);
    }
  }

  /** The state as the list has it, between two answers. */
  draw() {
    const device = this.#model.devices.get(this.#id);
    if (device && !$("device-body").hidden) {
      badge($("device-state"), device);
    }
  }

  async #ask(id) {
    const { signal } = this.#aborter;
    try {
      if (!document.hidden) {
        const answer = await request(`${devicePath(id)}/session`, { signal });
        this.#draw(await answer.json());
      }
    } catch (error) {
      if (!signal.aborted) {
        this.#fail(error);
      }
    }
    if (!signal.aborted) {
      this.#timer = setTimeout(() => this.#ask(id), INTERVAL);
    }
  }

  #fail(error) {
    $("device-body").hidden = true;
    $("device-empty").hidden = false;
    setText($("device-empty"), error.message);
  }

  #draw(session) {
    $("device-empty").hidden = true;
    $("device-body").hidden = false;
    badge($("device-state"), this.#model.devices.get(this.#id) ?? session);
    setText($("device-about"), stateOf(session).about);
    this.#drawTrouble(session);
    this.#drawRate(session);
    this.#drawFacts(session);
  }

  #drawTrouble({ last_error: error, state }) {
    const box = $("device-trouble");
    box.hidden = !error;
    if (!error || box.dataset.at === error.at + state) {
      return;
    }
    box.dataset.at = error.at + state;
    box.dataset.over = state === "connected";
    const when = el("small", {}, state === "connected" ? "It is over. It was " : "", timeElement(error.at));
    box.replaceChildren(el("p", {}, error.what), el("p", { class: "hint" }, error.hint), when);
  }

  #drawRate({ counters }) {
    const now = performance.now();
    const previous = this.#previous;
    this.#previous = { now, delivered: counters.delivered };
    if (!previous) {
      return;
    }
    const perSecond = Math.max(0, counters.delivered - previous.delivered) / ((now - previous.now) / 1000);
    this.#chart.push(perSecond);
    setText($("device-more"), `${rate(perSecond)} uplinks per second`);
  }

  #drawFacts(session) {
    const { counters, backlog } = session;
    const onDisk = backlog && (backlog.count ? `${plural(backlog.count, "uplink", "uplinks")}, ${bytes(backlog.bytes)}` : "nothing");
    drawFacts($("device-facts"), [
      ["Since", session.since],
      ["Token expires", session.token_expires_at],
      ["Delivered", plural(counters.delivered, "uplink", "uplinks")],
      ["Received", plural(counters.downlinks, "downlink", "downlinks")],
      ["On disk", onDisk],
      ["Oldest on disk", backlog?.oldest],
    ]);
    drawFacts($("device-details"), [
      ["Client id", session.client_id],
      ["MQTT", session.mqtt_version],
      ["Connections", count(counters.connects)],
      ["Token renewals", count(counters.renewals)],
      ["Refused", plural(counters.refused, "uplink", "uplinks")],
      ["Sent again", plural(counters.repeated, "uplink", "uplinks")],
      ["To send", plural(session.queued, "uplink", "uplinks")],
      ["Unconfirmed", plural(session.in_flight, "uplink", "uplinks")],
    ]);
  }
}

/** Names and values; those without a value are left out. */
function drawFacts(list, facts) {
  const present = facts.filter(([, value]) => value !== undefined);
  const names = present.map(([name]) => name).join();
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    const places = ([name, value]) => [el("dt", {}, name), el("dd", {}, isTime(value) ? el("time") : "")];
    list.replaceChildren(...present.flatMap(places));
  }
  present.forEach(([, value], at) => {
    const place = list.children[2 * at + 1];
    if (isTime(value)) {
      setTime(place.firstChild, value);
    } else {
      setText(place, value);
    }
  });
}

/** As the bridge writes times, and nothing else here. */
const isTime = (text) => /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text);
