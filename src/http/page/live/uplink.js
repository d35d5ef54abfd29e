// The form for a test uplink, its receipt, and the same request as a line for a terminal.

import { Refusal, devicePath, hasToken, request } from "./api.js";
import { $, el, setText } from "./dom.js";
import { timeElement } from "./format.js";

/** How often the receipt of a stored uplink is asked for, and for how long, in milliseconds. */
const INTERVAL = 1000;
const PATIENCE = 120_000;

export class UplinkForm {
  #last = 0;

  constructor() {
    for (const id of ["test-device", "test-subtopic", "test-type", "test-body"]) {
      $(id).addEventListener("input", () => this.drawCurl());
    }
    $("test").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.drawCurl();
  }

  /** The device that is looked at is the one to send from. */
  setDevice(id) {
    $("test-device").value = id;
    this.drawCurl();
  }

  drawCurl() {
    const parts = ["curl -sS"];
    if (hasToken()) {
      parts.push('-H "Authorization: Bearer $TOKEN"');
    }
    parts.push(`-H ${quote(`Content-Type: ${$("test-type").value.trim()}`)}`);
    parts.push(`--data-raw ${quote($("test-body").value)}`);
    parts.push(quote(location.origin + path()));
    setText($("curl"), parts.join(" \\\n  "));
  }

  async #send() {
    const device = $("test-device").value.trim();
    if (!device) {
      this.#show("bad", "Which device?", el("p", {}, "Choose one in the list, or write its id."));
      $("test-device").focus();
      return;
    }
    const mine = ++this.#last;
    $("test-send").disabled = true;
    this.#show("busy", "Sending…");
    const began = performance.now();
    try {
      const headers = { "Content-Type": $("test-type").value.trim() };
      const answer = await request(path(), { method: "POST", headers, body: $("test-body").value });
      const receipt = await answer.json();
      this.#receipt(answer.status, receipt, performance.now() - began);
      if (answer.headers.has("Location")) {
        this.#follow(answer.headers.get("Location"), mine);
      }
    } catch (error) {
      this.#problem(error);
    } finally {
      $("test-send").disabled = false;
    }
  }

  /** A stored uplink is delivered later: its receipt tells when. */
  async #follow(location, mine) {
    const end = Date.now() + PATIENCE;
    while (Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
      if (mine !== this.#last) {
        return;
      }
      try {
        const receipt = await (await request(location)).json();
        if (receipt.status !== "queued" && receipt.platform?.status !== "unknown") {
          this.#receipt(200, receipt);
          return;
        }
      } catch (error) {
        if (error instanceof Refusal && error.status < 500) {
          return;
        }
      }
    }
  }

  #receipt(status, receipt, milliseconds) {
    const words = {
      delivered: ["ok", "Delivered", "The broker has confirmed it."],
      sent: ["ok", "Sent", "With QoS 0 nothing is confirmed."],
      queued: ["busy", "Queued", "It is on disk and will be delivered when the broker can be reached."],
      refused: ["bad", "Refused", receipt.detail ?? ""],
      expired: ["bad", "Expired", receipt.detail ?? ""],
    };
    const [kind, title, text] = words[receipt.status] ?? ["idle", receipt.status, receipt.detail ?? ""];
    const took = milliseconds === undefined ? "" : ` in ${Math.max(1, Math.round(milliseconds))} ms`;
    const facts = el("dl", { class: "facts" });
    const fact = (name, value) => value !== undefined && facts.append(el("dt", {}, name), el("dd", {}, value));
    fact("Answer", `${status}${took}`);
    fact("Receipt", el("span", { class: "id" }, receipt.id));
    fact("Broker", receipt.reason && `${receipt.reason} (${receipt.reason_code})`);
    fact("Platform", receipt.platform && [receipt.platform.status, ...(receipt.platform.messages ?? [])].join("; "));
    fact("Attempts", receipt.attempts > 1 ? String(receipt.attempts) : undefined);
    fact("Completed", receipt.completed_at && timeElement(receipt.completed_at));
    this.#show(kind, title, el("p", {}, text), facts);
  }

  #problem(error) {
    if (!(error instanceof Refusal)) {
      this.#show("bad", "No answer", el("p", {}, "The bridge cannot be reached. Whether it took the uplink is not known."));
      return;
    }
    const { problem, status } = error;
    const parts = [el("p", {}, error.message)];
    if (problem.hint) {
      parts.push(el("p", { class: "hint" }, problem.hint));
    }
    // Only a place of this bridge's own page.
    if (/^\/docs#problem-[a-z-]+$/.test(problem.type ?? "")) {
      parts.push(el("p", {}, el("a", { href: problem.type }, "What this means")));
    }
    this.#show("bad", `${status} ${problem.title ?? "No success"}`, ...parts);
  }

  #show(kind, title, ...parts) {
    const result = el("div", { class: "result", "data-kind": kind }, el("h3", {}, title), ...parts);
    $("test-result").replaceChildren(result);
  }
}

function path() {
  const subtopic = $("test-subtopic").value.trim();
  const levels = subtopic ? `/${subtopic.split("/").map(encodeURIComponent).join("/")}` : "";
  return `${devicePath($("test-device").value.trim() || "DEVICE")}/uplinks${levels}`;
}

/** As one word for a shell. */
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
