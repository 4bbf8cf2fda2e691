// The picture of the net: a field in each unit, on each wire the weight above and its gradient below, at each unit its value and gradient.
import { short } from "./answers.js";
import { gradientColour, ink, isDark, sharp, unitImage } from "./colours.js";
import { INPUT_NAMES, MARKS, subscript } from "./words.js";

const FEW = 12,
  WIDE = 150,
  NARROW = 90,
  TOP = 30,
  BOTTOM = 14;

export class Net {
  // acts: pick(layer, unit), hover(text or null)
  constructor(canvas, root, acts) {
    Object.assign(this, { canvas, root, acts, small: document.createElement("canvas"), hovered: null, lit: null });
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("click", (event) => {
      const found = this.unitAt(event);
      if (found) acts.pick(found.column, found.unit);
    });
  }

  // Where the units of each column stand: inputs, hidden layers, scores.
  layout(sizes) {
    const { clientWidth: width, clientHeight: height } = this.canvas,
      most = Math.max(...sizes);
    const room = (height - TOP - BOTTOM) / most,
      size = Math.max(Math.min(room - 8, 40), 8),
      columns = sizes.length;
    const margin = 24,
      gap = (width - margin - 64) / Math.max(columns - 1, 1);
    const column = (units, n) =>
      Array.from({ length: units }, (_, i) => ({
        x: margin + n * gap,
        y: TOP + (height - TOP - BOTTOM) / 2 + (i - (units - 1) / 2) * Math.min(room, 68),
      }));
    return { size, gap, columns: sizes.map(column) };
  }

  place(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  unitAt(event) {
    const [x, y] = this.place(event),
      { size, columns } = this.drawn ?? { columns: [] };
    for (const [column, units] of columns.entries())
      for (const [unit, at] of units.entries())
        if (Math.abs(at.x - x) < size / 2 + 3 && Math.abs(at.y - y) < size / 2 + 3) return { column, unit };
    return null;
  }

  wireAt(event) {
    const [x, y] = this.place(event),
      { columns } = this.drawn ?? { columns: [] };
    let best = null,
      least = 5;
    for (const [n, units] of columns.slice(1).entries())
      for (const [j, end] of units.entries())
        for (const [i, start] of columns[n].entries()) {
          const t = (x - start.x) / (end.x - start.x),
            far = Math.abs(start.y + t * (end.y - start.y) - y);
          if (t > 0.08 && t < 0.92 && far < least) [best, least] = [{ layer: n, i, j }, far];
        }
    return best;
  }

  move(event) {
    this.hover(this.unitAt(event) ?? this.wireAt(event));
  }

  hover(found) {
    this.hovered = found;
    this.canvas.style.cursor = found && "unit" in found ? "pointer" : "default";
    this.acts.hover(found);
  }

  draw(frame, settings, view) {
    const { canvas, root } = this,
      pen = sharp(canvas, canvas.clientWidth, canvas.clientHeight);
    this.drawn = this.layout(frame.sizes);
    this.dark = isDark(root);
    this.colours = {
      ink: ink(root),
      value: ink(root, "--value"),
      gradient: ink(root, "--gradient"),
      paper: ink(root, "--paper"),
      faint: ink(root, "--faint"),
    };
    const largest = frame.example_gradients.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    frame.layers.forEach((layer, n) => this.wires(pen, layer, n, largest));
    frame.layers.forEach((layer, n) => this.wireLabels(pen, layer, n));
    this.drawn.columns.forEach((units, n) => units.forEach((at, i) => this.unit(pen, frame, settings, view, n, i, at)));
  }

  // What was just chosen, before its numbers are there.
  outline(sizes) {
    const { canvas, root } = this,
      pen = sharp(canvas, canvas.clientWidth, canvas.clientHeight),
      { size, columns } = (this.drawn = this.layout(sizes));
    pen.strokeStyle = ink(root, "--rule");
    columns.slice(1).forEach((units, n) =>
      units.forEach((end) =>
        columns[n].forEach((start) => {
          pen.beginPath();
          pen.moveTo(start.x, start.y);
          pen.lineTo(end.x, end.y);
          pen.stroke();
        }),
      ),
    );
    pen.fillStyle = ink(root, "--panel");
    for (const { x, y } of columns.flat()) {
      pen.fillRect(x - size / 2, y - size / 2, size, size);
      pen.strokeRect(x - size / 2, y - size / 2, size, size);
    }
  }

  wires(pen, layer, n, largest) {
    const [from, to] = [this.drawn.columns[n], this.drawn.columns[n + 1]],
      half = this.drawn.size / 2;
    const widest = layer.w.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9),
      dim = this.lit && !this.lit.wires.includes(n);
    pen.globalAlpha = dim ? 0.25 : 1;
    for (let j = 0; j < to.length; j++)
      for (let i = 0; i < from.length; i++) {
        const place = layer.place(i, j),
          { hovered } = this,
          on = hovered?.layer === n && hovered.i === i && hovered.j === j;
        pen.strokeStyle = gradientColour(layer.wBar[place], largest);
        pen.lineWidth = (on ? 2 : 0.6) + 4 * Math.min(Math.abs(layer.w[place]) / widest, 1);
        pen.beginPath();
        pen.moveTo(from[i].x + half, from[i].y);
        pen.lineTo(to[j].x - half, to[j].y);
        pen.stroke();
      }
    pen.globalAlpha = 1;
  }

  // Weight above and gradient below, where there is room or the wire is at what is hovered.
  wireLabels(pen, layer, n) {
    const [from, to] = [this.drawn.columns[n], this.drawn.columns[n + 1]],
      few = from.length * to.length <= FEW && this.drawn.gap > WIDE;
    const { hovered } = this;
    for (let j = 0; j < to.length; j++)
      for (let i = 0; i < from.length; i++) {
        const near =
          hovered &&
          ("unit" in hovered
            ? (hovered.column === n && hovered.unit === i) || (hovered.column === n + 1 && hovered.unit === j)
            : hovered.layer === n && hovered.i === i && hovered.j === j);
        if (!near && (!few || hovered)) continue;
        const t = along(i, from.length, j, to.length),
          place = layer.place(i, j);
        const x = from[i].x + t * (to[j].x - from[i].x),
          y = from[i].y + t * (to[j].y - from[i].y);
        this.pair(pen, x, y, short(layer.w[place], 2), short(layer.wBar[place], 2), 10);
      }
  }

  // A value above a place and a gradient below it.
  pair(pen, x, y, value, gradient, size) {
    pen.textAlign = "center";
    pen.lineWidth = 3;
    pen.strokeStyle = this.colours.paper;
    for (const [text, dy, colour, style] of [
      [value, -3, "value", ""],
      [gradient, size + 1, "gradient", "italic "],
    ]) {
      pen.font = `${style}${size}px Helvetica, Arial, sans-serif`;
      pen.fillStyle = this.colours[colour];
      pen.strokeText(text, x, y + dy);
      pen.fillText(text, x, y + dy);
    }
  }

  unit(pen, frame, settings, view, n, i, { x, y }) {
    const { size } = this.drawn,
      half = size / 2,
      last = n === frame.sizes.length - 1,
      hidden = n > 0 && !last;
    const offset = frame.sizes.slice(1, n).reduce((a, b) => a + b, 0),
      mark = hidden ? frame.marks[offset + i] : 0;
    pen.globalAlpha = this.lit && !this.lit.units.includes(n) ? 0.35 : 1;
    pen.fillStyle = this.colours.paper;
    pen.fillRect(x - half, y - half, size, size);
    if (hidden) this.field(pen, frame, offset + i, x - half, y - half, size);
    const picked = hidden && view.layer === n - 1 && view.units.some((unit) => unit % frame.sizes[n] === i);
    pen.strokeStyle = mark ? this.colours.gradient : this.colours.ink;
    pen.lineWidth = mark || picked ? 2.5 : 1;
    pen.setLineDash(mark === 2 ? [4, 3] : []);
    pen.strokeRect(x - half, y - half, size, size);
    pen.setLineDash([]);
    if (mark === 1) this.crossed(pen, x, y, half);
    pen.fillStyle = this.colours.ink;
    pen.font = "11px Helvetica, Arial, sans-serif";
    pen.textAlign = "center";
    if (!n) pen.fillText(INPUT_NAMES[settings.inputs[i]], x, y + 4);
    if (last) pen.fillText(`s${subscript(i)}`, x, y + 4);
    if (mark) {
      pen.fillStyle = this.colours.gradient;
      pen.font = "bold 10px Helvetica, Arial, sans-serif";
      pen.fillText(MARKS[mark], x, y - half - 3);
    }
    const roomy = size >= 18 && (this.drawn.gap > NARROW || last);
    if (roomy || (this.hovered?.column === n && this.hovered.unit === i)) {
      const { values, valuesBar } =
        n < frame.layers.length ? frame.layers[n] : { values: frame.layers.at(-1).a, valuesBar: frame.layers.at(-1).aBar };
      this.pair(pen, x + half + 19, y, short(values[i], 2), short(valuesBar[i], 2), 10);
    }
    pen.globalAlpha = 1;
  }

  field(pen, frame, index, x, y, size) {
    const side = Math.round(Math.sqrt(frame.units.length / frame.sizes.slice(1, -1).reduce((a, b) => a + b, 0)));
    if (this.image?.width !== side) this.image = new ImageData(side, side);
    this.small.width = this.small.height = side;
    this.small.getContext("2d").putImageData(unitImage(this.image, frame.units, index * side * side, this.dark), 0, 0);
    pen.drawImage(this.small, x, y, size, size);
  }

  crossed(pen, x, y, half) {
    pen.beginPath();
    for (const way of [-1, 1]) {
      pen.moveTo(x - half, y - way * half);
      pen.lineTo(x + half, y + way * half);
    }
    pen.stroke();
  }
}

// How far along a wire its label stands: near the side on which there are more units, and those of one unit apart.
function along(i, from, j, to) {
  return from <= to ? 0.48 + (0.27 * i) / Math.max(from - 1, 1) : 0.37 + (0.17 * j) / Math.max(to - 1, 1);
}
