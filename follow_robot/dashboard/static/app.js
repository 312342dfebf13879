// The page of follow-robot: what is known goes into the view, what is pressed goes to the car.

import { Connection } from "./connection.js";
import { $, People, Parameters, addEvents, number, setText, showParts, showSentences, showStages } from "./panels.js";
import { Plot, addRows } from "./plots.js";
import { Stage } from "./stage.js";
import { STALE_S, summary } from "./summary.js";

const view = {
  link: "connecting",
  news: null, // the newest message that came
  status: null, // of the picture that is shown
  frame_s: null, // when that was captured, by the car's clock
  ahead_s: Infinity, // this page's clock before the car's; at most, as messages take a while
  rows: [],
};

const connection = new Connection({
  state(name) {
    view.link = name;
    if (name !== "open") ask(null);
    render();
  },
  message(data, jpeg) {
    if (data.type === "welcome") welcome(data);
    view.news = data;
    view.ahead_s = Math.min(view.ahead_s, performance.now() / 1000 - data.now_s);
    if (data.stop?.pressed) connection.stopPending = false;
    addRows(view.rows, data.rows);
    addEvents($("events"), data.events);
    if (data.type !== "picture") render();
    else {
      hold(data.status.lock, data.frame_s);
      stage.show(data.status, jpeg, () => {
        view.status = data.status;
        view.frame_s = data.frame_s;
        view.problem = data.problem;
        view.hasPicture = jpeg !== null;
        render();
      });
    }
  },
});

// Not on every frame the target is compared; what was found stays for a second.
let look = { frame_s: -Infinity };
function hold(lock, frame_s) {
  if (!lock) return;
  if (lock.similarity != null) look = { frame_s, track: lock.track, similarity: lock.similarity, margin: lock.margin };
  else if (lock.track === look.track && Math.abs(frame_s - look.frame_s) < 1) {
    lock.similarity = look.similarity;
    lock.margin = look.margin;
  }
}

// A server that was started anew tells everything again.
function welcome(data) {
  view.rows.length = 0;
  view.status = view.frame_s = null;
  view.ahead_s = Infinity;
  $("events").replaceChildren();
  parameters.offer(data.parameters);
}

const stage = new Stage($("stage"), $("video"), $("boxes"), {
  chosen: choose,
  missed: () => notice("There is nobody at this place."),
});
const people = new People($("people"), (person) => choose(person, null));
const parameters = new Parameters($("parameters"), (values) => wish("set", { values }));
const plots = [
  new Plot($("plot-similarity"), [[2, "limit"], [1, "one"]], [0, 1]),
  new Plot($("plot-distance"), [[4, "limit"], [3, "one"]], [0, 4]),
  new Plot($("plot-speed"), [[6, "two"], [5, "one"]], [0, 0.5]),
];

// -- wishes ------------------------------------------------------------------------------------

async function wish(kind, fields) {
  const reply = await connection.act(kind, fields);
  notice(reply.ok ? "" : reply.error);
  return reply.ok;
}

function choose(person, point) {
  const { track, box } = person;
  const fields = { track, box, ...(point && { point }) };
  const target = view.status?.lock?.track;
  if (!mayAct()) notice(whyNot());
  else if (view.news?.mode === "go" && target != null && target !== track) {
    ask({ question: `Follow person ${track} instead of person ${target}?`, yes: `Follow ${track}`, then: () => wish("choose", fields) });
  } else {
    wish("choose", fields);
  }
}

async function rearm() {
  const { ok, error, code } = await connection.act("rearm");
  if (!ok) return notice(error);
  ask({
    question: "Is the way around the car free? Re-arming lets it move again, after Go is pressed.",
    yes: "Re-arm",
    then: () => wish("rearm", { code }),
  });
}

function stop() {
  ask(null);
  connection.stop().then((reply) => {
    notice(reply.ok ? "" : reply.error);
    render();
  });
  render();
}

// A second step beside the buttons, not over them: STOP stays in reach.
let asked = null;
function ask(question) {
  const before = asked;
  asked = question;
  $("confirm").hidden = !question;
  render();
  if (question) {
    setText($("question"), question.question);
    setText($("yes"), question.yes);
    $("confirm").scrollIntoView({ block: "center" });
    $("no").focus();
  } else if (before && $("confirm").contains(document.activeElement)) document.activeElement.blur();
}

function mayAct() {
  return view.link === "open" && [null, view.news?.you].includes(view.news?.controller);
}

function whyNot() {
  return view.link === "open" ? `You are observing: ${view.news?.controller} controls the car.` : "There is no connection to the car.";
}

$("hold").addEventListener("click", () => wish("hold"));
$("go").addEventListener("click", () => wish("go"));
$("front").addEventListener("click", () => wish("choose_front"));
$("release").addEventListener("click", () => wish("release"));
$("take").addEventListener("click", () => wish("take"));
$("rearm").addEventListener("click", rearm);
$("no").addEventListener("click", () => ask(null));
$("yes").addEventListener("click", () => {
  const { then } = asked;
  ask(null);
  then();
});

// STOP when it is touched, not when it is let go; the click is for keyboards and screen readers.
let touched = -Infinity;
$("stop").addEventListener("pointerdown", () => {
  touched = performance.now();
  stop();
});
$("stop").addEventListener("click", () => {
  if (performance.now() - touched > 1000) stop();
});

// Space and Escape are STOP wherever the focus is, except where text is typed.
const typing = (target) => target instanceof HTMLInputElement && target.type !== "range";
addEventListener(
  "keydown",
  (event) => {
    if (![" ", "Escape"].includes(event.key) || typing(event.target)) return;
    event.preventDefault();
    if (!event.repeat) stop();
  },
  { capture: true },
);
addEventListener("keyup", (event) => event.key === " " && !typing(event.target) && event.preventDefault(), { capture: true });

document.addEventListener("visibilitychange", () => connection.watch(!document.hidden));

// -- what is shown -----------------------------------------------------------------------------

function render() {
  const { news, status } = view;
  const age_s = view.frame_s === null ? null : performance.now() / 1000 - view.ahead_s - view.frame_s;
  const told = summary({
    link: view.link,
    stopPending: connection.stopPending,
    stopSent: news?.stop_sent ?? false,
    stop: news?.stop,
    mode: news?.mode,
    age_s,
    status,
  });
  showState(told, status);
  showLink(news, age_s);
  const stopped = Boolean(news?.stop?.pressed || news?.stop_sent);
  const may = mayAct();
  const mode = view.link === "open" ? news?.mode : null; // of a lost car nobody knows
  $("rearm").hidden = !stopped || asked !== null;
  $("modes").hidden = stopped || asked !== null;
  $("rearm").disabled = $("hold").disabled = $("front").disabled = $("release").disabled = !may;
  $("go").disabled = !may || stopped;
  $("go").setAttribute("aria-pressed", String(mode === "go"));
  $("hold").setAttribute("aria-pressed", String(mode === "hold"));
  people.show(status?.people ?? [], status?.lock?.track ?? null, may);
  parameters.show(status?.parameters, may);
  showVeil(told, age_s);
  showNumbers(status);
}

let saidTitle = "";
function showState({ tone, title, detail }, status) {
  $("state").dataset.tone = tone;
  $("state-shape").setAttribute("href", `#shape-${tone}`);
  setText($("title"), title);
  setText($("detail"), detail);
  const sentences = view.link === "open" ? [...(status?.warnings ?? [])] : [];
  if (tone !== "stop" && tone !== "off") sentences.push(...(status?.reasons ?? []));
  if (view.problem) sentences.push(view.problem);
  showSentences($("reasons"), sentences);
  document.title = `${title} · follow-robot`;
  if (title !== saidTitle) say(title, ["stop", "off", "warn"].includes(tone));
  saidTitle = title;
}

function showLink(news, age_s) {
  const open = view.link === "open";
  $("link").dataset.tone = open ? "go" : "off";
  setText($("link"), { open: "Connected", connecting: "Connecting", lost: "No connection", locked: "Locked" }[view.link]);
  const mine = news?.controller != null && news.controller === news.you;
  const other = open && news?.controller != null && !mine;
  $("take").hidden = !other;
  setText($("control"), !open ? "–" : mine ? "You control" : other ? `Observing: ${news.controller} controls` : "Nobody controls");
  $("login").hidden = view.link !== "locked";
  document.querySelector("main").hidden = view.link === "locked"; // no button there would work
  setText($("battery"), number(view.status?.battery_v, 1, " V"));
  setText($("fps"), number(view.status?.fps, 1, " /s"));
  setText($("age"), age_s === null ? "–" : age_s < STALE_S ? `${Math.round(age_s * 1000)} ms` : `${age_s.toFixed(1)} s`);
}

function showVeil({ title }, age_s) {
  const open = view.link === "open";
  const stale = age_s !== null && age_s > STALE_S;
  const text = !open ? title : !view.status ? "Waiting for the first picture" : stale ? `Picture is ${age_s.toFixed(1)} s old` : view.hasPicture ? "" : "No picture";
  setText($("veil"), text);
  $("veil").hidden = !text;
  $("stage").classList.toggle("stale", Boolean(text));
}

function showNumbers(status) {
  const { lock, target, sent, command, measured } = status ?? {};
  setText($("similarity"), number(lock?.similarity, 2));
  setText($("margin"), number(lock?.margin, 2));
  setText($("distance"), number(target?.distance_m, 2, " m"));
  setText($("bearing"), target?.bearing_rad == null ? "–" : `${((target.bearing_rad * 180) / Math.PI).toFixed(0)}°`);
  setText($("speed"), number((sent ?? command)?.vx_mps, 2, " m/s"));
  setText($("turn"), number((sent ?? command)?.wz_radps, 2, " rad/s"));
  setText($("plot-speed").previousElementSibling.querySelector(".two"), `measured ${number(measured?.vx_mps, 2)}`);
  showParts($("parts"), status);
  showStages($("stages"), $("total"), status?.took_ms);
}

function notice(text) {
  setText($("notice"), text ?? "");
}

// For screen readers: changes only, and those that matter at once.
function say(text, urgent = false) {
  setText($(urgent ? "alert" : "polite"), text);
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const error = await connection.login($("token").value.trim());
  setText($("login-error"), error ?? "");
  if (!error) $("token").value = "";
});

// The token stands behind the #, which is never sent; it must not stay in the history either.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  connection.token = token;
  history.replaceState(null, "", location.pathname);
}

setInterval(render, 250);
setInterval(() => !document.hidden && plots.forEach((plot) => plot.draw(view.rows)), 200);
render();
connection.open();
