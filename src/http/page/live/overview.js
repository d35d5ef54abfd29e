// The figures at the top, and their charts.

import { Chart, bar } from "./chart.js";
import { $, setText } from "./dom.js";
import { bytes, count, plural, rate } from "./format.js";
import { STATES } from "./model.js";

export class Overview {
  #uplinks = new Chart($("uplink-chart"), "Uplinks per second");
  #downlinks = new Chart($("downlink-chart"), "Downlinks per second");
  #waiting = new Chart($("waiting-chart"), "Uplinks that wait for the broker");

  /** New figures, and rates since the last ones where there were some. */
  take(figures, rates) {
    this.#uplinks.push(rates?.uplinks ?? null);
    this.#downlinks.push(rates?.downlinks ?? null);
    setText($("uplink-rate"), rates ? rate(rates.uplinks) : "–");
    setText($("downlink-rate"), rates ? rate(rates.downlinks) : "–");
    const refused = figures.refused ? `, ${count(figures.refused)} refused` : "";
    setText($("uplink-more"), `${count(figures.delivered)} delivered${refused} since the start`);
    setText($("downlink-more"), `${count(figures.downlinks)} received since the start`);
    this.#drawWaiting(figures);
    this.#drawDevices(figures);
  }

  #drawWaiting({ queued, in_flight: unconfirmed, backlog, backlog_bytes }) {
    const waiting = Math.max(backlog, queued + unconfirmed);
    this.#waiting.push(waiting);
    setText($("waiting"), count(waiting));
    const onDisk = backlog ? `${plural(backlog, "uplink", "uplinks")} on disk, ${bytes(backlog_bytes)}` : "nothing on disk";
    setText($("waiting-more"), onDisk);
  }

  #drawDevices({ devices, states }) {
    setText($("connected"), count(states.connected ?? 0));
    setText($("connected-of"), `of ${count(devices)}`);
    const parts = Object.entries(STATES)
      .filter(([state]) => states[state])
      .map(([state, { name, kind }]) => ({ name: kind, word: name, count: states[state] }));
    bar($("states-chart"), parts);
    const words = parts.map((part) => `${count(part.count)} ${part.word.toLowerCase()}`);
    setText($("states-more"), words.join(", ") || "none registered");
  }
}
