// The texts, lists and sliders beside the picture.

export const $ = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function number(value, digits, unit = "") {
  return value == null ? "–" : `${value.toFixed(digits)}${unit}`;
}

// Bring the children of `list` to one per item, keeping those there are: focus must not be lost.
function keep(list, items, make, fill) {
  while (list.children.length > items.length) list.lastElementChild.remove();
  items.forEach((item, i) => fill(list.children[i] ?? list.appendChild(make()), item));
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function showSentences(list, sentences) {
  keep(list, sentences, () => element("li"), setText);
  list.hidden = sentences.length === 0;
}

// One button per person seen; the buttons of those who stay are kept.
export class People {
  constructor(box, chosen) {
    Object.assign(this, { box, chosen, buttons: new Map(), shown: [] });
  }

  show(people, target, enabled) {
    const seen = [...people].sort((a, b) => a.track - b.track).slice(0, 12);
    for (const [track, button] of this.buttons) {
      if (!seen.some((p) => p.track === track)) {
        button.remove();
        this.buttons.delete(track);
      }
    }
    for (const person of seen) {
      let button = this.buttons.get(person.track);
      if (!button) {
        button = element("button");
        button.type = "button";
        button.addEventListener("click", () => this.chosen(button.person));
        const next = [...this.buttons].filter(([track]) => track > person.track).sort((a, b) => a[0] - b[0])[0];
        this.box.insertBefore(button, next?.[1] ?? null);
        this.buttons.set(person.track, button);
      }
      button.person = person;
      button.disabled = !enabled;
      button.setAttribute("aria-pressed", String(person.track === target));
      setText(button, person.track === target ? `Target ${person.track}` : `Person ${person.track}`);
    }
  }
}

const SETTLE_MS = 1500; // from a slider's last move until the car's value is shown again

// One slider per parameter. What is shown is what is in force, except while it is being moved.
export class Parameters {
  constructor(box, changed) {
    Object.assign(this, { box, changed, rows: new Map() });
  }

  offer(parameters) {
    this.box.replaceChildren();
    this.rows.clear();
    for (const { name, label, unit, low, high, step, value } of parameters) {
      const slider = element("input");
      Object.assign(slider, { type: "range", id: `set-${name}`, min: low, max: high, step, value });
      const title = element("label", "", label);
      title.htmlFor = slider.id;
      const output = element("output");
      output.htmlFor = slider.id;
      const row = { slider, output, unit, step, moved: -Infinity, value };
      slider.addEventListener("input", () => {
        row.moved = performance.now();
        this.#write(row, Number(slider.value));
      });
      slider.addEventListener("change", async () => {
        row.moved = performance.now();
        const taken = await this.changed({ [name]: Number(slider.value) });
        if (!taken) this.#set(row, row.value);
      });
      this.box.append(element("div", "parameter", title, output, slider));
      this.rows.set(name, row);
      this.#set(row, value);
    }
  }

  show(values, enabled) {
    for (const [name, row] of this.rows) {
      row.slider.disabled = !enabled;
      row.value = values?.[name] ?? row.value;
      if (performance.now() - row.moved > SETTLE_MS) this.#set(row, row.value);
    }
  }

  #set(row, value) {
    if (Number(row.slider.value) !== value) row.slider.value = value;
    this.#write(row, value);
  }

  #write(row, value) {
    const digits = Math.max(0, Math.ceil(-Math.log10(row.step)));
    const text = `${value.toFixed(digits)} ${row.unit}`;
    setText(row.output, text);
    row.slider.setAttribute("aria-valuetext", text);
  }
}

const PARTS = [["camera", "Camera"], ["driver", "Driver"], ["port", "Port"], ["recording", "Recording"]];

export function showParts(list, status) {
  const parts = PARTS.filter(([key]) => status?.[key]);
  keep(
    list,
    parts,
    () => element("div", "", element("dt"), element("dd")),
    (row, [key, label]) => {
      const { ok, text } = status[key];
      row.dataset.ok = ok === undefined ? "" : String(ok);
      setText(row.children[0], label);
      setText(row.children[1], `${ok === false ? "✗ " : ok ? "✓ " : ""}${text ?? ""}`);
    },
  );
}

export function showStages(list, total, took_ms) {
  const stages = Object.entries(took_ms ?? {});
  const sum = stages.reduce((all, [, ms]) => all + (ms ?? 0), 0);
  setText(total, stages.length ? `${sum.toFixed(1)} ms` : "");
  keep(
    list,
    stages,
    () => element("div", "", element("dt"), element("dd", "bar"), element("dd")),
    (row, [stage, ms]) => {
      setText(row.children[0], stage);
      row.children[1].style.setProperty("--share", String(sum ? (ms ?? 0) / sum : 0));
      setText(row.children[2], number(ms, 1, " ms"));
    },
  );
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

// Events come with their age; the clock is the page's own.
export function addEvents(list, events) {
  for (const { text, age_s } of events) {
    const time = clock.format(new Date(Date.now() - age_s * 1000));
    list.prepend(element("li", "", element("time", "", time), " ", text));
  }
  while (list.children.length > 40) list.lastElementChild.remove();
}
