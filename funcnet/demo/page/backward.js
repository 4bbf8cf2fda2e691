// One backward pass in slow motion: gate by gate, local × upstream = downstream written out.
import { short } from "./answers.js";
import { INPUT_NAMES, subscript } from "./words.js";

const LINES = 8;

// The gates from the loss to the inputs: title, formula, lines, and which columns of units and wires of the picture are lit.
export function gates(frame, settings, formulas) {
  const all = [lossGate(frame, settings, formulas)];
  for (let n = frame.layers.length - 1; n >= 0; n--) {
    const layer = frame.layers[n];
    if (layer.hidden && settings.activation !== "maxout" && settings.activation !== "none")
      all.push(activationGate(layer, n, settings, formulas));
    all.push(weightGate(layer, n, settings, formulas), inputGate(layer, n, settings));
  }
  return all;
}

function lossGate(frame, settings, formulas) {
  const scores = frame.layers.at(-1),
    label = frame.label,
    many = scores.units;
  const softmax = (j) =>
    `s̄${subscript(j)} = p${subscript(j)} − ${j === label ? 1 : 0} = ${short(frame.probabilities[j])} − ${j === label ? 1 : 0} = ${short(scores.aBar[j])}`;
  const svm = (j) =>
    `s̄${subscript(j)} = ${short(scores.aBar[j])}${j === label ? " = −(the sum of the others)" : ` : its margin ${short(scores.a[j] - scores.a[label] + 1)} is ${scores.a[j] - scores.a[label] + 1 > 0 ? "above" : "not above"} 0`}`;
  return {
    title: `loss = ${short(frame.loss[0])}: where the gradient begins, at 1`,
    ...formulas[settings.loss],
    lines: Array.from({ length: many }, (_, j) => (settings.loss === "softmax" ? softmax : svm)(j)),
    lit: { units: [frame.sizes.length - 1], wires: [] },
  };
}

function activationGate(layer, n, settings, formulas) {
  const line = (j) =>
    `unit ${j + 1}: local × upstream = ${short(layer.slopes[j])} × ${short(layer.aBar[j])} = ${short(layer.zBar[j])}`;
  return {
    title: `${settings.activation} of ${layer.name}`,
    ...formulas[settings.activation],
    lines: some(layer.units, line),
    lit: { units: [n + 1], wires: [] },
  };
}

function weightGate(layer, n, settings, formulas) {
  const line = (at) => {
    const i = at % layer.inputs,
      j = Math.floor(at / layer.inputs);
    return `w̄${subscript(i)}${subscript(j)} = ${nameOf(n, i, settings)} × upstream = ${short(layer.values[i])} × ${short(layer.zBar[j])} = ${short(layer.wBar[layer.place(i, j)])}`;
  };
  const gate = layer.pieces > 1 ? "maxout" : "affine";
  return {
    title: `weights of ${layer.name}: the local gradient is the value that comes in`,
    ...formulas[gate],
    lines: some(layer.inputs * layer.units, line),
    lit: { units: [n, n + 1], wires: [n] },
  };
}

function inputGate(layer, n, settings) {
  const line = (i) => {
    const terms = Array.from(
      { length: layer.units },
      (_, j) => `${short(layer.w[layer.place(i, j)])} × ${bracketed(layer.zBar[j])}`,
    );
    const shown = terms.length > 4 ? [...terms.slice(0, 3), "…"] : terms;
    return `to ${nameOf(n, i, settings)}: ${shown.join(" + ")} = ${short(layer.valuesBar[i])}`;
  };
  const where = n ? `the units of layer${n}` : "the inputs";
  return {
    title: `back to ${where}: the local gradients are the weights, and what several wires send adds up`,
    formula: "x̄ = ȳ wᵀ",
    lines: some(layer.inputs, line),
    lit: { units: [n], wires: [n] },
  };
}

const bracketed = (value) => (value < 0 ? `(${short(value)})` : short(value));
const nameOf = (n, i, settings) => (n ? `unit ${i + 1}` : INPUT_NAMES[settings.inputs[i]]);

function some(many, line) {
  const lines = Array.from({ length: Math.min(many, LINES) }, (_, i) => line(i));
  return many > LINES ? [...lines, `… and ${many - LINES} more, in the table of numbers below`] : lines;
}

// All parameters of a net with their gradients for the example, in full.
export function numbers(frame) {
  const rows = [];
  for (const layer of frame.layers) {
    for (let i = 0; i < layer.inputs; i++)
      for (let k = 0; k < layer.pieces; k++)
        for (let j = 0; j < layer.units; j++) {
          const place = (i * layer.pieces + k) * layer.units + j;
          rows.push([`${layer.name} w[${[i, ...(layer.pieces > 1 ? [k] : []), j]}]`, layer.w[place], layer.wBar[place]]);
        }
    for (let place = 0; place < layer.b.length; place++)
      rows.push([`${layer.name} b[${place}]`, layer.b[place], layer.bBar[place]]);
  }
  return rows;
}
