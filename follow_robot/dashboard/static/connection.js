// The WebSocket to the car: opened again whenever it is lost, with STOP by two ways.

const SILENCE_MS = 2500; // the server speaks at least twice a second
const ANSWER_MS = 2000;
const STOP_ANSWER_MS = 400; // then STOP also goes by POST
const RETRY_MS = [250, 500, 1000, 2000];

const decoder = new TextDecoder();

async function request(path, body) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), ANSWER_MS);
  try {
    const response = await fetch(path, {
      signal: abort.signal,
      ...(body && {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
      }),
    });
    return { ok: response.ok, data: await response.json() };
  } finally {
    clearTimeout(timer);
  }
}

// New with every load of the page, so a copied tab is another page.
function pageNumber() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

export class Connection {
  // listeners: state(name), message(data, jpeg or null)
  constructor(listeners) {
    this.listeners = listeners;
    this.state = "connecting"; // then "open", "lost" or "locked" (the token is missing)
    this.stopPending = false; // STOP was pressed and no answer has come
    this.watching = !document.hidden;
    this.page = pageNumber();
    this.token = null;
    this.socket = null;
    this.failures = 0;
    this.number = 0;
    this.waiting = new Map();
    setInterval(() => this.#checkSilence(), 250);
    addEventListener("online", () => this.state === "lost" && this.open());
  }

  async open() {
    clearTimeout(this.timer);
    if (this.opening) return;
    this.opening = true;
    try {
      let { data } = await request("/api/session");
      if (!data.admitted && this.token) ({ data } = await request("/api/login", { token: this.token }));
      if (data.admitted) this.#connect();
      else this.#set("locked");
    } catch {
      this.#again();
    } finally {
      this.opening = false;
    }
  }

  // Resolves to null, or to why the token was refused.
  async login(token) {
    try {
      const { ok, data } = await request("/api/login", { token });
      if (!ok) return data.error;
      this.token = token;
      this.open();
      return null;
    } catch {
      return "The car does not answer.";
    }
  }

  #connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/live?page=${this.page}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heard = performance.now();
    socket.onmessage = (event) => {
      this.heard = performance.now();
      const [data, jpeg] = unpack(event.data);
      if (data.type === "reply") this.#answer(data);
      else {
        if (this.state !== "open") this.#opened();
        this.#send({ type: "got", seq: data.type === "picture" ? data.shown : 0 });
        this.listeners.message(data, jpeg);
      }
    };
    socket.onclose = () => socket === this.socket && this.#again();
  }

  #opened() {
    this.failures = 0;
    this.#set("open");
    if (!this.watching) this.#send({ type: "watch", on: false });
    if (this.stopPending) this.#sendStop();
  }

  #again() {
    this.socket = null;
    for (const answer of this.waiting.values()) answer({ ok: false, error: "The connection was lost." });
    this.waiting.clear();
    this.#set("lost");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), RETRY_MS[Math.min(this.failures++, RETRY_MS.length - 1)]);
  }

  #checkSilence() {
    if (!this.socket || performance.now() - this.heard < SILENCE_MS) return;
    const dead = this.socket;
    this.#again();
    dead.close();
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.listeners.state(state);
  }

  #send(data) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(data));
    return true;
  }

  #answer(data) {
    this.waiting.get(data.id)?.(data);
    this.waiting.delete(data.id);
  }

  // Resolves to {ok, error, code}; never rejects.
  act(kind, fields = {}) {
    return new Promise((resolve) => {
      const id = ++this.number;
      if (!this.#send({ type: "act", id, kind, ...fields })) {
        resolve({ ok: false, error: "There is no connection to the car." });
        return;
      }
      this.waiting.set(id, resolve);
      setTimeout(() => {
        if (this.waiting.delete(id)) resolve({ ok: false, error: "The car did not answer." });
      }, ANSWER_MS);
    });
  }

  // STOP at once; by POST too when no answer comes; again when the connection is back.
  stop() {
    this.stopPending = true;
    return this.#sendStop();
  }

  async #sendStop() {
    const slow = setTimeout(() => this.#postStop(), this.socket ? STOP_ANSWER_MS : 0);
    const reply = await this.act("stop");
    if (reply.ok) {
      clearTimeout(slow);
      this.stopPending = false;
    }
    return reply;
  }

  async #postStop() {
    try {
      const { ok } = await request("/api/stop", {});
      if (ok) this.stopPending = false;
    } catch {
      // stays pending: it is sent when the connection is back
    }
  }

  watch(on) {
    this.watching = on;
    this.#send({ type: "watch", on });
  }
}

// A text message is JSON; a binary one is four bytes of length, JSON, JPEG.
function unpack(data) {
  if (typeof data === "string") return [JSON.parse(data), null];
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(decoder.decode(new Uint8Array(data, 4, length)));
  const jpeg = new Uint8Array(data, 4 + length);
  return [header, jpeg.length ? new Blob([jpeg], { type: "image/jpeg" }) : null];
}
