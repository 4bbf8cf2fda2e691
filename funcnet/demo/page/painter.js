// Draws what is shown: the canvases, the numbers, and what is wrong with units.
import { short } from "./answers.js";
import { table } from "./asked.js";
import { numbers } from "./backward.js";
import { drawAccuracies, drawLosses, drawNorms } from "./curves.js";
import { drawWarped } from "./plane.js";
import { MARKS } from "./words.js";

const SOME = 4; // curves are long, and nobody sees whether they grow in every frame

export class Painter {
  constructor(root, page) {
    Object.assign(this, { root, page, drawn: 0 });
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  draw() {
    const { page, root } = this,
      { frame, state, plane, net } = page,
      history = page.histories[state.shown];
    this.drawn++;
    if (!plane.dragged?.moved) plane.points = state.points ?? [];
    plane.example = frame.example;
    plane.draw(frame);
    const sizes = [state.settings.inputs.length, ...state.settings.hidden, frame.sizes.at(-1)];
    if (String(frame.sizes) === String(sizes)) net.draw(frame, state.settings, state.view);
    else net.outline(sizes);
    drawWarped(this.find(".warped"), root, frame, plane.points);
    if (!page.clock.playing || this.drawn % SOME === 0) this.curves(history);
    page.strip.draw(page.frames, plane.points);
    this.metrics(frame);
    this.marks(frame);
    if (this.find(".numbers").open) this.numbers(frame);
  }

  curves(history) {
    drawLosses(this.find(".losses"), this.root, history);
    drawAccuracies(this.find(".accuracies"), this.root, history);
    drawNorms(this.find(".norms"), this.root, history);
  }

  metrics({ step, metrics }) {
    const right = metrics.test_accuracy === null ? "–" : `${Math.round(100 * metrics.test_accuracy)} %`;
    const shown = {
      step: step.toLocaleString("en"),
      train_loss: short(metrics.train_loss),
      test_loss: short(metrics.test_loss),
      test_accuracy: right,
    };
    for (const [name, text] of Object.entries(shown)) this.find(`[data-show=${name}]`).textContent = text;
  }

  marks({ marks, sizes }) {
    const counts = MARKS.slice(1).map((word, i) => [word, marks.filter((mark) => mark === i + 1).length]);
    const told = counts
      .filter(([, many]) => many)
      .map(([word, many]) => `${many} ${word}`)
      .join(", ");
    const text = told && `Of ${sizes.slice(1, -1).reduce((a, b) => a + b, 0)} hidden units: ${told}.`;
    if (this.find(".marks").textContent !== text) this.find(".marks").textContent = text;
  }

  numbers(frame) {
    const rows = numbers(frame).map(([name, value, gradient]) => [name, String(value), String(gradient)]);
    this.find(".numbers div").replaceChildren(table(["parameter", "value", "gradient"], rows));
  }
}
