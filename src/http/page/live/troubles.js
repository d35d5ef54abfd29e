// What needs attention now, grouped by cause; and the last errors, one after another.

import { $, el } from "./dom.js";
import { count, plural, timeElement } from "./format.js";

/** Causes that are shown, and devices that are named of each. */
const CAUSES = 6;
const NAMED = 5;

export class Troubles {
  #model;
  #choose;
  #drawn = "";
  #drawnFailures = "";

  constructor(model, choose) {
    this.#model = model;
    this.#choose = choose;
  }

  draw() {
    const causes = this.#causes();
    // Drawn only when something differs, so that a screen reader or a selection is not disturbed.
    const now = JSON.stringify(causes.map(({ what, hint, devices }) => [what, hint, devices.length, devices.slice(0, NAMED)]));
    if (now !== this.#drawn) {
      this.#drawn = now;
      $("troubles").hidden = causes.length === 0;
      const items = causes.slice(0, CAUSES).map((cause) => this.#cause(cause));
      const others = causes.length - CAUSES;
      if (others > 0) {
        items.push(el("li", { class: "more" }, `And ${plural(others, "other cause", "other causes")}: show the devices in trouble in the list.`));
      }
      $("troubles-list").replaceChildren(...items);
    }
    this.#drawFailures();
  }

  #causes() {
    const causes = new Map();
    for (const device of this.#model.troubled()) {
      const { what, hint } = device.last_error ?? { what: `the session is ${device.state}`, hint: "" };
      const cause = causes.get(what) ?? { what, hint, devices: [] };
      cause.devices.push(device.id);
      causes.set(what, cause);
    }
    return [...causes.values()].sort((a, b) => b.devices.length - a.devices.length);
  }

  #cause({ what, hint, devices }) {
    const names = devices.slice(0, NAMED).flatMap((id) => [this.#name(id), " "]);
    const others = devices.length - NAMED;
    return el(
      "li",
      {},
      el("p", { class: "what" }, what),
      el("p", { class: "hint" }, hint),
      el("p", { class: "who" }, ...names, others > 0 ? `and ${count(others)} more` : ""),
    );
  }

  #name(id) {
    return el("button", { type: "button", class: "chip id", onclick: () => this.#choose(id) }, id);
  }

  #drawFailures() {
    const { failures } = this.#model;
    const now = failures.map((failure) => failure.at + failure.times).join();
    if (now === this.#drawnFailures) {
      return;
    }
    this.#drawnFailures = now;
    $("failures-empty").hidden = failures.length > 0;
    $("failures-list").replaceChildren(...failures.map((failure) => this.#failure(failure)));
  }

  #failure({ at, device, what, hint, times }) {
    const entry = el("li", {}, el("p", { class: "line" }, timeElement(at)));
    if (device !== undefined) {
      entry.firstChild.append(this.#name(device));
    }
    if (times > 1) {
      entry.firstChild.append(el("small", {}, `${count(times)} times`));
    }
    entry.append(el("p", {}, what));
    if (hint) {
      entry.append(el("p", { class: "hint" }, hint));
    }
    return entry;
  }
}

/** The number of devices in trouble, in the title of the page: it can be seen in another tab. */
export function drawTitle(number) {
  const title = number > 0 ? `(${number}) Causeway` : "Causeway";
  if (document.title !== title) {
    document.title = title;
  }
}
