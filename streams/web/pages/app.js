// Log-in, log-out, theme, and what is said of the connection. The numbers are board.js's, the chart is chart.js's.

import { Board } from "./board.js";
import { Chart } from "./chart.js";
import { byId, duration, say } from "./dom.js";
import { Feed, tooMany, whoIsIt } from "./feed.js";

const LATE_MS = 5000;
const THEMES = ["auto", "light", "dark"];

const board = new Board();
const chart = new Chart();
const feed = new Feed({ payload, status, lost, ended });
let zone = "UTC";
let connected = false;
let told = null;
let troubled = false;

// ---------------------------------------------------------------------------------------------- log-in and log-out

async function post(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return fetch(path, { ...options, signal: AbortSignal.timeout(8000) });
}

function showLogin(why = "") {
  byId("waiting").hidden = true;
  feed.close();
  chart.stop();
  board.clear();
  byId("board").hidden = true;
  byId("login").hidden = false;
  say(byId("login-error"), why);
  document.title = "Log in – Ecounters";
  byId("user").focus();
}

function showBoard(session) {
  byId("waiting").hidden = true;
  zone = session.zone;
  say(byId("who"), session.userId);
  byId("login").hidden = true;
  byId("board").hidden = false;
  document.title = `${session.userId} – Ecounters`;
  told = null;
  connected = false;
  say(byId("as-of"), "–");
  feed.open();
  chart.start(zone);
  look();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  say(byId("login-error"), "");
  try {
    const response = await post("/dashboard/login", { userId: byId("user").value.trim(), token: byId("token").value });
    const answer = await response.json();
    if (response.ok) {
      byId("token").value = "";
      showBoard(answer.message);
      byId("numbers").focus();
    } else if (response.status === 403) {
      say(byId("login-error"), "There is no such user, or the token is not this user's.");
      byId("token").select();
    } else say(byId("login-error"), response.status === 429 ? tooMany(response) : answer.message);
  } catch {
    say(byId("login-error"), "The server gives no answer. Try again.");
  } finally {
    button.disabled = false;
  }
});

byId("logout").addEventListener("click", async () => {
  try {
    const response = await post("/dashboard/logout", {});
    if (response.ok) showLogin();
    else announce("Logging out did not work. Try again.");
  } catch {
    announce("Logging out did not work: the server gives no answer. Try again.");
  }
});

function ended() {
  if (!byId("board").hidden) showLogin("Your session is over. Log in again.");
}

// ---------------------------------------------------------------------------------------------- what the feed says

function payload(message) {
  board.show(message);
}

function status(given) {
  const again = !connected;
  connected = true;
  told = given;
  if (given.asOf) say(byId("as-of"), clock(given.asOf));
  board.about(given, zone);
  if (again) chart.refresh();
  look();
}

function lost() {
  connected = false;
  look();
}

function clock(time) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeStyle: "medium" }).format(new Date(time));
}

/** The state of what is on the screen, in a word and, if it may be wrong, in a banner with its age. */
function look() {
  let [state, word, what, more] = ["live", "Live", "", ""];
  const silent = Math.max(0, (performance.now() - feed.heardAt) / 1000);
  if (!connected && !told) [state, word] = ["waiting", "Connecting"];
  else if (!connected) {
    [state, word, what] = ["lost", "Connection lost", "Connection lost. The numbers are old; trying again."];
    more = `Last heard ${duration(Math.round(silent))} ago.`;
  } else if (!told.complete) {
    [state, word, what] = ["late", "Incomplete", "The numbers may be old or incomplete."];
    more = told.why ? `The server says: ${told.why}.` : "The server hears nothing of its source of events.";
  } else if (told.lagMs > LATE_MS) {
    [state, word, what] = ["late", "Late", "The numbers are old: the server is catching up."];
    more = `It is ${duration(Math.round(told.lagMs / 1000))} behind.`;
  }
  byId("state").dataset.state = state;
  say(byId("state-text"), word);
  byId("numbers").classList.toggle("old", state === "lost" || state === "late");
  if (what && byId("banner").hidden) troubled = true;
  if (!what && troubled) announce("The numbers are live again.");
  if (!what) troubled = false;
  byId("banner").hidden = !what;
  byId("banner").dataset.state = state;
  say(byId("banner-what"), what);
  say(byId("banner-more"), more);
}

function announce(text) {
  say(byId("announce"), text);
}

setInterval(() => {
  if (!byId("board").hidden) look();
}, 1000);

// A laptop that was asleep need not wait for the watch.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !byId("board").hidden && !connected) feed.open();
});

// ---------------------------------------------------------------------------------------------- theme

function theme(name) {
  document.documentElement.dataset.theme = name;
  say(byId("theme"), `Theme: ${name}`);
  chart.paint();
}

byId("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  theme(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart.paint());

theme(THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto");

async function begin() {
  const session = await whoIsIt();
  if (session.denied) showLogin();
  else if (session.away) {
    say(byId("waiting"), `${session.away} Trying again …`);
    setTimeout(begin, 2000);
  } else showBoard(session);
}
begin();
