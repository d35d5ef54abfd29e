// Requests to the bridge, with the token in a header: never in an address, where it would be logged.

const KEY = "causeway-token";

let token = read();

function read() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

export const hasToken = () => token !== "";

/** Uses another token, or none. It is kept until the tab is closed. */
export function setToken(value) {
  token = value.trim();
  try {
    if (token) {
      sessionStorage.setItem(KEY, token);
    } else {
      sessionStorage.removeItem(KEY);
    }
  } catch {
    // A browser may forbid storage; then the token lasts as long as the page.
  }
}

/** An answer that is none: what the bridge says is wrong (RFC 9457). */
export class Refusal extends Error {
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? problem.title ?? `the answer was ${status}`);
    this.status = status;
    this.problem = problem;
    /** Seconds. */
    this.retryAfter = retryAfter;
  }
}

/** The answer to a request; throws a `Refusal` unless it is a success. */
export async function request(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token) {
    headers.set("Authorization", `Bearer ${token}`);
  }
  const answer = await fetch(path, { cache: "no-store", redirect: "error", ...options, headers });
  if (answer.ok) {
    return answer;
  }
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // Something between the page and the bridge may answer in its own way.
  }
  throw new Refusal(answer.status, problem, Number(answer.headers.get("Retry-After")) || 0);
}

export const devicePath = (device) => `/v1/devices/${encodeURIComponent(device)}`;
