// Walks through the gates of one backward pass, one after the other, and lights them in the picture.
import { heading, paragraph } from "./asked.js";
import { gates } from "./backward.js";

const SECONDS = 2.5;

export class SlowMotion {
  constructor(panel, lit) {
    Object.assign(this, { panel, lit, at: 0, timer: null });
    new MutationObserver(() => panel.hidden && this.stop()).observe(panel, { attributes: true });
  }

  start(frame, settings, formulas) {
    this.all = gates(frame, settings, formulas);
    this.at = 0;
    this.panel.hidden = false;
    this.build();
    this.show();
    this.run();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.lit(null);
  }

  run() {
    clearInterval(this.timer);
    this.timer = setInterval(() => (this.at + 1 < this.all.length ? this.go(1) : this.pause()), SECONDS * 1000);
    this.playing.textContent = "Pause";
  }

  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.playing.textContent = "Go on";
  }

  go(by) {
    this.at = Math.max(0, Math.min(this.at + by, this.all.length - 1));
    this.show();
  }

  build() {
    const button = (text, act) => {
      const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
      made.addEventListener("click", act);
      return made;
    };
    const row = Object.assign(document.createElement("div"), { className: "row" });
    this.playing = button("Pause", () =>
      this.timer ? this.pause() : (this.at + 1 === this.all.length && (this.at = -1), this.go(1), this.run()),
    );
    row.append(
      button("◀ Gate before", () => (this.pause(), this.go(-1))),
      this.playing,
      button("Next gate ▶", () => (this.pause(), this.go(1))),
    );
    this.told = document.createElement("div");
    this.told.setAttribute("aria-live", "polite");
    this.panel.replaceChildren(heading(this.panel, "One backward pass: local × upstream = downstream"), this.told, row);
  }

  show() {
    const { title, formula, source, lines, lit } = this.all[this.at];
    const list = document.createElement("ul");
    list.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
    const rule = paragraph(`The rule: ${formula}`, "formula");
    if (source) rule.title = source;
    this.told.replaceChildren(paragraph(`Gate ${this.at + 1} of ${this.all.length} · ${title}`, "gate"), rule, list);
    this.lit(lit);
  }
}
