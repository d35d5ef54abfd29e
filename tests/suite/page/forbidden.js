// Tries what a page may not do, each on its own, as the body of an asynchronous function: gives what was possible all the
// same, and the parts of the policy by which the browser forbade the rest.
const [other] = arguments;
const possible = [];
const parts = new Set();
document.addEventListener("securitypolicyviolation", (event) => parts.add(event.effectiveDirective));
const attempt = async (what, act) => {
  try {
    await act();
    possible.push(what);
  } catch {
    // As it should be.
  }
};
const loads = (name, attributes) =>
  new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(name), attributes, { onload: resolve, onerror: reject });
    document.body.append(element);
  });
const runs = async (script) => {
  document.body.append(script);
  await new Promise((resolve) => setTimeout(resolve));
  if (!window.ran) throw new Error("did not run");
};
// What a driver runs at once, the browser lets do more than what comes later.
await new Promise((resolve) => setTimeout(resolve));
await attempt("text becomes elements", () => (document.body.appendChild(document.createElement("p")).innerHTML = "<b>x</b>"));
await attempt("text becomes a document", () => document.write("x"));
await attempt("text becomes code", () => (0, eval)("1"));
await attempt("a policy of its own", () => trustedTypes.createPolicy("own", { createHTML: (text) => text }));
await attempt("a script in the page", () => {
  const script = document.createElement("script");
  script.append("window.ran = true");
  return runs(script);
});
await attempt("a script from elsewhere", () => import(`${other}/page/dom.js`));
await attempt("a style in the page", () => {
  const style = document.createElement("style");
  style.append("#main { position: fixed }");
  document.head.append(style);
  if (getComputedStyle(document.querySelector("#main")).position !== "fixed") throw new Error("did not count");
});
await attempt("a request elsewhere", () => fetch(`${other}/asked`, { mode: "no-cors" }));
await attempt("an image from elsewhere", () => loads("img", { src: `${other}/page/icon.svg` }));
await attempt("a style from elsewhere", () => loads("link", { rel: "stylesheet", href: `${other}/page/base.css` }));
await attempt("a frame", () => {
  const frame = document.createElement("iframe");
  frame.src = "/docs";
  const refused = new Promise((_, reject) => document.addEventListener("securitypolicyviolation", reject));
  const loaded = new Promise((resolve) => (frame.onload = () => frame.contentDocument?.title && resolve()));
  document.body.append(frame);
  return Promise.race([refused, loaded]);
});
await new Promise((resolve) => setTimeout(resolve));
return { possible, parts: [...parts].sort() };
