// What the page says in one line: from everything known to {tone, title, detail}. Pure.

const LOCK = {
  idle: ["Nobody chosen", "Tap a person on the picture, or choose the person in front."],
  enrolling: ["Learning the person", "Let the person stand or walk in view for a moment."],
  locked: ["Following", ""],
  occluded: ["Target hidden", "The car waits until the person is seen again."],
  searching: ["Looking for the target", "The car stands. It only looks; it does not drive about."],
  lost: ["Target lost", "The car stands until the person comes back or you choose somebody."],
};

export const STALE_S = 1;

// stop and mode are of the newest message, status and age_s of the picture that is shown; age_s is
// null before the first.
export function summary({ link, stopPending, stopSent, stop, mode, age_s, status }) {
  if (link === "locked") return say("off", "Token needed", "");
  if (link !== "open") {
    const title = link === "connecting" ? "Connecting" : "No connection";
    if (stopPending) return say("off", title, "STOP has not reached the car: use its switch. It is sent as soon as the connection is back.");
    return say("off", title, link === "connecting" ? "" : "STOP cannot reach the car now: use its switch.");
  }
  const lock = status?.lock ?? {};
  if (stop?.pressed) {
    return say("stop", "Stopped", (stop.reasons ?? []).join("; ") || "Nothing moves until the car is re-armed.");
  }
  if (stopSent || stopPending) return say("stop", "STOP sent", "Waiting for the driver to confirm.");
  if (age_s === null || !status) return say("off", "No picture yet", "Waiting for the first frame.");
  if (age_s > STALE_S) return say("warn", "Picture stands still", "No new frame comes; the car stops by itself.");
  const [title, detail] = LOCK[lock.state] ?? ["Unknown state", ""];
  if (mode !== "go") {
    const ready = lock.state === "locked";
    return say("hold", "Hold", ready ? `Person ${lock.track} is known. Go lets the car follow.` : `${title}. ${detail}`);
  }
  if (lock.state === "locked") {
    const moving = Math.abs(status.sent?.vx_mps ?? status.command?.vx_mps ?? 0) > 0.005;
    const place = status.target?.distance_m == null ? "" : `${status.target.distance_m.toFixed(1)} m ahead`;
    return say("go", `${title} person ${lock.track}`, [place, moving ? "driving" : "standing"].filter(Boolean).join(", "));
  }
  return say(lock.state === "enrolling" ? "hold" : "warn", title, detail);
}

function say(tone, title, detail) {
  return { tone, title, detail };
}
