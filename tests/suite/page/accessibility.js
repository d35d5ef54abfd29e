// What a machine can check of accessibility (WCAG 2.2, AA), as the body of a function: gives what is wrong.
const wrong = [];
const shown = (element) => element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });
const about = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""} ${JSON.stringify(element.textContent.trim().slice(0, 40))}`;

// 1.1.1, 4.1.2: everything that can be used, and every image, has a name.
const named = (element) =>
  element.getAttribute("aria-label") ||
  (element.getAttribute("aria-labelledby") || "").split(" ").some((id) => document.getElementById(id)?.textContent.trim()) ||
  [...(element.labels ?? [])].some((label) => label.textContent.trim()) ||
  // What is in a field, or can be chosen in it, does not say what it is for.
  (!element.matches("input, select, textarea") && element.textContent.trim());
for (const element of document.querySelectorAll("button, a[href], input, select, textarea, [role=img]")) {
  if (shown(element) && !named(element)) {
    wrong.push(`no name: ${about(element)}`);
  }
}
for (const image of document.images) {
  if (!image.hasAttribute("alt")) {
    wrong.push(`no alternative: ${image.src}`);
  }
}

// 1.3.1, 2.4.1, 2.4.2, 2.4.6, 3.1.1: language, title, landmarks, headings, tables.
if (!document.documentElement.lang) wrong.push("no language");
if (!document.title) wrong.push("no title");
for (const landmark of ["header", "main", "nav[aria-label]"]) {
  if (!document.querySelector(landmark)) wrong.push(`no ${landmark}`);
}
if (document.querySelectorAll("main").length !== 1 || document.querySelectorAll("h1").length !== 1) {
  wrong.push("not one main and one h1");
}
let level = 0;
for (const heading of document.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1) wrong.push(`a level is left out before ${about(heading)}`);
  level = own;
}
for (const header of document.querySelectorAll("th")) {
  if (!header.scope) wrong.push(`no scope: ${about(header)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) wrong.push(`twice: ${id}`);
for (const element of document.querySelectorAll("[aria-labelledby], [aria-controls], [aria-describedby], label[for]")) {
  for (const name of ["aria-labelledby", "aria-controls", "aria-describedby", "for"]) {
    for (const id of (element.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
      if (!document.getElementById(id)) wrong.push(`${name} leads nowhere: ${id}`);
    }
  }
}

// 2.4.3, 2.5.8: the order of the keyboard is that of the page; targets are large enough, links in text excepted.
for (const element of document.querySelectorAll("[tabindex]")) {
  if (element.tabIndex > 0) wrong.push(`an order of its own: ${about(element)}`);
}
for (const element of document.querySelectorAll("button, input, select, textarea, summary, nav a, header a")) {
  if (!shown(element) || element.closest(".unseen")) continue;
  const { width, height } = element.getBoundingClientRect();
  const target = element.closest("tr")?.getBoundingClientRect().height ?? height;
  if (width < 24 || Math.max(height, target) < 24 - 0.5) wrong.push(`too small (${width}×${height}): ${about(element)}`);
}

// 1.4.3: contrast of text against what is behind it.
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (above, below) => above.slice(0, 3).map((part, at) => part * above[3] + below[at] * (1 - above[3])).concat(1);
const behind = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const layer = rgba(getComputedStyle(at).backgroundColor);
    layers.push(layer);
    if (layer[3] === 1) break;
  }
  return layers.reduceRight((below, above) => over(above, below), [255, 255, 255, 1]);
};
// What is half seen through has less contrast than its colours.
const opacity = (element) => {
  let product = 1;
  for (let at = element; at; at = at.parentElement) product *= Number(getComputedStyle(at).opacity);
  return product;
};
const luminance = (color) => {
  const [r, g, b] = color.slice(0, 3).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (color, background) => {
  const [light, dark] = [luminance(over(color, background)), luminance(background)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
};
for (const field of document.querySelectorAll("[placeholder]")) {
  const { color } = getComputedStyle(field, "::placeholder");
  const contrast = ratio(rgba(color), behind(field));
  if (shown(field) && contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)} of ${color}: ${field.placeholder}`);
}
const seen = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !shown(element) || element.closest(".unseen, :disabled, noscript, option")) continue;
  const style = getComputedStyle(element);
  const background = behind(element);
  const color = rgba(style.color);
  color[3] *= opacity(element);
  // Only there for those who point at it, or come by keyboard.
  if (color[3] === 0) continue;
  const contrast = ratio(color, background);
  const size = Number.parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (contrast < (large ? 3 : 4.5)) {
    const line = `contrast ${contrast.toFixed(2)} of ${style.color}: ${about(element)}`;
    if (!seen.has(line)) wrong.push(line);
    seen.add(line);
  }
}

// 1.4.10: nothing has to be scrolled sideways.
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
  wrong.push(`the page is ${document.documentElement.scrollWidth} wide, the screen ${document.documentElement.clientWidth}`);
}
return wrong;
