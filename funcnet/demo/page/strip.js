// Nets side by side on the same points: their decisions, what differs between them, and which one is shown large.
import { short } from "./answers.js";
import { drawPoint, isDark, sharp } from "./colours.js";
import { background } from "./plane.js";

const WORDS = {
  hidden: (value) => `${value.length ? value.join(" + ") : "no"} hidden unit${String(value) === "1" ? "" : "s"}`,
  strength: (value) => `λ = ${value}`,
  rate: (value) => `rate ${value}`,
  inputs: (value) => `given ${value.join(", ")}`,
};

const COMPARED = { hidden: [[3], [6], [20]], strength: [0.001, 0.01, 0.1] };

// The nets to compare: of the lecture's sizes, or its strengths (slides 26 and 27), or a net and a copy to change.
export function compared(by, settings) {
  const base = by === "strength" ? { ...settings, hidden: [20] } : settings;
  if (by in COMPARED) return COMPARED[by].map((value) => ({ ...base, [by]: value }));
  return by ? [settings, { ...settings }] : [settings];
}

export class Strip {
  constructor(box, root, extent, choose) {
    Object.assign(this, { box, root, extent, choose, cards: [] });
  }

  build(nets, shown) {
    this.box.hidden = nets.length < 2;
    if (this.box.hidden) return this.box.replaceChildren();
    const differing = Object.keys(nets[0]).filter((name) => new Set(nets.map((net) => String(net[name]))).size > 1);
    this.cards = nets.map((net, n) => {
      const card = Object.assign(document.createElement("button"), { type: "button", className: "card" }),
        canvas = document.createElement("canvas");
      const told = document.createElement("span"),
        name = document.createElement("b");
      name.textContent = differing.length
        ? differing.map((one) => WORDS[one]?.(net[one]) ?? `${one} ${net[one]}`).join(", ")
        : `net ${n + 1}`;
      card.setAttribute("aria-pressed", String(n === shown));
      card.append(name, canvas, told);
      card.addEventListener("click", () => this.choose(n));
      return { card, canvas, told, image: new ImageData(1, 1), small: document.createElement("canvas") };
    });
    this.box.replaceChildren(...this.cards.map(({ card }) => card));
  }

  draw(frames, points) {
    this.cards.forEach((keeper, n) => {
      const frame = frames[n];
      if (!frame) return;
      const side = keeper.canvas.clientWidth,
        pen = sharp(keeper.canvas, side, side),
        dark = isDark(this.root);
      background(pen, side, frame, keeper, dark);
      for (const [x, y, label, train] of points)
        drawPoint(
          pen,
          ((x / this.extent + 1) * side) / 2,
          ((1 - y / this.extent) * side) / 2,
          label,
          train,
          2.5,
          dark ? "#fff" : "#222",
        );
      keeper.told.textContent = `step ${frame.step}: loss ${short(frame.metrics.train_loss)}, test ${short(frame.metrics.test_loss)}`;
    });
  }
}
