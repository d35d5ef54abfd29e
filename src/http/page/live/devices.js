// The list of devices: filtered, in an order, and one page of it at a time, so that thousands are no burden.

import { $, el, setText } from "./dom.js";
import { count, setTime } from "./format.js";
import { STATES, stateOf } from "./model.js";

const PAGE = 50;

const text = (value) => value ?? "";
const byId = (a, b) => (a.id < b.id ? -1 : 1);
const ORDERS = {
  id: byId,
  trouble: (a, b) => b.trouble - a.trouble || byId(a, b),
  uplink: (a, b) => text(b.last_uplink_at).localeCompare(text(a.last_uplink_at)) || byId(a, b),
  backlog: (a, b) => b.backlog - a.backlog || byId(a, b),
};

export class DeviceList {
  #model;
  #choose;
  #first = 0;
  #chosen = null;
  #rows = new Map();

  constructor(model, choose) {
    this.#model = model;
    this.#choose = choose;
    $("state").append(el("option", { value: "" }, "All states"), el("option", { value: "trouble" }, "In trouble"));
    for (const [value, { name }] of Object.entries(STATES)) {
      $("state").append(el("option", { value }, name));
    }
    for (const id of ["filter", "state", "order"]) {
      $(id).addEventListener("input", () => {
        this.#first = 0;
        this.draw();
      });
    }
    $("previous").addEventListener("click", () => this.#turn(-PAGE));
    $("next").addEventListener("click", () => this.#turn(PAGE));
  }

  /** Marks the device that is looked at. */
  mark(id) {
    this.#chosen = id;
    this.draw();
  }

  draw() {
    const all = this.#model.devices;
    const found = this.#find();
    this.#first = Math.max(0, Math.min(this.#first, Math.floor((found.length - 1) / PAGE) * PAGE));
    const page = found.slice(this.#first, this.#first + PAGE);
    $("devices-table").hidden = page.length === 0;
    $("tools").hidden = all.size === 0;
    this.#drawEmpty(page.length > 0, all.size);
    this.#drawRows(page);
    $("pager").hidden = found.length <= PAGE;
    const range = `${count(this.#first + 1)}–${count(this.#first + page.length)} of ${count(found.length)}`;
    setText($("range"), range);
    $("previous").disabled = this.#first === 0;
    $("next").disabled = this.#first + PAGE >= found.length;
  }

  #turn(by) {
    this.#first += by;
    this.draw();
    $("devices").scrollIntoView({ block: "start" });
  }

  #find() {
    const words = $("filter").value.trim().toLowerCase();
    const state = $("state").value;
    const matches = (device) =>
      (!words || device.id.toLowerCase().includes(words) || device.connector.toLowerCase().includes(words)) &&
      (!state || (state === "trouble" ? device.trouble : device.state === state));
    return [...this.#model.devices.values()].filter(matches).sort(ORDERS[$("order").value]);
  }

  #drawEmpty(found, registered) {
    const empty = $("devices-empty");
    const why = found ? "" : !this.#model.complete ? "asking" : registered > 0 ? "filter" : "none";
    empty.hidden = why === "";
    if (empty.dataset.why === why) {
      return;
    }
    empty.dataset.why = why;
    switch (why) {
      case "asking":
        empty.replaceChildren("Asking the bridge…");
        break;
      case "filter": {
        const clear = () => {
          $("filter").value = "";
          $("state").value = "";
          this.draw();
          $("filter").focus();
        };
        empty.replaceChildren("No device matches. ", el("button", { type: "button", onclick: clear }, "Show all"));
        break;
      }
      case "none":
        empty.replaceChildren(...nothingYet());
        break;
    }
  }

  #drawRows(page) {
    const rows = page.map((device) => {
      const row = this.#rows.get(device.id) ?? newRow(() => this.#choose(device.id));
      fill(row, device, device.id === this.#chosen);
      return [device.id, row];
    });
    this.#rows = new Map(rows);
    const body = $("devices-rows");
    rows.forEach(([, row], at) => {
      // Moved only if it must be, so that what is focused stays so.
      if (body.children[at] !== row) {
        body.insertBefore(row, body.children[at] ?? null);
      }
    });
    while (body.children.length > rows.length) {
      body.lastElementChild.remove();
    }
  }
}

function newRow(choose) {
  const cell = (...children) => el("td", { role: "cell" }, ...children);
  const button = el("button", { type: "button", class: "plain id" });
  const row = el(
    "tr",
    { role: "row" },
    el("th", { role: "rowheader", scope: "row" }, button, el("small", { class: "connector" })),
    cell(el("span", { class: "badge" })),
    cell(el("span", { class: "none" }), el("time")),
    cell(el("span")),
    cell(el("span", { class: "none" }), el("time")),
  );
  row.children[3].className = "number";
  // The whole row can be clicked; the button is there for keyboards and screen readers.
  row.addEventListener("click", choose);
  return row;
}

function fill(row, device, chosen) {
  const [name, session, uplink, backlog, token] = row.children;
  const [button, connector] = name.children;
  setText(button, device.id);
  setText(connector, device.connector);
  if (chosen) {
    button.setAttribute("aria-current", "true");
  } else {
    button.removeAttribute("aria-current");
  }
  row.classList.toggle("chosen", chosen);
  badge(session.firstChild, device);
  fillTime(uplink, device.last_uplink_at, "none yet");
  setText(backlog.firstChild, device.backlog > 0 ? count(device.backlog) : "–");
  backlog.classList.toggle("some", device.backlog > 0);
  fillTime(token, device.token_expires_at, "–");
}

function fillTime(cell, time, otherwise) {
  const [none, element] = cell.children;
  setText(none, time ? "" : otherwise);
  element.hidden = !time;
  if (time) {
    setTime(element, time);
  }
}

/** Shows where a session stands, in a word and a colour. */
export function badge(element, device) {
  const { name, kind } = stateOf(device);
  const shown = device.trouble && kind === "busy" ? { name: "Trying again", kind: "bad" } : { name, kind };
  element.dataset.kind = shown.kind;
  setText(element, shown.name);
}

function nothingYet() {
  const example = '[connectors.local]\nprofile = "plain"\nurl = "mqtt://127.0.0.1:1883"\n\n[devices.pump-1]\nconnector = "local"';
  return [
    el("p", {}, el("strong", {}, "No devices yet.")),
    el("p", {}, "A device is registered in the configuration file, on a connector that names its broker:"),
    el("div", { class: "code" }, el("pre", { tabindex: "0" }, example), el("button", { type: "button" }, "Copy")),
    el("p", {}, "On a connector that is there already, also over HTTP: ", el("a", { href: "/docs#operation-put_device" }, "register a device"), "."),
  ];
}
