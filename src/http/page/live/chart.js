// Small line charts: a window of samples, drawn as one path.

import { svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 48;
const ROOM = 4;
/** Samples in the window: five minutes, at one every two seconds; less as long as there are not so many. */
const SAMPLES = 150;
const FEWEST = 30;

/** A chart in an `<svg>`, with a name for those who do not see it. */
export class Chart {
  constructor(element, name) {
    this.element = element;
    this.name = name;
    this.samples = [];
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    element.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    element.setAttribute("preserveAspectRatio", "none");
    element.replaceChildren(
      svg("path", { class: "ground", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
      this.area,
      this.line,
    );
    this.draw();
  }

  clear() {
    this.samples = [];
    this.draw();
  }

  /** Adds a sample; `null` where there is none. */
  push(sample) {
    this.samples.push(sample);
    if (this.samples.length > SAMPLES) {
      this.samples.shift();
    }
    this.draw();
  }

  draw() {
    const { samples } = this;
    const highest = Math.max(0, ...samples);
    const step = WIDTH / (Math.max(FEWEST, samples.length) - 1);
    const x = (at) => (WIDTH - (samples.length - 1 - at) * step).toFixed(1);
    const y = (sample) => (HEIGHT - 1 - (sample / (highest || 1)) * (HEIGHT - ROOM)).toFixed(1);
    let line = "";
    let area = "";
    let begin = null;
    samples.forEach((sample, at) => {
      if (sample === null) {
        area += close(begin, at - 1);
        begin = null;
        return;
      }
      line += `${begin === null ? "M" : "L"}${x(at)} ${y(sample)}`;
      area += `${begin === null ? `M${x(at)} ${HEIGHT}L` : "L"}${x(at)} ${y(sample)}`;
      begin ??= at;
    });
    area += close(begin, samples.length - 1);
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    const last = samples.at(-1);
    const words = last === undefined || last === null ? "nothing yet" : `now ${short(last)}, at most ${short(highest)}`;
    this.element.setAttribute("aria-label", `${this.name}, the last five minutes: ${words}`);

    function close(begin, end) {
      return begin === null ? "" : `L${x(end)} ${HEIGHT}Z`;
    }
  }
}

/** Parts of a whole, as one bar. */
export function bar(element, parts) {
  const whole = parts.reduce((sum, part) => sum + part.count, 0);
  const height = 10;
  let x = 0;
  const pieces = parts.map(({ name, count }) => {
    const width = (count / whole) * WIDTH;
    const piece = svg("rect", { x: x.toFixed(2), y: 0, width: Math.max(0, width - 1.5).toFixed(2), height });
    piece.dataset.kind = name;
    x += width;
    return piece;
  });
  element.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
  element.setAttribute("preserveAspectRatio", "none");
  element.replaceChildren(...pieces);
}

const short = (number) => (number >= 10 ? Math.round(number) : Number(number.toFixed(1)));
