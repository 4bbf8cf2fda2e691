// Loss, accuracy and gradient norms by step, of as many frames as a chart has room for.
import { short } from "./answers.js";
import { ink, LAYER_COLOURS, sharp } from "./colours.js";

const MOST = 600;

export class History {
  constructor() {
    this.rows = [];
  }

  // A frame's numbers; those of later steps are forgotten when one goes back.
  add({ step, metrics, norms }) {
    while (this.rows.length && this.rows.at(-1).step >= step) this.rows.pop();
    this.rows.push({ step, ...metrics, norms });
    if (this.rows.length > MOST) this.rows = this.rows.filter((_, i) => i % 2 === 0 || i === this.rows.length - 1);
  }
}

export function drawLosses(canvas, root, history) {
  const lines = [
    { name: "training loss", colour: "#0072b2", of: (row) => row.train_loss, dash: [] },
    { name: "test loss", colour: "#d55e00", of: (row) => row.test_loss, dash: [5, 3] },
  ];
  chart(canvas, root, history.rows, lines, { low: 0 });
}

export function drawAccuracies(canvas, root, history) {
  const lines = [
    { name: "training accuracy", colour: "#0072b2", of: (row) => row.train_accuracy, dash: [] },
    { name: "test accuracy", colour: "#d55e00", of: (row) => row.test_accuracy, dash: [5, 3] },
  ];
  chart(canvas, root, history.rows, lines, { low: 0, high: 1 });
}

export function drawNorms(canvas, root, history) {
  const layers = history.rows.at(-1)?.norms.length ?? 0,
    log = (value) => (value > 0 ? Math.log10(value) : null);
  const lines = Array.from({ length: layers }, (_, n) => ({
    name: `layer ${n + 1}`,
    colour: LAYER_COLOURS[n],
    dash: [[], [5, 3], [2, 2]][n % 3],
    of: (row) => log(row.norms[n]),
  }));
  chart(canvas, root, history.rows, lines, { power: true });
}

function chart(canvas, root, rows, lines, { low, high, power }) {
  const width = canvas.clientWidth,
    height = canvas.clientHeight,
    pen = sharp(canvas, width, height);
  const values = rows.flatMap((row) => lines.map(({ of }) => of(row))).filter((value) => value !== null && value !== undefined);
  const least = low ?? Math.floor(Math.min(...values, 0)),
    most = high ?? (power ? Math.ceil(Math.max(...values, least + 1)) : Math.max(...values, 0.1) * 1.05);
  const left = 38,
    right = width - 6,
    top = 16,
    bottom = height - 15,
    last = Math.max(rows.at(-1)?.step ?? 0, 1);
  const x = (step) => left + (step / last) * (right - left),
    y = (value) => bottom - ((value - least) / (most - least)) * (bottom - top);
  pen.font = "10px Helvetica, Arial, sans-serif";
  pen.fillStyle = ink(root, "--faint");
  pen.strokeStyle = ink(root, "--rule");
  pen.lineWidth = 1;
  for (const value of [least, (least + most) / 2, most]) {
    pen.beginPath();
    pen.moveTo(left, y(value));
    pen.lineTo(right, y(value));
    pen.stroke();
    pen.textAlign = "right";
    pen.fillText(power ? `1e${short(Math.round(value))}` : short(value), left - 4, y(value) + 3);
  }
  pen.fillText(`${last.toLocaleString("en")} step${last === 1 ? "" : "s"}`, right, height - 3);
  lines.forEach((line) => drawLine(pen, rows, line, x, y, [least, most]));
  legend(pen, lines, left, ink(root));
}

function drawLine(pen, rows, { of, colour, dash }, x, y, [least, most]) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.6;
  pen.setLineDash(dash);
  pen.beginPath();
  let down = false;
  for (const row of rows) {
    const value = of(row);
    if (value === null || value === undefined) down = false;
    else {
      pen[down ? "lineTo" : "moveTo"](x(row.step), y(Math.min(Math.max(value, least), most)));
      down = true;
    }
  }
  pen.stroke();
  pen.setLineDash([]);
}

function legend(pen, lines, left, text) {
  let at = left;
  pen.textAlign = "left";
  pen.fillStyle = text;
  for (const { name, colour, dash } of lines) {
    pen.strokeStyle = colour;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(at, 7);
    pen.lineTo(at + 16, 7);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillText(name, at + 20, 10);
    at += 32 + pen.measureText(name).width;
  }
}
