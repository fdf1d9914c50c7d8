// The chart of the last hours or days, as stacked bars, and the same numbers as a table.

import { byId, make, number, say } from "./dom.js";

const HOUR_MS = 3600000;
/** Of each choice: how far back, in which steps, and how a step is named. */
const SPANS = {
  "6h": [6 * HOUR_MS, "15m", { hour: "2-digit", minute: "2-digit" }],
  "24h": [24 * HOUR_MS, "1h", { hour: "2-digit", minute: "2-digit" }],
  "14d": [13 * 24 * HOUR_MS, "1d", { day: "numeric", month: "short" }],
};
const PARTS = [
  ["answered", "Answered", (m) => m.CNC],
  ["missed", "Missed", (m) => m.MC],
  ["ghost", "Ghost", (m) => m.GHC],
  ["open", "Not over yet", (m) => Math.max(0, m.TC - m.CNC - m.MC - m.GHC)],
];
const REFRESH_MS = 15000;

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Chart.js, fetched when it is first needed: the numbers do not wait for it. */
let library = null;
function charts() {
  library ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    const source = document.querySelector("script[data-charts]").dataset.charts;
    // The one place that a policy is needed for: the name of the file comes from the page itself.
    const names = globalThis.trustedTypes?.createPolicy("charts", { createScriptURL: (name) => name });
    script.src = names ? names.createScriptURL(source) : source;
    script.onload = () => done(globalThis.Chart);
    script.onerror = () => {
      library = null;
      failed(new Error("the chart's program could not be fetched"));
    };
    document.head.append(script);
  });
  return library;
}

export class Chart {
  constructor() {
    this.timer = 0;
    this.turn = 0;
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
    this.turn += 1;
    clearTimeout(this.timer);
    this.steps = [];
    this.fill();
    if (this.plot) this.plot.destroy();
    this.plot = null;
  }

  async refresh() {
    const turn = ++this.turn;
    clearTimeout(this.timer);
    let note = "";
    try {
      const steps = await this.fetch();
      await charts();
      if (turn !== this.turn) return;
      this.steps = steps;
      this.draw();
      this.fill();
    } catch (error) {
      if (turn !== this.turn) return;
      note = this.steps.length ? "" : `There is no chart for now: ${error.message}`;
    }
    byId("chart-note").hidden = !note;
    say(byId("chart-note"), note);
    this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  async fetch() {
    const [back, interval] = SPANS[this.span];
    const filter = [{ field: "date", op: "gte", value: Date.now() - back }];
    const response = await fetch("/dashboard/series", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ interval, filter }),
      signal: AbortSignal.timeout(8000),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.message);
    return answer.message;
  }

  named(step) {
    return new Intl.DateTimeFormat("en-GB", { timeZone: this.zone, ...SPANS[this.span][2] }).format(new Date(step.from));
  }

  data() {
    return {
      labels: this.steps.map((step) => this.named(step)),
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

  draw() {
    const calls = this.steps.reduce((all, step) => all + step.message.TC, 0);
    const missed = this.steps.reduce((all, step) => all + step.message.MC, 0);
    const text = `Stacked bars of calls: ${number(calls)} calls, ${number(missed)} missed. The table below has the numbers.`;
    byId("plot").setAttribute("aria-label", text);
    if (!this.plot) {
      this.plot = new globalThis.Chart(byId("plot"), { type: "bar", data: this.data(), options: options() });
      return;
    }
    const data = this.data();
    this.plot.data.labels = data.labels;
    data.datasets.forEach((one, at) => Object.assign(this.plot.data.datasets[at], one));
    this.plot.update();
  }

  /** In the theme's colors. */
  paint() {
    if (!this.plot) return;
    this.plot.options = options();
    this.plot.data = this.data();
    this.plot.update();
  }

  fill() {
    const rows = [...this.steps].reverse().map(({ message: m, ...step }) => {
      const cells = [...PARTS.map(([, , value]) => value(m)), m.TC];
      return make("tr", {}, make("th", { scope: "row" }, this.named(step)), ...cells.map((n) => make("td", {}, number(n))));
    });
    byId("chart-table").querySelector("tbody").replaceChildren(...rows);
  }
}

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
