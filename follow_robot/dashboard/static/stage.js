// The camera's picture with everybody's box, and who was touched.

const REACH_PX = 14; // a finger may miss a box by this much on the screen
const FONT = "600 13px system-ui, sans-serif";

export class Stage {
  // listeners: chosen(person, point), missed()
  constructor(box, video, boxes, listeners) {
    Object.assign(this, { box, video, boxes, listeners });
    this.frame = null; // what is shown: {people, lock, width, height}
    this.next = null;
    this.busy = false;
    this.hovered = null;
    new ResizeObserver(() => this.#drawBoxes()).observe(boxes);
    box.addEventListener("click", (event) => this.#click(event));
    box.addEventListener("pointermove", (event) => this.#hover(event));
    box.addEventListener("pointerleave", () => this.#mark(null));
  }

  // Show a picture with its status; when pictures come too fast, only the newest.
  show(status, jpeg, done) {
    this.next = { status, jpeg, done };
    if (!this.busy) this.#decode();
  }

  async #decode() {
    this.busy = true;
    while (this.next) {
      const { status, jpeg, done } = this.next;
      this.next = null;
      let bitmap = null;
      try {
        bitmap = jpeg && (await createImageBitmap(jpeg));
      } catch {
        // a damaged picture: the boxes are shown without it
      }
      this.#draw(status, bitmap);
      done();
    }
    this.busy = false;
  }

  #draw(status, bitmap) {
    const [height, width] = status.frame_size ?? [bitmap?.height ?? 480, bitmap?.width ?? 640];
    this.frame = { people: status.people ?? [], lock: status.lock ?? {}, width, height };
    this.box.style.setProperty("--ratio", String(width / height));
    if (bitmap) {
      if (this.video.width !== bitmap.width || this.video.height !== bitmap.height) {
        this.video.width = bitmap.width;
        this.video.height = bitmap.height;
      }
      this.video.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
    } else {
      this.video.getContext("2d").clearRect(0, 0, this.video.width, this.video.height);
    }
    this.#drawBoxes();
  }

  #drawBoxes() {
    const { clientWidth: width, clientHeight: height } = this.boxes;
    const ratio = devicePixelRatio || 1;
    this.boxes.width = Math.round(width * ratio);
    this.boxes.height = Math.round(height * ratio);
    if (!this.frame) return;
    const pen = this.boxes.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = FONT;
    const scale = [width / this.frame.width, height / this.frame.height];
    const target = this.frame.lock.track;
    const others = this.frame.people.filter((p) => p.track !== target);
    for (const person of others) drawPerson(pen, person, scale, person.track === this.hovered);
    for (const person of others) drawNumber(pen, person, scale, width);
    const followed = this.frame.people.find((p) => p.track === target && target != null);
    const box = this.frame.lock.box ?? followed?.box;
    if (box) drawTarget(pen, box, this.frame.lock, scale, width);
  }

  #point(event) {
    const place = this.boxes.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width) * this.frame.width;
    const y = ((event.clientY - place.top) / place.height) * this.frame.height;
    return [x, y, (REACH_PX / place.width) * this.frame.width];
  }

  #click(event) {
    if (!this.frame) return;
    const [x, y, reach] = this.#point(event);
    const person = personAt(this.frame.people, x, y, reach);
    if (person) this.listeners.chosen(person, [x, y]);
    else this.listeners.missed();
  }

  #hover(event) {
    if (!this.frame || event.pointerType === "touch") return;
    this.#mark(personAt(this.frame.people, ...this.#point(event))?.track ?? null);
  }

  #mark(track) {
    if (this.hovered === track) return;
    this.hovered = track;
    this.box.classList.toggle("over", track !== null);
    this.#drawBoxes();
  }
}

// The person at a point of the frame: of several boxes the smallest, of none the nearest in reach.
export function personAt(people, x, y, reach) {
  let best = null;
  let bestScore = Infinity;
  for (const person of people) {
    const [left, top, right, bottom] = person.box;
    const away = Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
    if (away > reach) continue;
    const score = away > 0 ? 1e9 + away : (right - left) * (bottom - top);
    if (score < bestScore) [best, bestScore] = [person, score];
  }
  return best;
}

function onScreen([left, top, right, bottom], [sx, sy]) {
  return [left * sx, top * sy, (right - left) * sx, (bottom - top) * sy];
}

// Every line has a dark rim, so that it is seen on any picture and in the sun.
function stroke(pen, path, color, width, dash = []) {
  for (const [style, line] of [["rgba(0,0,0,.6)", width + 2], [color, width]]) {
    pen.strokeStyle = style;
    pen.lineWidth = line;
    pen.setLineDash(style === color ? dash : []);
    pen.stroke(path);
  }
  pen.setLineDash([]);
}

function tag(pen, text, x, y, limit, paper, ink) {
  const width = pen.measureText(text).width + 12;
  const left = Math.max(2, Math.min(x, limit - width - 2));
  const top = y - 22 < 2 ? y + 4 : y - 22;
  pen.fillStyle = paper;
  pen.fillRect(left, top, width, 20);
  pen.fillStyle = ink;
  pen.fillText(text, left + 6, top + 14.5);
}

function drawPerson(pen, person, scale, hovered) {
  const [x, y, w, h] = onScreen(person.box, scale);
  const path = new Path2D();
  path.rect(x, y, w, h);
  stroke(pen, path, "#fff", hovered ? 3.5 : 1.5, hovered ? [] : [6, 4]);
}

function drawNumber(pen, person, scale, limit) {
  const [x, y] = onScreen(person.box, scale);
  tag(pen, String(person.track), x, y, limit, "rgba(0,0,0,.75)", "#fff");
}

// The target: heavy corners like a viewfinder's, and the word.
function drawTarget(pen, box, lock, scale, limit) {
  const [x, y, w, h] = onScreen(box, scale);
  const arm = Math.max(10, Math.min(w, h) * 0.28);
  const path = new Path2D();
  for (const [cx, cy, dx, dy] of [[x, y, 1, 1], [x + w, y, -1, 1], [x + w, y + h, -1, -1], [x, y + h, 1, -1]]) {
    path.moveTo(cx + dx * arm, cy);
    path.lineTo(cx, cy);
    path.lineTo(cx, cy + dy * arm);
  }
  const thin = new Path2D();
  thin.rect(x, y, w, h);
  stroke(pen, thin, "#ffd60a", 1.5);
  stroke(pen, path, "#ffd60a", 5);
  const likeness = lock.similarity == null ? "" : ` · ${lock.similarity.toFixed(2)}`;
  tag(pen, `TARGET ${lock.track ?? ""}${likeness}`, x, y, limit, "#ffd60a", "#000");
}
