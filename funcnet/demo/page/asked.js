// What the server has answered about the gradient: the check, and the loss around the net.
import { short } from "./answers.js";
import { ink, isDark, sharp } from "./colours.js";

const WHAT = {
  good: "as exact as float64 allows",
  "fine with kinks": "fine where there are kinks, as in ReLU and the hinge",
  suspicious: "look again",
  wrong: "not the gradient",
};

export function showCheck(panel, { rows, step }) {
  const lines = rows.map(({ name, analytic, numerical, error, band }) => [
    name,
    digits(analytic),
    digits(numerical),
    error === 0 ? "0" : error.toExponential(1).replace("-", "−"),
    `${band}: ${WHAT[band] ?? ""}`,
  ]);
  panel.replaceChildren(
    heading(panel, `Gradient check at step ${step}`),
    paragraph(
      "Each weight is moved a little to both sides, and the slope of the training loss is held against the gradient by the rules, in float64. Shown is the weight of each layer that is off the most, and by what part of the layer’s largest gradient. The lecture’s bands: up to 1e−7 good, up to 1e−4 fine with kinks, above 1e−2 wrong.",
    ),
    table(["", "analytic", "numerical", "relative error", ""], lines),
  );
  panel.hidden = false;
}

const digits = (value) => (value === null ? "–" : value.toPrecision(9).replace("-", "−"));

export function showLandscape(panel, root, answer) {
  const line = Object.assign(document.createElement("canvas"), { className: "line" }),
    plane = Object.assign(document.createElement("canvas"), { className: "hills" });
  line.setAttribute("role", "img");
  line.setAttribute(
    "aria-label",
    `The training loss along the gradient: ${short(answer.line[0])} at the start, ${short(answer.loss)} here, ${short(Math.min(...answer.line))} at the lowest`,
  );
  plane.setAttribute("role", "img");
  plane.setAttribute("aria-label", "The training loss on a random plane through the weights; the net is in the middle");
  const both = document.createElement("div");
  both.className = "both";
  both.append(
    figure(
      line,
      "Along the gradient: w − t ∇L. The dashed line is what the gradient promises, its slope −‖∇L‖²; the dot is this net; the tick is one SGD step of this rate.",
    ),
    figure(
      plane,
      "On a random plane through the weights, as wide to each side as the weights are long. Darker is lower; each line is a level of the loss.",
    ),
  );
  panel.replaceChildren(heading(panel, `The training loss around this net, at step ${answer.step}`), both);
  panel.hidden = false;
  drawLine(line, root, answer);
  drawHills(plane, root, answer);
}

function drawLine(canvas, root, { times, line, loss, slope, rate }) {
  const width = canvas.clientWidth,
    height = canvas.clientHeight,
    pen = sharp(canvas, width, height);
  const finite = line.filter(Number.isFinite),
    lowest = Math.min(...finite),
    top = Math.min(Math.max(...finite), 4 * loss + 1e-6);
  const margin = 0.08 * (top - lowest || 1e-6),
    most = top + margin,
    least = Math.max(lowest - margin, 0);
  const [first, last] = [times[0], times.at(-1)],
    x = (t) => 36 + ((t - first) / (last - first || 1)) * (width - 46),
    y = (value) => 10 + ((most - value) / (most - least || 1)) * (height - 30);
  const stroke = (colour, dash, places) => {
    pen.strokeStyle = colour;
    pen.setLineDash(dash);
    pen.beginPath();
    places.forEach(([t, value], i) => pen[i ? "lineTo" : "moveTo"](x(t), y(Math.max(Math.min(value, most * 1.02), least))));
    pen.stroke();
    pen.setLineDash([]);
  };
  pen.lineWidth = 1;
  stroke(
    ink(root, "--rule"),
    [],
    [
      [first, least],
      [last, least],
    ],
  );
  stroke(
    ink(root, "--gradient"),
    [5, 4],
    [
      [first, loss - first * slope],
      [Math.min(last, (loss - least) / (slope || 1)), Math.max(loss - last * slope, least)],
    ],
  );
  pen.lineWidth = 2;
  stroke(
    "#0072b2",
    [],
    Array.from(times, (t, i) => [t, line[i]]),
  );
  pen.fillStyle = ink(root);
  pen.beginPath();
  pen.arc(x(0), y(loss), 4.5, 0, 2 * Math.PI);
  pen.fill();
  if (rate < last) pen.fillRect(x(rate) - 1, y(least) - 5, 2, 10);
  pen.font = "10px Helvetica, Arial, sans-serif";
  pen.textAlign = "right";
  for (const value of [least, most]) pen.fillText(short(value), 33, y(value) + 3);
  pen.fillText(`t = ${short(last)}`, width - 4, height - 4);
}

function drawHills(canvas, root, { plane, side }) {
  const size = canvas.clientWidth,
    pen = sharp(canvas, size, size),
    image = new ImageData(side, side),
    dark = isDark(root);
  const finite = plane.filter(Number.isFinite),
    least = Math.min(...finite),
    most = Math.max(...finite);
  const level = (i) => (Number.isFinite(plane[i]) ? Math.sqrt((plane[i] - least) / (most - least || 1)) : 1);
  for (let i = 0; i < plane.length; i++) {
    const value = 0.15 + 0.85 * level(i);
    [
      [20, 250],
      [70, 245],
      [110, 230],
    ].forEach(([low, high], c) => (image.data[4 * i + c] = (low + (high - low) * value) * (dark ? 0.8 : 1)));
    image.data[4 * i + 3] = 255;
  }
  const small = Object.assign(document.createElement("canvas"), { width: side, height: side });
  small.getContext("2d").putImageData(image, 0, 0);
  pen.drawImage(small, 0, 0, size, size);
  contours(pen, level, side, size);
  pen.fillStyle = "#fff";
  pen.strokeStyle = "#000";
  pen.beginPath();
  pen.arc(size / 2, size / 2, 5, 0, 2 * Math.PI);
  pen.fill();
  pen.stroke();
}

// Lines of equal level, where they cross the edges of each cell (marching squares).
function contours(pen, level, side, size) {
  pen.strokeStyle = "rgb(0 0 0 / .45)";
  pen.lineWidth = 0.8;
  pen.beginPath();
  const scale = size / side,
    at = (k) => (k + 0.5) * scale;
  for (let height = 0.1; height < 1; height += 0.1)
    for (let row = 0; row + 1 < side; row++)
      for (let column = 0; column + 1 < side; column++) {
        const corners = [
          [0, 0],
          [0, 1],
          [1, 1],
          [1, 0],
        ].map(([dy, dx]) => [column + dx, row + dy, level((row + dy) * side + column + dx)]);
        const ends = corners.flatMap(([x, y, value], i) => {
          const [u, v, other] = corners[(i + 1) % 4],
            t = (height - value) / (other - value);
          return value < height !== other < height ? [[at(x + t * (u - x)), at(y + t * (v - y))]] : [];
        });
        for (let i = 0; i + 1 < ends.length; i += 2) {
          pen.moveTo(...ends[i]);
          pen.lineTo(...ends[i + 1]);
        }
      }
  pen.stroke();
}

// The head of a panel, with a button that closes it.
export function heading(panel, text) {
  const head = document.createElement("h2"),
    close = Object.assign(document.createElement("button"), { type: "button", textContent: "×", className: "close" });
  close.setAttribute("aria-label", "close");
  close.addEventListener("click", () => (panel.hidden = true));
  head.append(text, close);
  return head;
}

export const paragraph = (text, className = "") => Object.assign(document.createElement("p"), { textContent: text, className });

function figure(canvas, text) {
  const made = document.createElement("figure"),
    caption = document.createElement("figcaption");
  caption.textContent = text;
  made.append(canvas, caption);
  return made;
}

export function table(heads, rows) {
  const made = document.createElement("table"),
    head = made.createTHead().insertRow(),
    body = made.createTBody();
  for (const text of heads) head.append(Object.assign(document.createElement(text ? "th" : "td"), { textContent: text }));
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((text, i) => line.append(Object.assign(document.createElement(i ? "td" : "th"), { textContent: text })));
  }
  return made;
}
