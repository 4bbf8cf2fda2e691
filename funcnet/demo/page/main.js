// The page: state, questions, loop and drawing come together here. `mount` serves the browser and the notebook alike.
import { showCheck, showLandscape, table } from "./asked.js";
import { short } from "./answers.js";
import { numbers } from "./backward.js";
import { classColour } from "./colours.js";
import { Controls, LayerButtons, WarpChoice } from "./controls.js";
import { drawAccuracies, drawLosses, drawNorms, History } from "./curves.js";
import { keys } from "./keys.js";
import { MARKS, Net, told } from "./net.js";
import { drawWarped, Plane } from "./plane.js";
import { SlowMotion } from "./slow.js";
import { State } from "./state.js";
import { Strip } from "./strip.js";
import { Talk } from "./talk.js";
import { TEMPLATE } from "./template.js";

const TOGETHER = 200, COMPARED = { hidden: [[3], [6], [20]], strength: [0.001, 0.01, 0.1] };

export async function mount(root, channel, address) {
  root.classList.add("funcnet-demo");
  root.innerHTML = TEMPLATE;
  const talk = new Talk(channel), page = new Page(root, talk, address, await talk.ask("hello"));
  channel.closed((why) => page.ended(why));
  await page.open(address.read());
  root.page = page;
  return page;
}

class Page {
  constructor(root, talk, address, welcome) {
    Object.assign(this, { root, talk, address, welcome, playing: false, owed: 0, last: 0, label: 0, pinned: 0, drawnFrames: 0, stale: true, over: false });
    this.state = new State(welcome);
    this.frames = [];
    this.kept = [];
    this.histories = [new History(), new History(), new History()];
    const redraw = () => (this.stale = true), find = (selector) => root.querySelector(selector);
    this.plane = new Plane(find(".plane"), root, welcome.extent, {
      hover: (index) => this.look(index ?? this.pinned), pin: (index) => this.look((this.pinned = index)), label: () => this.label, redraw,
      edit: (points, before) => this.edit(points, before), moved: (points) => this.sendPoints(points),
    });
    this.net = new Net(find(".net"), root, { pick: (column, unit) => this.pick(column, unit), hover: (found) => this.tell(found) });
    this.controls = new Controls(root, welcome, (values) => this.change(values), (text) => this.say(text));
    this.layers = new LayerButtons(root, welcome.most, (values) => this.change(values));
    this.warp = new WarpChoice(root, (view) => this.look(this.state.view.example, view));
    this.slow = new SlowMotion(find(".slow"), (lit) => ((this.net.lit = lit), redraw()));
    this.strip = new Strip(find(".strip"), root, welcome.extent, (n) => this.show(n));
    root.addEventListener("click", ({ target }) => this.pressed(target.closest("[data-act]")?.dataset.act));
    find("[name=compare]").addEventListener("change", ({ target }) => this.compare(target.value));
    find(".numbers").addEventListener("toggle", redraw);
    keys(root, this);
    this.theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) => this.theme(matches ? "dark" : "light"));
    new ResizeObserver(redraw).observe(root);
    address.changed(() => address.read() !== this.state.text && this.open(address.read()));
    requestAnimationFrame((now) => this.loop(now));
  }

  get frame() {
    return this.frames[this.state.shown];
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  async open(text) {
    this.pause();
    for (let n = 1; n < this.state.nets.length; n++) this.talk.ask("close", {}, n);
    this.state.text = text;
    this.state.view.layer = Math.max(this.state.settings.hidden.length - 1, 0);
    this.frames = [];
    await this.sendSettings(this.state.nets.map((_, n) => n));
  }

  // Settings of some nets go to the server; points that were edited stay.
  async sendSettings(nets) {
    const { state } = this, edited = state.edited && state.points;
    this.refresh();
    const busy = setTimeout(() => this.root.classList.add("busy"), 200);
    const answers = nets.map(async (n) => {
      const settings = this.talk.ask("settings", { settings: state.nets[n], ...state.view }, n);
      const points = edited ? this.talk.ask("points", { points: edited, ...state.view }, n) : null;
      const before = this.frames[n]?.step;
      for (const answer of [await settings, points && (await points)]) if (answer) this.arrived(answer, n);
      if (this.frames[n] && this.frames[n].step < (before ?? 0)) this.histories[n].clear();
    });
    await Promise.all(answers);
    clearTimeout(busy);
    this.root.classList.remove("busy");
    this.refresh();
  }

  change(values) {
    this.say("");
    this.slow.panel.hidden = true;
    return this.sendSettings(this.state.change(values));
  }

  // An answer that is a picture, or an error.
  arrived(answer, n) {
    if (answer.kind === "error") return this.refused(answer.text, n);
    const { state } = this;
    if (answer.points) {
      if (!state.edited) state.points = answer.points;
      state.nets[n] = { ...answer.settings };
      this.kept[n] = { ...answer.settings };
    }
    answer.label = answer.example >= 0 ? (answer.points ?? state.points)[answer.example]?.[2] : null;
    this.frames[n] = answer;
    this.histories[n].add(answer);
    this.stale = true;
  }

  // The server keeps what it had; the fields show that again.
  refused(text, n) {
    this.say(text);
    this.pause();
    if (this.kept[n]) this.state.nets[n] = { ...this.kept[n] };
    this.refresh();
  }

  refresh() {
    const { state } = this;
    this.controls.show(state.settings);
    this.layers.show(state.settings.hidden);
    this.warp.show(state.settings.hidden, Math.max(state.settings.classes, this.frame?.sizes.at(-1) ?? 2), state.view);
    this.classes(this.frame?.sizes.at(-1) ?? state.settings.classes);
    this.strip.build(state.nets, state.shown);
    this.address.write(state.text);
    this.stale = true;
  }

  // Looks at another example or layer; only the last of several wishes is sent.
  async look(example, view = {}) {
    Object.assign(this.state.view, { example: Math.max(example, 0) }, view);
    this.warp.show(this.state.settings.hidden, this.frame?.sizes.at(-1) ?? 2, this.state.view);
    if (this.looking || this.playing) return;
    this.looking = true;
    let wish;
    do {
      wish = JSON.stringify(this.state.view);
      this.arrived(await this.talk.ask("run", { steps: 0, ...this.state.view }, this.state.shown), this.state.shown);
    } while (wish !== JSON.stringify(this.state.view));
    this.looking = false;
  }

  pick(column, unit) {
    const { view, settings } = this.state;
    if (column < 1 || column > settings.hidden.length) return;
    const first = view.layer === column - 1 ? view.units[1] : unit ? 0 : 1;
    this.look(view.example, { layer: column - 1, units: [first, unit] });
  }

  edit(points, before) {
    if (points.length > this.welcome.most.points) return this.say(`There is room for ${this.welcome.most.points} points.`);
    this.state.points = before;
    this.state.edit(points);
    this.address.write(this.state.text);
    return this.sendPoints(points);
  }

  // While one drags, the newest points go as soon as the last ones are answered.
  async sendPoints(points) {
    this.state.replace(points);
    this.wished = points;
    this.stale = true;
    if (this.sending) return;
    this.sending = true;
    while (this.wished) {
      const rows = this.wished;
      this.wished = null;
      const answers = this.state.nets.map((_, n) => this.talk.ask("points", { points: rows, ...this.state.view }, n));
      for (const [n, answer] of answers.entries()) this.arrived(await answer, n);
    }
    this.sending = false;
  }

  async act(kind, fields = {}) {
    const asked = this.state.nets.map((_, n) => this.talk.ask(kind, { ...fields, ...this.state.view }, n));
    for (const [n, answer] of asked.entries()) {
      if (kind === "restart") this.histories[n].clear();
      this.arrived(await answer, n);
    }
  }

  pressed(act) {
    const acts = {
      play: () => (this.playing ? this.pause() : this.play()), step: () => (this.pause(), this.act("run", { steps: 1 })), back: () => (this.pause(), this.act("back")),
      restart: () => this.act("restart"), reseed: () => this.change({ seed: (this.state.settings.seed + 1) % 2 ** 31 }),
      undo: () => this.state.undo() && (this.address.write(this.state.text), this.sendPoints(this.state.points)), clear: () => this.edit([], this.state.points ?? []),
      backward: () => this.backward(), check: () => this.check(), landscape: () => this.landscape(), share: () => this.share(),
      theme: () => this.theme(this.root.dataset.theme === "dark" ? "light" : "dark"), help: () => this.find(".help").showModal(),
    };
    acts[act]?.();
  }

  play() {
    if (this.over) return;
    this.playing = true;
    this.owed = 0;
    this.say("");
    this.find("[data-act=play]").textContent = "❚❚ Pause";
  }

  pause() {
    this.playing = false;
    this.find("[data-act=play]").textContent = "▶ Play";
  }

  backward() {
    this.pause();
    if (this.frame.example < 0) return this.say("Add a point first: a backward pass begins at the loss of one.");
    this.slow.start(this.frame, this.state.settings, this.welcome.formulas);
  }

  async check() {
    const panel = this.find(".check"), answer = await this.long("check");
    if (answer) showCheck(panel, { ...answer, step: this.frame.step });
  }

  async landscape() {
    const answer = await this.long("landscape");
    if (answer) showLandscape(this.find(".landscape"), this.root, answer);
  }

  async long(kind) {
    this.pause();
    this.say("");
    this.root.classList.add("busy");
    const answer = await this.talk.ask(kind, {}, this.state.shown);
    this.root.classList.remove("busy");
    return answer.kind === "error" ? this.say(answer.text) : answer;
  }

  // Two or three nets on the same points: of the lecture's sizes or strengths, or this one and a copy to change.
  async compare(by) {
    const { state } = this, first = { ...state.settings };
    for (let n = 1; n < state.nets.length; n++) this.talk.ask("close", {}, n);
    const base = by === "strength" ? { ...first, hidden: [20] } : first;
    state.nets = by in COMPARED ? COMPARED[by].map((value) => ({ ...base, [by]: value })) : by ? [first, { ...first }] : [first];
    state.shown = by === "kept" ? 1 : 0;
    this.frames.length = 1;
    this.histories.forEach((history) => history.clear());
    await this.sendSettings(state.nets.map((_, n) => n));
    await this.act("restart");
  }

  show(n) {
    this.state.shown = n;
    this.refresh();
    this.look(this.state.view.example);
  }

  async share() {
    const link = location.origin === "null" ? this.state.text : location.href;
    const done = await navigator.clipboard?.writeText(link).then(() => true, () => false);
    this.say(done ? "The link is copied. Whoever runs “funcnet demo” can open it with what follows the #." : `Copy this: ${link}`);
  }

  theme(name) {
    this.root.dataset.theme = name;
    this.stale = true;
  }

  say(text) {
    const message = this.find(".message");
    message.textContent = text;
    message.hidden = !text;
  }

  ended(why) {
    this.over = true;
    this.pause();
    this.root.classList.remove("busy");
    this.say(why);
  }

  classes(many) {
    const box = this.find(".classes");
    if (box.childElementCount === many) return;
    this.label = Math.min(this.label, many - 1);
    box.replaceChildren(...Array.from({ length: many }, (_, label) => {
      const made = Object.assign(document.createElement("button"), { type: "button", textContent: `class ${label + 1}` });
      made.setAttribute("role", "radio");
      made.style.setProperty("--class", classColour(label));
      made.addEventListener("click", () => this.choose(label));
      return made;
    }));
    this.choose(this.label);
  }

  choose(label) {
    const buttons = [...this.find(".classes").children];
    if (label >= buttons.length) return;
    this.label = label;
    buttons.forEach((button, i) => button.setAttribute("aria-checked", String(i === label)));
  }

  tell(found) {
    this.stale = true;
    this.usual ??= this.find(".told").innerHTML;
    if (found && this.frame) this.find(".told").textContent = told(this.frame, this.state.settings, found);
    else this.find(".told").innerHTML = this.usual;
  }

  loop(now) {
    const seconds = Math.min((now - this.last) / 1000, 0.1), speed = Number(this.find("[name=speed]").value);
    this.last = now;
    if (this.playing) this.run(seconds, speed);
    if (this.stale && this.frame) this.draw();
    if (this.root.isConnected) requestAnimationFrame((later) => this.loop(later));
  }

  run(seconds, speed) {
    this.owed = Math.min(this.owed + seconds * (speed || 0), this.welcome.steps);
    if (this.talk.outstanding >= 2 * this.state.nets.length) return;
    const steps = speed ? Math.floor(this.owed) : TOGETHER;
    if (!steps) return;
    this.owed -= speed ? steps : 0;
    this.act("run", { steps });
  }

  draw() {
    this.stale = false;
    this.drawnFrames++;
    const { frame, state, root } = this, history = this.histories[state.shown];
    if (!this.plane.dragged?.moved) this.plane.points = state.points ?? [];
    this.plane.example = frame.example;
    this.plane.draw(frame);
    const same = String(frame.sizes) === String([state.settings.inputs.length, ...state.settings.hidden, frame.sizes.at(-1)]);
    if (same) this.net.draw(frame, state.settings, state.view);
    else this.net.outline([state.settings.inputs.length, ...state.settings.hidden, frame.sizes.at(-1)]);
    drawWarped(this.find(".warped"), root, frame, this.plane.points);
    drawLosses(this.find(".losses"), root, history);
    drawAccuracies(this.find(".accuracies"), root, history);
    drawNorms(this.find(".norms"), root, history);
    this.strip.draw(this.frames, this.plane.points);
    this.write(frame);
  }

  write({ step, metrics, marks, sizes }) {
    const shown = { step: step.toLocaleString("en"), train_loss: short(metrics.train_loss), test_loss: short(metrics.test_loss), test_accuracy: metrics.test_accuracy === null ? "–" : `${Math.round(100 * metrics.test_accuracy)} %` };
    for (const [name, text] of Object.entries(shown)) this.find(`[data-show=${name}]`).textContent = text;
    const told = MARKS.slice(1).map((word, i) => [word, marks.filter((mark) => mark === i + 1).length]).filter(([, many]) => many).map(([word, many]) => `${many} ${word}`);
    const text = told.length ? `Of ${sizes.slice(1, -1).reduce((a, b) => a + b, 0)} hidden units: ${told.join(", ")}.` : "";
    if (this.find(".marks").textContent !== text) this.find(".marks").textContent = text;
    if (this.find(".numbers").open) this.find(".numbers div").replaceChildren(table(["parameter", "value", "gradient"], numbers(this.frame).map(([name, value, bar]) => [name, String(value), String(bar)])));
  }
}
