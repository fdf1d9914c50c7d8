// The stream, with a watch over it: a connection that is lost, or silent for too long, is opened anew.

const STREAM = "/api/v2/overallCount/stream";
const FIELDS = [
  "UC", "CM", "PM", "CA", "GH_UC", "FR_UC", "FR_CM", "FR_PM", "FR_CA", "FR_GH_UC", "FR_UC_N", "FR_CAN_FR_PM_N",
  "avgRingTime", "avgHoldTime", "avgTalkTime",
];
const NO_ANSWER = "The server gives no answer.";
// A status comes every 5 s, whatever happens.
const SILENCE_MS = 11000;
const AGAIN_MS = [1000, 2000, 4000, 8000];

/**
 * Calls back: payload(message), status(status), lost(), ended() when the session is over.
 * `heardAt`: when something came last, in ms of performance.now().
 */
export class Feed {
  constructor(callbacks) {
    this.callbacks = callbacks;
    this.heardAt = performance.now();
    this.failures = 0;
    this.source = null;
    this.timer = 0;
  }

  open() {
    this.close();
    const source = new EventSource(`${STREAM}?Field=${FIELDS.join(",")}`);
    this.source = source;
    this.watch();
    source.onmessage = (event) => {
      this.failures = 0;
      this.heard();
      this.callbacks.payload(JSON.parse(event.data).message);
    };
    source.addEventListener("status", (event) => {
      this.failures = 0;
      this.heard();
      this.callbacks.status(JSON.parse(event.data));
    });
    source.addEventListener("end", (event) => this.over(JSON.parse(event.data).code));
    source.onerror = () => this.again();
  }

  close() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }

  heard() {
    this.heardAt = performance.now();
    this.watch();
  }

  watch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), SILENCE_MS);
  }

  over(code) {
    if (code === 1015 || code === 1043) {
      this.close();
      this.callbacks.ended();
    } else this.again();
  }

  // The browser would try again by itself, but not after an answer that is an error, and it does not say which.
  again() {
    this.close();
    this.callbacks.lost();
    const wait = AGAIN_MS[Math.min(this.failures++, AGAIN_MS.length - 1)];
    this.timer = setTimeout(async () => {
      const session = await whoIsIt();
      if (session.denied) this.callbacks.ended();
      else if (session.away) this.again();
      else this.open();
    }, wait * (0.75 + Math.random() / 2));
  }
}

/** {userId, zone}, or {denied} without a session, or {away: why} if there is no answer to go by. */
export async function whoIsIt() {
  try {
    const response = await fetch("/dashboard/session", { signal: AbortSignal.timeout(4000) });
    if (response.ok) return (await response.json()).message || { denied: true };
    return { away: response.status === 429 ? tooMany(response) : NO_ANSWER };
  } catch {
    return { away: NO_ANSWER };
  }
}

export function tooMany(response) {
  return `Too many wrong log-ins from here; try again in ${response.headers.get("Retry-After")} s.`;
}
