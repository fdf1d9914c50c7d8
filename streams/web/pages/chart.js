// The chart of the calls of the last hours or days: stacked bars, and the same numbers as a table.

import { byId, make, integer, say } from "./dom.js";

const HOUR_MS = 3600000;
/** Choice -> [how far back in ms, interval of the series, format of a step's start]. */
const SPANS = {
  "6h": [6 * HOUR_MS, "15m", { hour: "2-digit", minute: "2-digit" }],
  "24h": [24 * HOUR_MS, "1h", { hour: "2-digit", minute: "2-digit" }],
  "14d": [13 * 24 * HOUR_MS, "1d", { day: "numeric", month: "short" }],
};
/** [id, title, calls of a step]: the parts of a bar. They add up to all calls that started in the step. */
const PARTS = [
  ["answered", "Answered", (m) => m.CNC],
  ["missed", "Missed", (m) => m.MC],
  ["ghost", "Ghost", (m) => m.GHC],
  ["open", "Not over yet", (m) => Math.max(0, m.TC - m.CNC - m.MC - m.GHC)],
];
/** How often the series is fetched again. */
const REFRESH_MS = 15000;
/** For a request; then it counts as failed. */
const REQUEST_LIMIT_MS = 8000;

/** A color of the theme: the value of a variable in dashboard.css. */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** The promise of Chart.js. It is loaded for the first chart, so that the counters need not wait for it. */
let library = null;
function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const source = document.querySelector("script[data-charts]").dataset.charts;
    // The Content-Security-Policy demands a trusted type for a script's URL. This one comes from the page itself.
    const policy = globalThis.trustedTypes?.createPolicy("charts", { createScriptURL: (url) => url });
    script.src = policy ? policy.createScriptURL(source) : source;
    script.onload = () => resolve(globalThis.Chart);
    script.onerror = () => {
      library = null;
      reject(new Error("the chart's program could not be fetched"));
    };
    document.head.append(script);
  });
  return library;
}

/**
 * The chart, its legend, its choice of spans and its table. `start` it with the user's zone, `stop` it at log-out.
 * `generation`: grows with each refresh and stop, so that a reply that comes too late is dropped.
 */
export class Chart {
  constructor() {
    this.timer = 0;
    this.generation = 0;
    this.zone = "UTC";
    this.steps = [];
    this.span = "6h";
    this.plot = null;
    for (const [id, title] of PARTS) {
      byId("legend").append(make("li", {}, make("span", { class: `key ${id}`, "aria-hidden": "true" }), title));
    }
    byId("spans").addEventListener("change", (event) => {
      this.span = event.target.value;
      this.refresh();
    });
  }

  start(zone) {
    this.zone = zone;
    this.refresh();
  }

  stop() {
    this.generation += 1;
    clearTimeout(this.timer);
    this.steps = [];
    this.fill();
    if (this.plot) this.plot.destroy();
    this.plot = null;
  }

  /** Fetch and show the series now, and again every REFRESH_MS. Shows a note if there never was one. */
  async refresh() {
    const generation = ++this.generation;
    clearTimeout(this.timer);
    let note = "";
    try {
      const steps = await this.fetch();
      await loadLibrary();
      if (generation !== this.generation) return;
      this.steps = steps;
      this.draw();
      this.fill();
    } catch (error) {
      if (generation !== this.generation) return;
      note = this.steps.length ? "" : `There is no chart for now: ${error.message}`;
    }
    byId("chart-note").hidden = !note;
    say(byId("chart-note"), note);
    this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  /** The steps of the chosen span. Throws an Error with the server's message if it refuses. */
  async fetch() {
    const [backMs, interval] = SPANS[this.span];
    const filter = [{ field: "date", op: "gte", value: Date.now() - backMs }];
    const response = await fetch("dashboard/series", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ interval, filter }),
      signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
    });
    const reply = await response.json();
    if (!response.ok) throw new Error(reply.message);
    return reply.message;
  }

  /** The name of a step: its start in the user's zone. */
  labelOf(step) {
    return new Intl.DateTimeFormat("en-GB", { timeZone: this.zone, ...SPANS[this.span][2] }).format(new Date(step.from));
  }

  /** The steps as Chart.js wants them, in the colors of the theme. */
  data() {
    return {
      labels: this.steps.map((step) => this.labelOf(step)),
      datasets: PARTS.map(([id, label, value]) => ({
        label,
        data: this.steps.map((step) => value(step.message)),
        backgroundColor: color(id),
        borderColor: color("card"),
        borderWidth: { top: 1 },
        maxBarThickness: 44,
        categoryPercentage: 0.86,
        barPercentage: 0.94,
      })),
    };
  }

  /** Draw the steps, and describe them for screen readers. A chart that is there is updated and does not flicker. */
  draw() {
    const calls = this.steps.reduce((total, step) => total + step.message.TC, 0);
    const missed = this.steps.reduce((total, step) => total + step.message.MC, 0);
    const text = `Stacked bars of calls: ${integer(calls)} calls, ${integer(missed)} missed. The table below has the numbers.`;
    byId("plot").setAttribute("aria-label", text);
    if (!this.plot) {
      this.plot = new globalThis.Chart(byId("plot"), { type: "bar", data: this.data(), options: options() });
      return;
    }
    const data = this.data();
    this.plot.data.labels = data.labels;
    data.datasets.forEach((dataset, at) => Object.assign(this.plot.data.datasets[at], dataset));
    this.plot.update();
  }

  /** Draw again, in the colors of the theme, which has changed. */
  paint() {
    if (!this.plot) return;
    this.plot.options = options();
    this.plot.data = this.data();
    this.plot.update();
  }

  /** Write the steps into the table, the newest first. */
  fill() {
    const rows = [...this.steps].reverse().map(({ message: m, ...step }) => {
      const cells = [...PARTS.map(([, , value]) => value(m)), m.TC];
      return make("tr", {}, make("th", { scope: "row" }, this.labelOf(step)), ...cells.map((n) => make("td", {}, integer(n))));
    });
    byId("chart-table").querySelector("tbody").replaceChildren(...rows);
  }
}

/** The options of Chart.js, in the colors of the theme. */
function options() {
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12 };
  const ticks = { color: color("muted"), font };
  return {
    responsive: true,
    maintainAspectRatio: false,
    animation: false,
    interaction: { mode: "index", intersect: false },
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: color("text"), titleColor: color("card"), bodyColor: color("card"), titleFont: font,
        bodyFont: font, padding: 10, cornerRadius: 6, boxPadding: 4,
      },
    },
    scales: {
      x: { stacked: true, grid: { display: false }, border: { color: color("line") }, ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 18 } },
      y: { stacked: true, beginAtZero: true, grid: { color: color("line") }, border: { display: false }, ticks: { ...ticks, precision: 0, maxTicksLimit: 6 } },
    },
  };
}
