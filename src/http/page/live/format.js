// Numbers and times in words.

const whole = new Intl.NumberFormat("en");
const rough = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const absolute = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

/** What the bridge's clock is ahead of this one, in milliseconds. */
let ahead = 0;

/** Notes what time it is at the bridge, so that ages are right although this clock is not. */
export function setClock(text) {
  const difference = Date.parse(text) - Date.now();
  // What a message takes to arrive is no difference of clocks.
  ahead = Math.abs(difference) < 2000 ? 0 : difference;
}

export const bridgeNow = () => Date.now() + ahead;

export const count = (number) => whole.format(number);

export function rate(number) {
  return number < 0.005 ? "0" : number < 10 ? rough.format(number) : count(Math.round(number));
}

export function plural(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function bytes(number) {
  for (const unit of ["bytes", "KiB", "MiB"]) {
    if (number < 1024) {
      return `${precise.format(number)} ${unit}`;
    }
    number /= 1024;
  }
  return `${precise.format(number)} GiB`;
}

function span(seconds) {
  const units = [
    [60, "s"],
    [3600, "min"],
    [86400, "h"],
    [Infinity, "d"],
  ];
  let size = 1;
  for (const [limit, unit] of units) {
    if (seconds < limit) {
      return `${Math.floor(seconds / size)} ${unit}`;
    }
    size = limit;
  }
}

function relative(time) {
  const seconds = (bridgeNow() - time) / 1000;
  if (Math.abs(seconds) < 2) {
    return "now";
  }
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

/** Shows a time in a `<time>`: how long ago, and exactly in its title. */
export function setTime(element, text) {
  if (element.dateTime !== text) {
    element.dateTime = text;
    element.title = absolute.format(Date.parse(text));
  }
  const shown = relative(Date.parse(text));
  if (element.textContent !== shown) {
    element.textContent = shown;
  }
}

export function timeElement(text) {
  const element = document.createElement("time");
  setTime(element, text);
  return element;
}

/** The hour, minute and second of a time, for logs. */
export function clockElement(text) {
  const element = timeElement(text);
  element.dataset.fixed = "";
  element.textContent = clock.format(Date.parse(text));
  return element;
}

/** Lets ages grow. */
export function refreshTimes() {
  for (const element of document.querySelectorAll("time[datetime]:not([data-fixed])")) {
    setTime(element, element.dateTime);
  }
}
