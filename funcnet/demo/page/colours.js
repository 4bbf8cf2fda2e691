// Colours that people who confuse red and green tell apart (Okabe and Ito 2008); classes have shapes too.

const CLASSES = [
  [0, 114, 178],
  [230, 159, 0],
  [0, 158, 115],
  [204, 121, 167],
  [86, 180, 233],
];
const POSITIVE = [213, 94, 0],
  NEGATIVE = [0, 114, 178];
export const LAYER_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a"];

export const classColour = (label) => `rgb(${CLASSES[label]})`;

export const isDark = (root) => root.dataset.theme === "dark";

// A colour of the style sheet, looked up once for each theme.
const INKS = new Map();
export function ink(root, name = "--ink") {
  const key = `${root.dataset.theme} ${name}`;
  if (!INKS.has(key)) INKS.set(key, getComputedStyle(root).getPropertyValue(name).trim());
  return INKS.get(key);
}

// The colour of a gradient: its sign, the stronger the larger it is beside the largest.
export function gradientColour(value, largest) {
  if (!Number.isFinite(value)) return "rgb(160 0 160)";
  const size = largest > 0 ? Math.sqrt(Math.min(Math.abs(value) / largest, 1)) : 0;
  return value === 0
    ? "rgb(140 140 140 / .35)"
    : `rgb(${(value > 0 ? POSITIVE : NEGATIVE).join(" ")} / ${(0.15 + 0.85 * size).toFixed(2)})`;
}

// The decision field in soft colours, as sure as the net is.
export function fieldImage(image, field, sure, classes, dark) {
  const paper = dark ? 24 : 255,
    least = 1 / classes;
  for (let i = 0; i < field.length; i++) {
    const certain = Math.max((sure[i] / 255 - least) / (1 - least), 0),
      much = 0.1 + 0.45 * certain,
      colour = CLASSES[field[i]];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = paper + (colour[c] - paper) * much;
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// The field of one unit: below zero blue, above zero orange.
export function unitImage(image, values, offset, dark) {
  const paper = dark ? 30 : 250;
  for (let i = 0; i < image.width * image.height; i++) {
    const value = values[offset + i] / 127,
      colour = value > 0 ? POSITIVE : NEGATIVE,
      much = Math.abs(value) * 0.75;
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = paper + (colour[c] - paper) * much;
    image.data[4 * i + 3] = 255;
  }
  return image;
}

// A point's mark: each class has its shape; what is not trained on is hollow.
export function drawPoint(pen, x, y, label, train, size, outline) {
  pen.beginPath();
  const sides = [0, 4, 3, 4, 5][label],
    turn = [0, Math.PI / 4, -Math.PI / 2, 0, -Math.PI / 2][label];
  if (!sides) pen.arc(x, y, size, 0, 2 * Math.PI);
  for (let i = 0; i < sides; i++) {
    const angle = turn + (2 * Math.PI * i) / sides;
    pen[i ? "lineTo" : "moveTo"](x + 1.25 * size * Math.cos(angle), y + 1.25 * size * Math.sin(angle));
  }
  pen.closePath();
  pen.lineWidth = train ? 1 : 1.8;
  pen.fillStyle = classColour(label);
  pen.strokeStyle = train ? outline : classColour(label);
  if (train) pen.fill();
  pen.stroke();
}

// A canvas as sharp as the screen, and its pen in CSS pixels.
export function sharp(canvas, width, height) {
  const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}
