// The numbers: tiles, the outcome of today's calls, and cards with a bar for each entry.

import { byId, duration, make, money, number, percent, say } from "./dom.js";

const TYPES = {
  IBD: "Inbound", OBD: "Outbound", BRD: "Broadcast", QC: "Quick call", CTC: "Click to call", POOL: "Pool",
  MASK: "Masked", FLASH: "Flash",
};
const STATUSES = { "-1": "Silent too long", "-2": "Switch restarted", "-3": "Unknown to its switch" };
const ROWS = 8;

const sum = (map) => Object.values(map).reduce((all, one) => all + one, 0);
const named = (names) => (key) => (names[key] ? `${names[key]}` : key);
const same = (key) => key;

/** [key, title, value of a message, small print]; the first one is the large one. */
const TILES = [
  ["live", "Live calls", (m) => number(sum(m.LCT)), (m) => `${number(sum(m.LIVR))} in an IVR · ${number(m.RC)} of campaigns`],
  ["total", "Calls today", (m) => number(m.TC), (m) => `${number(m.repeatCall)} repeat · ${number(m.freshCall)} fresh`],
  ["answered", "Answered", (m) => number(m.CNC), (m) => `${percent(m.CNC, m.CNC + m.MC + m.GHC)} of those settled`],
  ["missed", "Missed", (m) => number(m.MC), (m) => `${number(m.CHSR)} hung up within 5 s`],
  ["ghost", "Ghost", (m) => number(m.GHC), () => "nothing rang"],
  ["moved", "Transfers", (m) => number(m.TRSC), (m) => `${number(m.FWC)} forwarded`],
  ["talk", "Talk time", (m) => duration(m.avgTalkTime), (m) => `ring ${duration(m.avgRingTime)} · hold ${duration(m.avgHoldTime)}`],
  ["balance", "Balance", (m) => money(m.ucBl), (m) => `call balance ${money(m.cBl)}`],
];

/** [id, title, entries of a message, names of the entries, what to say if there are none]. */
const LIVE = [
  ["type", "By type", (m) => m.LCT, named(TYPES), "No live calls"],
  ["campaign", "By campaign", (m) => m.RCMPID, same, "No live calls of campaigns"],
  ["did", "By DID", (m) => m.LDID, same, "No live calls on a DID"],
  ["ivr", "By IVR", (m) => m.LIVR, same, "Nobody is in an IVR"],
];
const TODAY = [
  ["retries", "Failover retries", retries, same, "No call was retried"],
  ["calls-type", "Calls by type", (m) => m.CT, named(TYPES), "No calls yet"],
  ["dtmf", "DTMF inputs", (m) => m.DTMF, same, "Nothing was pressed"],
  ["status", "By status", (m) => m.CST, (key) => STATUSES[key] || `Status ${key}`, "No call has ended yet"],
];

function retries(m) {
  const all = {
    "All answered": m.FR_CA, "Some answered": m.FR_PM, "All missed": m.FR_CM, "Nothing rang": m.FR_GH_UC,
  };
  return Object.fromEntries(Object.entries(all).filter(([, calls]) => calls));
}

const OUTCOME = [
  ["answered", "Answered", (m) => m.CNC],
  ["missed", "Missed", (m) => m.MC],
  ["ghost", "Ghost", (m) => m.GHC],
  ["open", "Not over yet", (m) => Math.max(0, m.TC - m.CNC - m.MC - m.GHC)],
];
const LEGS = [
  ["Every leg answered", (m) => m.CA],
  ["Some legs missed", (m) => m.PM],
  ["Every leg missed", (m) => m.CM],
  ["Only ghost legs", (m) => m.GH_UC],
];

const column = (name) => make("th", { scope: "col" }, make("span", { class: "hidden" }, name));

/** A table with a bar in each row; rows stay where they are as long as their keys do. */
class Card {
  constructor(id, title, into) {
    this.rows = new Map();
    this.total = make("span", { class: "sum" });
    this.body = make("tbody");
    this.empty = make("p", { class: "none" });
    this.more = make("p", { class: "more muted" });
    const heading = make("h3", { id: `h-${id}` }, title, " ", this.total);
    const head = make("thead", {}, make("tr", {}, column(title), column("Calls")));
    this.table = make("table", { class: "bars", "aria-labelledby": `h-${id}` }, head, this.body);
    into.append(make("section", { class: "card", id: `card-${id}`, "aria-labelledby": `h-${id}` }, heading, this.table, this.empty, this.more));
  }

  show(entries, name, nothing) {
    const all = Object.entries(entries).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const shown = all.slice(0, ROWS);
    const rest = all.slice(ROWS);
    const most = all.length ? all[0][1] : 1;
    say(this.total, all.length ? number(sum(entries)) : "");
    say(this.empty, all.length ? "" : nothing);
    this.table.hidden = !all.length;
    say(this.more, rest.length ? `and ${rest.length} more, with ${number(rest.reduce((n, [, v]) => n + v, 0))}` : "");
    for (const key of [...this.rows.keys()]) if (!shown.some(([one]) => one === key)) this.drop(key);
    shown.forEach(([key, value], at) => this.row(at, key, name(key), value, value / most));
  }

  row(at, key, text, value, share) {
    let row = this.rows.get(key);
    if (!row) {
      const bar = make("span", { class: "fill", "aria-hidden": "true" });
      const cell = make("td");
      const element = make("tr", {}, make("th", { scope: "row", title: text }, bar, make("span", { class: "label" }, text)), cell);
      row = { element, bar, cell };
      this.rows.set(key, row);
    }
    say(row.cell, number(value));
    row.bar.style.width = `${Math.max(1.5, 100 * share)}%`;
    if (this.body.children[at] !== row.element) this.body.insertBefore(row.element, this.body.children[at] || null);
  }

  drop(key) {
    this.rows.get(key).element.remove();
    this.rows.delete(key);
  }
}

export class Board {
  constructor() {
    this.tiles = TILES.map(([id, title, value, small]) => {
      const [big, more] = [make("dd", { class: "value" }, "–"), make("dd", { class: "small muted" })];
      byId("tiles").append(make("div", { class: `tile ${id}`, id: `tile-${id}` }, make("dt", {}, title), big, more));
      return { big, more, value, small };
    });
    const cards = (rows, into) => rows.map(([id, title, ...how]) => [new Card(id, title, byId(into)), ...how]);
    this.cards = [...cards(LIVE, "live"), ...cards(TODAY, "today")];
    this.outcome();
  }

  outcome() {
    this.bar = make("div", { class: "stack", "aria-hidden": "true" });
    this.rate = make("p", { class: "rate" });
    const [list, legs] = [make("dl", { class: "pairs" }), make("dl", { class: "pairs legs" })];
    this.parts = OUTCOME.map(([id, title, value]) => {
      const [part, text] = [make("span", { class: id }), make("dd")];
      this.bar.append(part);
      list.append(make("div", {}, make("dt", {}, make("span", { class: `key ${id}`, "aria-hidden": "true" }), title), text));
      return { part, text, value };
    });
    this.legs = LEGS.map(([title, value]) => {
      const text = make("dd");
      legs.append(make("div", {}, make("dt", {}, title), text));
      return { text, value };
    });
    byId("outcome").append(this.rate, this.bar, list, make("h3", {}, "By what became of their legs"), legs);
  }

  show(m) {
    for (const { big, more, value, small } of this.tiles) {
      const text = value(m);
      if (big.textContent !== text) {
        // A number that moved lights up once; not the first time, when all do.
        if (big.textContent !== "–") big.animate([{ opacity: 0.4 }, { opacity: 1 }], { duration: calm() ? 0 : 600 });
        big.textContent = text;
      }
      say(more, small(m));
    }
    for (const [card, entries, name, nothing] of this.cards) card.show(entries(m), name, nothing);
    say(this.rate, percent(m.CNC, m.CNC + m.MC + m.GHC) + " answered");
    for (const { part, text, value } of this.parts) {
      part.style.flexGrow = String(value(m));
      say(text, `${number(value(m))} · ${percent(value(m), m.TC)}`);
    }
    for (const { text, value } of this.legs) say(text, number(value(m)));
  }

  about(status, zone) {
    const day = { timeZone: zone, dateStyle: "medium" };
    const [from] = status.range.split("/");
    say(byId("range"), `Today is ${new Intl.DateTimeFormat("en-GB", day).format(new Date(from))} (${zone}).`);
    const silent = status.suspected;
    say(byId("suspected"), silent ? `${number(silent)} live ${silent === 1 ? "call has" : "calls have"} been silent for long.` : "");
  }

  clear() {
    for (const { big, more } of this.tiles) {
      say(big, "–");
      say(more, "");
    }
    for (const [card, , , nothing] of this.cards) card.show({}, same, nothing);
  }
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
