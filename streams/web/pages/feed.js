// The stream of counters, and its reconnection: a connection that is lost or silent for too long is opened again.

/** One of STREAM_PATHS in streams/web/paths.py. Like all addresses of the page, relative to it: it may have a prefix. */
const STREAM = "api/v2/overallCount/stream";
/** The counters that the board shows and that the payload has only on request. */
const FIELDS = [
  "UC", "CM", "PM", "CA", "GH_UC", "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CAN_FR_PM_N",
  "avgRingTime", "avgHoldTime", "avgTalkTime",
];
const NO_REPLY = "The server gives no answer.";
/** A connection is lost if nothing came for this long: two statuses are missing, of which one comes every 5 s. */
const SILENCE_MS = 11000;
/** Pauses before the first, second, ... attempt to connect again; the last one repeats. */
const RETRY_MS = [1000, 2000, 4000, 8000];
/** For the request that asks for the session. */
const REQUEST_LIMIT_MS = 4000;
/** Codes of errors that end a session: denied, and an agent who is not logged in. */
const SESSION_OVER = [1015, 1043];

/**
 * Reads the stream of the cookie's session, and connects again as long as the session lasts.
 *
 * Calls back: payload(message) with new counters; status(status) at least every 5 s; lost() each time that the
 * connection fails; ended() when the session is over, after which nothing more is called.
 * `heardAt`: when the last payload or status came, in ms of performance.now().
 */
export class Feed {
  constructor(callbacks) {
    this.callbacks = callbacks;
    this.heardAt = performance.now();
    this.failures = 0;
    this.source = null;
    this.timer = 0;
  }

  /** Connect. Closes an earlier connection. */
  open() {
    this.close();
    const source = new EventSource(`${STREAM}?Field=${FIELDS.join(",")}`);
    this.source = source;
    this.watch();
    source.onmessage = (sse) => {
      this.failures = 0;
      this.heard();
      this.callbacks.payload(JSON.parse(sse.data).message);
    };
    source.addEventListener("status", (sse) => {
      this.failures = 0;
      this.heard();
      this.callbacks.status(JSON.parse(sse.data));
    });
    source.addEventListener("end", (sse) => this.end(JSON.parse(sse.data).code));
    source.onerror = () => this.reconnect();
  }

  /** Disconnect and stop all attempts. */
  close() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }

  /** Note that the connection is alive. */
  heard() {
    this.heardAt = performance.now();
    this.watch();
  }

  /** Connect again unless something is heard within SILENCE_MS. */
  watch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reconnect(), SILENCE_MS);
  }

  /** The server has ended the stream with an error's code. */
  end(code) {
    if (SESSION_OVER.includes(code)) {
      this.close();
      this.callbacks.ended();
    } else this.reconnect();
  }

  /**
   * Connect again after a pause, if there is still a session. EventSource also tries again by itself, but not after an
   * HTTP error, and it does not tell which error that was; so the session is asked for first.
   */
  reconnect() {
    this.close();
    this.callbacks.lost();
    const pauseMs = RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)];
    this.timer = setTimeout(async () => {
      const session = await currentSession();
      if (session.denied) this.callbacks.ended();
      else if (session.problem) this.reconnect();
      else this.open();
    }, pauseMs * (0.75 + Math.random() / 2));
  }
}

/** The cookie's session as {userId, zone}; {denied: true} without one; {problem: text} if the server cannot tell. */
export async function currentSession() {
  try {
    const response = await fetch("dashboard/session", { signal: AbortSignal.timeout(REQUEST_LIMIT_MS) });
    if (response.ok) return (await response.json()).message || { denied: true };
    if (response.status === 400) return { problem: `${(await response.json()).message}.` };
    return { problem: response.status === 429 ? throttledText(response) : NO_REPLY };
  } catch {
    return { problem: NO_REPLY };
  }
}

/** What to show for a response with status 429. */
export function throttledText(response) {
  return `Too many wrong log-ins from here; try again in ${response.headers.get("Retry-After")} s.`;
}
