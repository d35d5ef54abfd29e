// What the page knows of the bridge: every device as it was last told, sums, and what went wrong.

/** In words, and whether somebody should look at it. In the order of the list of states. */
export const STATES = {
  connected: { name: "Connected", kind: "ok", about: "" },
  connecting: { name: "Connecting", kind: "busy", about: "" },
  backing_off: { name: "Disconnected", kind: "bad", about: "The bridge tries again by itself." },
  refused: { name: "Refused", kind: "bad", about: "The broker refuses the credentials. The bridge tries again now and then." },
  taken_over: { name: "Taken over", kind: "bad", about: "Another client connected with the same client id." },
  no_key: { name: "No key", kind: "bad", about: "The device has no active key to sign its token with." },
  idle: { name: "Idle", kind: "idle", about: "It connects when it is first needed: with an uplink, or a listener." },
  closed: { name: "Closed", kind: "idle", about: "" },
};

export const stateOf = (device) => STATES[device.state] ?? { name: device.state, kind: "idle", about: "" };

/** What went wrong is kept, but not for ever. */
const FAILURES = 50;

export class Model {
  devices = new Map();
  figures = null;
  failures = [];
  /** Counts streams: a device that the present one has not told is gone. */
  #stream = 0;
  #complete = false;
  #previous = null;

  /** A new stream begins: it tells everything from the beginning. */
  begin() {
    this.#stream += 1;
    this.#complete = false;
    this.#previous = null;
  }

  /** Whether every device has been told. */
  get complete() {
    return this.#complete;
  }

  /** Takes an event. Gives the rates since the last figures, when there are some. */
  take({ event, data }) {
    switch (event) {
      case "session":
        this.#session(data);
        return null;
      case "receipt":
        this.#receipt(data);
        return null;
      case "gap":
        this.#fail({ at: new Date().toISOString(), what: `${data.missed} receipts were not shown: the page was too slow` });
        return null;
      case "figures":
        return this.#sums(data);
      default:
        return null;
    }
  }

  /** Devices whose session needs somebody. */
  troubled() {
    return [...this.devices.values()].filter((device) => device.trouble);
  }

  #session(data) {
    if (data.state === "removed") {
      this.devices.delete(data.device);
      return;
    }
    const before = this.devices.get(data.device);
    const kind = stateOf(data).kind;
    // A session that tries again is in trouble until it succeeds.
    const tries = data.state === "connecting" && data.last_error && (before ? before.trouble : isRecent(data));
    const device = { ...data, id: data.device, stream: this.#stream, trouble: kind === "bad" || Boolean(tries) };
    this.devices.set(device.id, device);
    const error = data.last_error;
    if (before && error && error.at !== before.last_error?.at) {
      this.#fail({ at: error.at, device: device.id, what: error.what, hint: error.hint });
    }
  }

  #receipt(data) {
    const refused = data.platform?.status === "refused";
    const words = data.detail ?? data.platform?.messages?.join("; ") ?? data.reason ?? "";
    const outcome = refused ? REFUSED_BY_PLATFORM : (OUTCOMES[data.status] ?? { what: `an uplink was ${data.status}` });
    this.#fail({
      at: data.completed_at ?? data.accepted_at,
      device: data.device,
      what: words ? `${outcome.what}: ${words}` : outcome.what,
      hint: outcome.hint,
    });
  }

  #sums(data) {
    for (const [id, figures] of Object.entries(data.changed)) {
      const device = this.devices.get(id);
      if (device) {
        Object.assign(device, figures);
      }
    }
    if (!this.#complete) {
      this.#complete = true;
      for (const device of this.devices.values()) {
        if (device.stream !== this.#stream) {
          this.devices.delete(device.id);
        }
      }
    }
    const previous = this.#previous;
    this.figures = data;
    this.#previous = data;
    if (!previous) {
      return null;
    }
    const seconds = (Date.parse(data.at) - Date.parse(previous.at)) / 1000;
    // A counter that has fallen is that of a session that is gone.
    const per = (name) => Math.max(0, data[name] - previous[name]) / seconds;
    return seconds > 0 ? { uplinks: per("delivered"), downlinks: per("downlinks") } : null;
  }

  #fail(failure) {
    const last = this.failures[0];
    if (last && last.device === failure.device && last.what === failure.what) {
      last.at = failure.at;
      last.times += 1;
      return;
    }
    this.failures.unshift({ ...failure, times: 1 });
    this.failures.length = Math.min(this.failures.length, FAILURES);
  }
}

const REFUSED_BY_PLATFORM = {
  what: "the platform refused an uplink",
  hint: "compare the body with what the platform has been told of this device; this uplink is not sent again",
};

const OUTCOMES = {
  refused: {
    what: "an uplink was refused",
    hint: "the broker named the reason; what a device may publish is set up at the platform",
  },
  expired: {
    what: "an uplink was not sent before it expired",
    hint: "see why the device was not connected; how long uplinks are kept is configured",
  },
  unknown: {
    what: "an uplink was sent, and never confirmed",
    hint: "the connection was lost before the broker answered: it may have arrived",
  },
};

/** Whether a session that is connecting does so because of its last error. */
function isRecent({ since, last_error }) {
  return Date.parse(since) - Date.parse(last_error.at) < 10 * 60_000;
}
