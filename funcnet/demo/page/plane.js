// The plane: the field of the net with the points on it, which one hovers, adds, drags and removes; and the grid that a layer warps.
import { classColour, drawPoint, fieldImage, ink, isDark, sharp } from "./colours.js";

const NEAR = 11,
  POINT = 4.5,
  STEP = 0.2;

export class Plane {
  // acts: hover(index or null), pin(index), edit(points), moved(points), and label() for a new point.
  constructor(canvas, root, extent, acts) {
    Object.assign(this, { canvas, root, extent, acts, points: [], example: -1, cursor: null, dragged: null });
    this.image = new ImageData(1, 1);
    this.small = document.createElement("canvas");
    const on = (name, act) => canvas.addEventListener(name, act);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", () => (this.dragged = null));
    on("pointerleave", () => acts.hover(null));
    on("contextmenu", (event) => (event.preventDefault(), this.remove(this.nearest(this.at(event)))));
    on("keydown", (event) => this.key(event));
    on("blur", () => (this.cursor = null));
  }

  get side() {
    return this.canvas.clientWidth;
  }

  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const unit = (value) => Math.max(-1, Math.min(1, value)) * this.extent;
    return [unit(((event.clientX - left) / this.side) * 2 - 1), unit(1 - ((event.clientY - top) / this.side) * 2)];
  }

  place([x, y]) {
    return [((x / this.extent + 1) * this.side) / 2, ((1 - y / this.extent) * this.side) / 2];
  }

  // The number of the point at a place, or −1.
  nearest(place) {
    let best = -1,
      least = ((NEAR * 2) / this.side) * this.extent;
    this.points.forEach((point, i) => {
      const far = Math.hypot(point[0] - place[0], point[1] - place[1]);
      if (far < least) [best, least] = [i, far];
    });
    return best;
  }

  down(event) {
    if (event.button) return;
    const place = this.at(event),
      index = this.nearest(place);
    if (index >= 0 && event.shiftKey) return this.remove(index);
    this.dragged = { index, start: place, before: this.points, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
    if (index >= 0)
      this.held = setTimeout(() => this.dragged && !this.dragged.moved && (this.remove(index), (this.dragged = null)), 650);
  }

  move(event) {
    const place = this.at(event),
      { dragged } = this;
    if (!dragged) {
      const index = this.nearest(place);
      this.canvas.style.cursor = index < 0 ? "crosshair" : "grab";
      return event.pointerType === "mouse" && this.acts.hover(index < 0 ? null : index);
    }
    const far = Math.hypot(place[0] - dragged.start[0], place[1] - dragged.start[1]);
    if (far > 0.12) dragged.moved = true;
    if (dragged.index < 0 || !dragged.moved) return;
    this.points = dragged.before.map((point, i) => (i === dragged.index ? [...rounded(place), ...point.slice(2)] : point));
    this.acts.moved(this.points);
  }

  up(event) {
    clearTimeout(this.held);
    const { dragged } = this;
    this.dragged = null;
    if (!dragged) return;
    if (dragged.index < 0) this.add(this.at(event));
    else if (!dragged.moved) this.acts.pin(dragged.index);
    else this.acts.edit(this.points, dragged.before);
  }

  add(place) {
    this.acts.edit([...this.points, [...rounded(place), this.acts.label(), 1]], this.points);
  }

  remove(index) {
    if (index >= 0)
      this.acts.edit(
        this.points.filter((_, i) => i !== index),
        this.points,
      );
  }

  // With the keyboard a cursor moves over the plane.
  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const way = ways[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (way) {
      const [x, y] = this.cursor ?? [0, 0],
        far = event.shiftKey ? 5 * STEP : STEP;
      const within = (value) => Math.max(-this.extent, Math.min(this.extent, value));
      this.cursor = this.cursor ? [within(x + way[0] * far), within(y + way[1] * far)] : [0, 0];
      const index = this.nearest(this.cursor);
      this.acts.hover(index < 0 ? null : index);
    } else if (event.key === "Enter") {
      const index = this.cursor ? this.nearest(this.cursor) : -1;
      if (index >= 0) this.acts.pin(index);
      else this.add(this.cursor ?? [0, 0]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.remove(this.cursor ? this.nearest(this.cursor) : this.example);
    } else if (event.key === "Escape") this.cursor = null;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.acts.redraw();
  }

  draw(frame) {
    const { side, root } = this,
      pen = sharp(this.canvas, side, side);
    background(pen, side, frame, this, isDark(root));
    const outline = isDark(root) ? "#fff" : "#222";
    this.points.forEach((point, i) => {
      const [x, y] = this.place(point);
      drawPoint(pen, x, y, point[2], point[3], POINT, outline);
      if (i === this.example) ring(pen, x, y, ink(root));
    });
    if (this.cursor) cross(pen, ...this.place(this.cursor), ink(root));
  }
}

const rounded = (place) => place.map((value) => Number(value.toFixed(2)));

// The field of a frame over a square of a canvas; `keeper` holds the image between frames.
export function background(pen, side, frame, keeper, dark) {
  const cells = Math.sqrt(frame.field.length);
  if (keeper.image.width !== cells) keeper.image = new ImageData(cells, cells);
  keeper.small.width = keeper.small.height = cells;
  const image = fieldImage(keeper.image, frame.field, frame.sure, frame.sizes.at(-1), dark);
  keeper.small.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(keeper.small, 0, 0, side, side);
}

function ring(pen, x, y, colour) {
  pen.beginPath();
  pen.arc(x, y, 10, 0, 2 * Math.PI);
  pen.lineWidth = 2.5;
  pen.strokeStyle = colour;
  pen.stroke();
}

function cross(pen, x, y, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  for (const [dx, dy] of [
    [9, 0],
    [0, 9],
  ]) {
    pen.beginPath();
    pen.moveTo(x - dx, y - dy);
    pen.lineTo(x + dx, y + dy);
    pen.stroke();
  }
}

// The grid of the plane as two units of a layer see it, with the points where they land.
export function drawWarped(canvas, root, frame, points) {
  const side = canvas.clientWidth,
    pen = sharp(canvas, side, side),
    cells = Math.sqrt(frame.warped.length / 2);
  const { warped, moved } = frame,
    dark = isDark(root);
  const { place, x0, y0 } = framed(warped, side);
  pen.strokeStyle = ink(root, "--rule");
  pen.lineWidth = 1;
  for (const [from, to] of [
    [
      [x0, 0],
      [x0, side],
    ],
    [
      [0, y0],
      [side, y0],
    ],
  ]) {
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
  }
  pen.globalAlpha = 0.55;
  gridLines(frame, cells, place).forEach((lines, label) => {
    pen.strokeStyle = classColour(label);
    pen.stroke(lines);
  });
  pen.globalAlpha = 1;
  points.forEach((point, i) =>
    drawPoint(pen, ...place(moved[2 * i], moved[2 * i + 1]), point[2], point[3], 3.5, dark ? "#fff" : "#222"),
  );
}

// The lines of the grid, those that begin where the net says one class together.
function gridLines({ field, warped, sizes }, cells, place) {
  const lines = Array.from({ length: sizes.at(-1) }, () => new Path2D()),
    side = Math.sqrt(field.length);
  const places = Array.from({ length: cells * cells }, (_, i) => place(warped[2 * i], warped[2 * i + 1]));
  places.forEach(([x, y], i) => {
    const row = Math.floor(i / cells),
      column = i % cells,
      path = lines[field[2 * row * side + 2 * column]];
    if (column + 1 < cells) {
      path.moveTo(places[i + 1][0], places[i + 1][1]);
      path.lineTo(x, y);
    } else path.moveTo(x, y);
    if (row + 1 < cells) path.lineTo(places[i + cells][0], places[i + cells][1]);
  });
  return lines;
}

// Where values stand on a square so that all of them are on it.
function framed(values, side) {
  const range = (start) => {
    let low = Infinity,
      high = -Infinity;
    for (let i = start; i < values.length; i += 2)
      if (Number.isFinite(values[i])) [low, high] = [Math.min(low, values[i]), Math.max(high, values[i])];
    return low < high ? [low, high] : [(low || 0) - 1, (low || 0) + 1];
  };
  const [left, right] = range(0),
    [bottom, top] = range(1),
    pad = 10,
    inner = side - 2 * pad;
  const place = (x, y) => [pad + ((x - left) / (right - left)) * inner, pad + ((top - y) / (top - bottom)) * inner];
  const [x0, y0] = place(0, 0);
  return { place, x0, y0 };
}
