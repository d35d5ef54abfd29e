// Making and changing elements. What comes from outside only ever becomes text.

export const $ = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`) and children; strings become text. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) {
      element.addEventListener(key.slice(2), value);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(key, value);
    }
  }
  element.append(...children);
  return element;
}

/** An SVG element with attributes. */
export function svg(name, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return element;
}

/** Sets a text, and touches the page only if it is another one: what is selected stays selected. */
export function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

let announced = 0;
let pending = null;

/**
 * Says something to those who do not see the page: not more often than every five seconds, and then only the latest.
 * What is `minor` never takes the place of what is not.
 */
export function announce(text, { minor = false } = {}) {
  if (minor && pending && !pending.minor) {
    return;
  }
  clearTimeout(pending?.timer);
  const say = () => {
    announced = Date.now();
    pending = null;
    $("announcer").textContent = text;
  };
  pending = { minor, timer: setTimeout(say, Math.max(50, announced + 5000 - Date.now())) };
}
