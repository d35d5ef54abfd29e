// The replicas that share the store. A bridge that is alone has no such card.

import { request } from "./api.js";
import { $, el, setText } from "./dom.js";
import { count, plural } from "./format.js";

/** Between two looks, in milliseconds. */
const INTERVAL = 5000;

const KINDS = {
  alive: { name: "Alive", kind: "ok" },
  leaving: { name: "Leaving", kind: "busy" },
  late: { name: "Late", kind: "bad" },
};

export class ClusterCard {
  #timer;
  #aborter = new AbortController();
  #drawn = "";

  /** Looks now, and again as long as there is a cluster. */
  begin() {
    this.end();
    this.#aborter = new AbortController();
    this.#ask();
  }

  /** Looks no more; what is shown stays. */
  end() {
    clearTimeout(this.#timer);
    this.#aborter.abort();
  }

  async #ask() {
    const { signal } = this.#aborter;
    try {
      const cluster = await (await request("/v1/cluster", { signal })).json();
      this.#draw(cluster);
      if (!cluster.clustered) {
        return;
      }
    } catch {
      // The page says by itself when it has lost the bridge, or may not look.
    }
    if (!signal.aborted) {
      this.#timer = setTimeout(() => this.#ask(), INTERVAL);
    }
  }

  #draw({ clustered, me, members, moving, vacant, nats }) {
    $("cluster").hidden = !clustered;
    if (!clustered) {
      return;
    }
    const rows = members.map(({ id, name, state, partitions }) => [id, name, state, partitions.length]);
    // Drawn only when something differs, so that a screen reader or a selection is not disturbed.
    const now = JSON.stringify([me, rows]);
    if (now !== this.#drawn) {
      this.#drawn = now;
      $("cluster-members").replaceChildren(...rows.map((row) => member(me, ...row)));
    }
    const parts = [
      vacant.length && `${plural(vacant.length, "partition has", "partitions have")} no replica: the devices have no session`,
      moving.length && `${plural(moving.length, "partition moves", "partitions move")}`,
      new Set(members.map(({ configuration }) => configuration)).size > 1 && "the replicas have different configurations",
      !nats.connected && "this replica has no connection to nats-server",
    ].filter(Boolean);
    setText($("cluster-more"), parts.length ? `${parts.join("; ")}.` : "All partitions have a replica.");
  }
}

function member(me, id, name, state, partitions) {
  const { name: word, kind } = KINDS[state] ?? { name: state, kind: "busy" };
  return el(
    "li",
    {},
    el("span", { class: "id", title: id }, name),
    " ",
    el("span", { class: "badge", "data-kind": kind }, word),
    el("span", { class: "more" }, ` ${count(partitions)} of 64 partitions${id === me ? "; the devices, rates and errors on this page are its own" : ""}`),
  );
}
