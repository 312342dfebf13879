// Lines over the last minute, on a canvas.

const WINDOW_S = 60;
const GAP_S = 0.6; // points farther apart are not joined
const DASHES = { one: [], two: [5, 3], limit: [2, 4] };

export class Plot {
  // lines: [[index in a row, "one" | "two" | "limit"], ...]; span: the least [low, high] shown
  constructor(canvas, lines, span) {
    Object.assign(this, { canvas, lines, span });
  }

  draw(rows) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const style = getComputedStyle(this.canvas);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const step = (this.span[1] - this.span[0]) / 2;
    const [low, high] = this.#range(rows, step);
    const end = rows.length ? rows[rows.length - 1][0] : 0;
    const left = 34;
    const place = (time, value) => [
      left + (width - left - 4) * (1 + (time - end) / WINDOW_S),
      6 + (height - 22) * (1 - (value - low) / (high - low)),
    ];
    this.#grid(pen, place, end, [low, high, step], style);
    for (const [index, kind] of this.lines) {
      pen.strokeStyle = style.getPropertyValue(`--plot-${kind}`);
      pen.lineWidth = kind === "limit" ? 1.5 : 2;
      pen.setLineDash(DASHES[kind]);
      pen.beginPath();
      let last = -Infinity;
      for (const row of rows) {
        if (row[index] == null) continue;
        const [x, y] = place(row[0], row[index]);
        if (row[0] - last > GAP_S) pen.moveTo(x, y);
        else pen.lineTo(x, y);
        last = row[0];
      }
      pen.stroke();
    }
  }

  // The span, widened by whole steps to what there is; noise does not widen it.
  #range(rows, step) {
    let [low, high] = this.span;
    for (const row of rows) {
      for (const [index] of this.lines) {
        if (row[index] == null) continue;
        low = Math.min(low, row[index]);
        high = Math.max(high, row[index]);
      }
    }
    return [Math.floor(low / step + 0.1) * step, Math.ceil(high / step - 0.1) * step];
  }

  #grid(pen, place, end, [low, high, step], style) {
    pen.strokeStyle = style.getPropertyValue("--grid");
    pen.fillStyle = style.getPropertyValue("--quiet");
    pen.font = "11px system-ui, sans-serif";
    pen.lineWidth = 1;
    pen.setLineDash([]);
    pen.textAlign = "right";
    const every = step * Math.ceil((high - low) / step / 4);
    for (let value = low; value < high + step / 2; value += every) {
      const [x0, y] = place(end - WINDOW_S, value);
      const [x1] = place(end, value);
      pen.beginPath();
      pen.moveTo(x0, y);
      pen.lineTo(x1, y);
      pen.stroke();
      pen.fillText(String(Math.round(value * 100) / 100).replace("-", "−"), x0 - 5, y + 4);
    }
    pen.textAlign = "center";
    for (const ago of [45, 30, 15]) {
      const [x, y] = place(end - ago, low);
      pen.fillText(`−${ago} s`, x, y + 13);
    }
    pen.textAlign = "right";
    const [x, y] = place(end, low);
    pen.fillText("now", x, y + 13);
  }
}

// Keep the last minute; a clock that starts anew (another run) drops what was before.
export function addRows(rows, news) {
  for (const row of news) {
    if (rows.length && row[0] < rows[rows.length - 1][0]) rows.length = 0;
    rows.push(row);
  }
  const oldest = rows.length ? rows[rows.length - 1][0] - WINDOW_S : 0;
  while (rows.length && rows[0][0] < oldest) rows.shift();
}
