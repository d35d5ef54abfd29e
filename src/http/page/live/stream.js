// Server-sent events by fetch. A browser's own EventSource cannot send a token in a header.

import { Refusal, request } from "./api.js";

/** A heartbeat comes every 15 s. A stream that is silent for much longer is dead, whatever the network says. */
const SILENCE = 40_000;
const LONGEST_WAIT = 15_000;
const SILENT = new Error("The bridge has gone silent.");

/**
 * Follows a stream until `stop()`, and connects again when it breaks. Tells events (`{event, data}`) and where it stands:
 * `connecting`, `live`, `lost` with how long it waits and why, or `refused` with the reason, after which it waits for
 * `again()`. It can also go on after `stop()`.
 */
export function follow(path, onEvent, onState) {
  let aborter;
  let timer;
  let failures = 0;
  let retry = 1000;
  let lastId = "";

  async function run() {
    clearTimeout(timer);
    aborter?.abort();
    aborter = new AbortController();
    const { signal } = aborter;
    onState("connecting");
    try {
      await listen(signal);
      failed(signal, "The bridge has ended the stream.");
    } catch (error) {
      failed(signal, error);
    }
  }

  async function listen(signal) {
    const headers = { Accept: "text/event-stream" };
    if (lastId) {
      headers["Last-Event-ID"] = lastId;
    }
    const answer = await request(path, { headers, signal });
    onState("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const silence = setTimeout(() => aborter.abort(SILENT), SILENCE);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done || signal.aborted) {
        return;
      }
      failures = 0;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      for (const frame of frames) {
        take(frame);
      }
    }
  }

  function take(frame) {
    let event = "message";
    let data = "";
    for (const line of frame.split("\n")) {
      const at = line.indexOf(": ");
      const value = line.slice(at + 2);
      switch (line.slice(0, at)) {
        case "event":
          event = value;
          break;
        case "data":
          data += value;
          break;
        case "id":
          lastId = value;
          break;
        case "retry":
          retry = Number(value) || retry;
          break;
      }
    }
    if (data) {
      onEvent({ event, data: JSON.parse(data) });
    }
  }

  function failed(signal, why) {
    // Aborted by whoever uses this: there is nothing to tell.
    if (signal.aborted && signal.reason !== SILENT) {
      return;
    }
    const refused = why instanceof Refusal;
    if (refused && why.status < 500 && why.status !== 429) {
      onState("refused", { refusal: why });
      return;
    }
    const wait = Math.max(Math.min(LONGEST_WAIT, retry * 2 ** failures), refused ? why.retryAfter * 1000 : 0);
    failures += 1;
    onState("lost", { wait, why: refused ? why.message : "The bridge cannot be reached." });
    timer = setTimeout(run, wait * (0.75 + Math.random() / 2));
  }

  run();
  return {
    again: run,
    stop() {
      clearTimeout(timer);
      aborter.abort();
    },
  };
}
