// Names, and what is known of a unit or a wire in words.
import { short } from "./answers.js";

export const INPUT_NAMES = {
  x: "x",
  y: "y",
  xx: "x²/5",
  yy: "y²/5",
  xy: "xy/5",
  sinx: "sin x",
  siny: "sin y",
  r: "r",
  theta: "θ",
};
export const MARKS = ["", "dead", "saturated", "exploding"];

export const subscript = (i) => String(i + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);

// What is known of a unit or a wire, in words.
export function told(frame, settings, found) {
  if (!found) return "";
  if (!("unit" in found)) {
    const layer = frame.layers[found.layer],
      place = layer.place(found.i, found.j);
    return `w${subscript(found.i)}${subscript(found.j)} of ${layer.name} = ${short(layer.w[place])}, its gradient = value × upstream = ${short(layer.values[found.i])} × ${short(layer.zBar[found.j])} = ${short(layer.wBar[place])}`;
  }
  const { column, unit } = found;
  if (!column)
    return `input ${INPUT_NAMES[settings.inputs[unit]]} = ${short(frame.x[unit])}, gradient ${short(frame.x_bar[unit])}`;
  const layer = frame.layers[column - 1];
  if (!layer.hidden)
    return `score of class ${unit + 1} = ${short(layer.a[unit])}, gradient ${short(layer.aBar[unit])}, probability ${short(frame.probabilities[unit])}`;
  const mark = MARKS[frame.marks[frame.sizes.slice(1, column).reduce((a, b) => a + b, 0) + unit]];
  return `${layer.name}, unit ${unit + 1}: sum ${short(layer.z[unit])}, value ${short(layer.a[unit])}; gradient ${short(layer.aBar[unit])} × slope ${short(layer.slopes[unit])} = ${short(layer.zBar[unit])}${mark ? ` · ${mark}` : ""}`;
}
