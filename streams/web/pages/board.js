// The counters of a payload: tiles, the outcome of today's calls, and cards with a bar for each entry of a map.

import { byId, duration, make, money, integer, percent, say } from "./dom.js";

/** Call type -> its name. */
const TYPES = {
  IBD: "Inbound", OBD: "Outbound", BRD: "Broadcast", QC: "Quick call", CTC: "Click to call", POOL: "Pool",
  MASK: "Masked", FLASH: "Flash",
};
/** Statuses that Ecounters itself sets -> their names; others are the switch's. */
const STATUSES = { "-1": "Silent too long", "-2": "Switch restarted", "-3": "Unknown to its switch" };
/** Entries of a card that are shown; the rest is one line below. */
const ROWS = 8;

const sum = (map) => Object.values(map).reduce((total, value) => total + value, 0);
/** A function from an entry's key to its name; keys without a name are shown as they are. */
const named = (names) => (key) => names[key] || key;
const same = (key) => key;

/** [id, title, value, small print]. The last two are functions of a payload's message. The first tile is large. */
const TILES = [
  ["live", "Live calls", (m) => integer(sum(m.LCT)), (m) => `${integer(sum(m.LIVR))} in an IVR · ${integer(m.RC)} of campaigns`],
  ["total", "Calls today", (m) => integer(m.TC), (m) => `${integer(m.repeatCall)} repeat · ${integer(m.freshCall)} fresh`],
  ["answered", "Answered", (m) => integer(m.CNC), (m) => `${percent(m.CNC, m.CNC + m.MC + m.GHC)} of those settled`],
  ["missed", "Missed", (m) => integer(m.MC), (m) => `${integer(m.CHSR)} hung up within 5 s`],
  ["ghost", "Ghost", (m) => integer(m.GHC), () => "nothing rang"],
  ["moved", "Transfers", (m) => integer(m.TRSC), (m) => `${integer(m.FWC)} forwarded`],
  ["talk", "Talk time", (m) => duration(m.avgTalkTime), (m) => `ring ${duration(m.avgRingTime)} · hold ${duration(m.avgHoldTime)}`],
  ["balance", "Balance", (m) => money(m.ucBl), (m) => `call balance ${money(m.cBl)}`],
];

/** [id, title, entries of a message (key -> count), key -> name, text if there are no entries]. */
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

/** The outcomes of failover retries that at least one call had. */
function retries(m) {
  const all = {
    "All answered": m.FR_CA, "Some answered": m.FR_PM, "All missed": m.FR_CM, "Nothing rang": m.FR_GH_UC,
  };
  return Object.fromEntries(Object.entries(all).filter(([, calls]) => calls));
}

/** [id, title, calls]: the parts of the bar. They add up to all calls of today. */
const OUTCOME = [
  ["answered", "Answered", (m) => m.CNC],
  ["missed", "Missed", (m) => m.MC],
  ["ghost", "Ghost", (m) => m.GHC],
  ["open", "Not over yet", (m) => Math.max(0, m.TC - m.CNC - m.MC - m.GHC)],
];
/** [title, calls] by what became of all legs of a call. */
const LEGS = [
  ["Every leg answered", (m) => m.CA],
  ["Some legs missed", (m) => m.PM],
  ["Every leg missed", (m) => m.CM],
  ["Only ghost legs", (m) => m.GH_UC],
];

const column = (name) => make("th", { scope: "col" }, make("span", { class: "hidden" }, name));

/** A table with a bar in each row, the largest count first. A row's elements are used again for the same key. */
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

  /** Show entries (key -> count). `name`: key -> name. `nothing`: the text if there are none. */
  show(entries, name, nothing) {
    const all = Object.entries(entries).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const shown = all.slice(0, ROWS);
    const rest = all.slice(ROWS);
    const most = all.length ? all[0][1] : 1;
    say(this.total, all.length ? integer(sum(entries)) : "");
    say(this.empty, all.length ? "" : nothing);
    this.table.hidden = !all.length;
    say(this.more, rest.length ? `and ${rest.length} more, with ${integer(rest.reduce((n, [, v]) => n + v, 0))}` : "");
    for (const key of [...this.rows.keys()]) if (!shown.some(([shownKey]) => shownKey === key)) this.drop(key);
    shown.forEach(([key, value], at) => this.row(at, key, name(key), value, value / most));
  }

  /** Show one entry in row `at`. `share`: the width of its bar, 0 to 1. */
  row(at, key, text, value, share) {
    let row = this.rows.get(key);
    if (!row) {
      const bar = make("span", { class: "fill", "aria-hidden": "true" });
      const cell = make("td");
      const element = make("tr", {}, make("th", { scope: "row", title: text }, bar, make("span", { class: "label" }, text)), cell);
      row = { element, bar, cell };
      this.rows.set(key, row);
    }
    say(row.cell, integer(value));
    row.bar.style.width = `${Math.max(1.5, 100 * share)}%`;
    if (this.body.children[at] !== row.element) this.body.insertBefore(row.element, this.body.children[at] || null);
  }

  /** Remove the row of a key. */
  drop(key) {
    this.rows.get(key).element.remove();
    this.rows.delete(key);
  }
}

/** Everything on the page that shows a payload. `show` it, `showStatus`, and `clear` it at log-out. */
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

  /** Make the elements of "Outcome today". */
  outcome() {
    this.bar = make("div", { class: "stack", "aria-hidden": "true" });
    this.rate = make("p", { class: "rate" });
    const [list, legs] = [make("dl", { class: "pairs" }), make("dl", { class: "pairs legs" })];
    this.outcomes = OUTCOME.map(([id, title, value]) => {
      const [segment, text] = [make("span", { class: id }), make("dd")];
      this.bar.append(segment);
      list.append(make("div", {}, make("dt", {}, make("span", { class: `key ${id}`, "aria-hidden": "true" }), title), text));
      return { segment, text, value };
    });
    this.legs = LEGS.map(([title, value]) => {
      const text = make("dd");
      legs.append(make("div", {}, make("dt", {}, title), text));
      return { text, value };
    });
    byId("outcome").append(this.rate, this.bar, list, make("h3", {}, "By what became of their legs"), legs);
  }

  /** Show a payload's message. */
  show(m) {
    for (const { big, more, value, small } of this.tiles) {
      const text = value(m);
      if (big.textContent !== text) {
        // A number that changed lights up once, except for the first payload, when all of them change.
        if (big.textContent !== "–") big.animate([{ opacity: 0.4 }, { opacity: 1 }], { duration: calm() ? 0 : 600 });
        big.textContent = text;
      }
      say(more, small(m));
    }
    for (const [card, entries, name, nothing] of this.cards) card.show(entries(m), name, nothing);
    say(this.rate, percent(m.CNC, m.CNC + m.MC + m.GHC) + " answered");
    for (const { segment, text, value } of this.outcomes) {
      segment.style.flexGrow = String(value(m));
      say(text, `${integer(value(m))} · ${percent(value(m), m.TC)}`);
    }
    for (const { text, value } of this.legs) say(text, integer(value(m)));
  }

  /** Show a status: which day the counters are of, and how many live calls are suspected. */
  showStatus(status, zone) {
    const day = { timeZone: zone, dateStyle: "medium" };
    const [from] = status.range.split("/");
    say(byId("range"), `Today is ${new Intl.DateTimeFormat("en-GB", day).format(new Date(from))} (${zone}).`);
    const suspected = status.suspected;
    say(byId("suspected"), suspected ? `${integer(suspected)} live ${suspected === 1 ? "call has" : "calls have"} been silent for long.` : "");
  }

  /** Remove all counters of the last log-in. */
  clear() {
    for (const { big, more } of this.tiles) {
      say(big, "–");
      say(more, "");
    }
    for (const [card, , , nothing] of this.cards) card.show({}, same, nothing);
  }
}

/** Whether the person asked the system for less motion. */
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
