// The page's entry: log-in, log-out, the theme, and the state of the connection.
// board.js shows the counters, chart.js the chart, and feed.js reads the stream.

import { Board } from "./board.js";
import { Chart } from "./chart.js";
import { byId, duration, say } from "./dom.js";
import { Feed, currentSession, throttledText } from "./feed.js";

/** A larger lag of the partition, in ms, is shown as "Late". */
const LATE_MS = 5000;
/** How often the state is shown anew: it has the age of what was heard last. */
const STATE_MS = 1000;
/** For a request, in ms; then it counts as failed. */
const REQUEST_LIMIT_MS = 8000;
/** Pause before the session is asked for again while the server gives no reply. */
const BEGIN_AGAIN_MS = 2000;
const THEMES = ["auto", "light", "dark"];

const board = new Board();
const chart = new Chart();
const feed = new Feed({ payload, status, lost, ended });
/** The time zone of the user's days. */
let zone = "UTC";
/** Whether the stream is open and has sent a status. */
let connected = false;
/** The last status of this log-in, or null. */
let lastStatus = null;
/** Whether a banner was shown whose end is still to be announced. */
let bannerShown = false;

// ---------------------------------------------------------------------------------------------- log-in and log-out

/** The response to a POST of JSON. Throws if there is none within REQUEST_LIMIT_MS. */
async function post(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return fetch(path, { ...options, signal: AbortSignal.timeout(REQUEST_LIMIT_MS) });
}

/** Show the log-in form and stop everything of the last log-in. `error`: shown in the form. */
function showLogin(error = "") {
  byId("waiting").hidden = true;
  feed.close();
  chart.stop();
  board.clear();
  byId("board").hidden = true;
  byId("login").hidden = false;
  say(byId("login-error"), error);
  document.title = "Log in – Ecounters";
  byId("user").focus();
}

/** Show the board of a session ({userId, zone}), and start stream and chart. */
function showBoard(session) {
  byId("waiting").hidden = true;
  zone = session.zone;
  say(byId("who"), session.userId);
  byId("login").hidden = true;
  byId("board").hidden = false;
  document.title = `${session.userId} – Ecounters`;
  lastStatus = null;
  connected = false;
  say(byId("as-of"), "–");
  feed.open();
  chart.start(zone);
  showState();
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  say(byId("login-error"), "");
  try {
    const response = await post("dashboard/login", { userId: byId("user").value.trim(), token: byId("token").value });
    const reply = await response.json();
    if (response.ok) {
      byId("token").value = "";
      showBoard(reply.message);
      byId("numbers").focus();
    } else if (response.status === 403) {
      say(byId("login-error"), "There is no such user, or the token is not this user's.");
      byId("token").select();
    } else say(byId("login-error"), response.status === 429 ? throttledText(response) : reply.message);
  } catch {
    say(byId("login-error"), "The server gives no answer. Try again.");
  } finally {
    button.disabled = false;
  }
});

byId("logout").addEventListener("click", async () => {
  try {
    const response = await post("dashboard/logout", {});
    if (response.ok) showLogin();
    else announce("Logging out did not work. Try again.");
  } catch {
    announce("Logging out did not work: the server gives no answer. Try again.");
  }
});

/** From the feed: the session has expired or was closed. */
function ended() {
  if (!byId("board").hidden) showLogin("Your session is over. Log in again.");
}

// ---------------------------------------------------------------------------------------------- from the feed

/** New counters: the message of a reply. */
function payload(message) {
  board.show(message);
}

/** How old and how complete the counters are; the first one after an outage also refreshes the chart. */
function status(current) {
  const reconnected = !connected;
  connected = true;
  lastStatus = current;
  if (current.asOf) say(byId("as-of"), clock(current.asOf));
  board.showStatus(current, zone);
  if (reconnected) chart.refresh();
  showState();
}

/** The connection is lost or silent; the feed tries again. */
function lost() {
  connected = false;
  showState();
}

/** A time as hours, minutes and seconds in the user's zone. */
function clock(time) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeStyle: "medium" }).format(new Date(time));
}

/**
 * Show the state of the counters: as one word, and in a banner if they may be old or wrong.
 * Screen readers hear the banner when it appears, and an announcement when it goes.
 */
function showState() {
  let [state, word, problem, detail] = ["live", "Live", "", ""];
  const silentS = Math.max(0, (performance.now() - feed.heardAt) / 1000);
  if (!connected && !lastStatus) [state, word] = ["waiting", "Connecting"];
  else if (!connected) {
    [state, word, problem] = ["lost", "Connection lost", "Connection lost. The numbers are old; trying again."];
    detail = `Last heard ${duration(Math.round(silentS))} ago.`;
  } else if (!lastStatus.complete) {
    [state, word, problem] = ["late", "Incomplete", "The numbers may be old or incomplete."];
    detail = lastStatus.why ? `The server says: ${lastStatus.why}.` : "The server hears nothing of its source of events.";
  } else if (lastStatus.lagMs > LATE_MS) {
    [state, word, problem] = ["late", "Late", "The numbers are old: the server is catching up."];
    detail = `It is ${duration(Math.round(lastStatus.lagMs / 1000))} behind.`;
  }
  byId("state").dataset.state = state;
  say(byId("state-text"), word);
  byId("numbers").classList.toggle("old", state === "lost" || state === "late");
  if (problem && byId("banner").hidden) bannerShown = true;
  if (!problem && bannerShown) announce("The numbers are live again.");
  if (!problem) bannerShown = false;
  byId("banner").hidden = !problem;
  byId("banner").dataset.state = state;
  say(byId("banner-what"), problem);
  say(byId("banner-more"), detail);
}

/** Let screen readers say a text. */
function announce(text) {
  say(byId("announce"), text);
}

setInterval(() => {
  if (!byId("board").hidden) showState();
}, STATE_MS);

// A page that is shown again, such as after a laptop's sleep, connects at once and not after the feed's pause.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !byId("board").hidden && !connected) feed.open();
});

// ---------------------------------------------------------------------------------------------- theme

/** Apply a theme of THEMES. */
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

/** Show the board if there is a session, else the log-in. Tries again while the server gives no reply. */
async function begin() {
  const session = await currentSession();
  if (session.denied) showLogin();
  else if (session.problem) {
    say(byId("waiting-text"), `${session.problem} Trying again …`);
    setTimeout(begin, BEGIN_AGAIN_MS);
  } else showBoard(session);
}
begin();
