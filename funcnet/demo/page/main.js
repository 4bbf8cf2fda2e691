// The page: state, questions, loop and drawing come together here. `mount` serves the browser and the notebook alike.
import { acts } from "./acts.js";
import { Clock } from "./clock.js";
import { ClassChoice, Controls, LayerButtons, WarpChoice } from "./controls.js";
import { History } from "./curves.js";
import { Editing } from "./editing.js";
import { keys } from "./keys.js";
import { Net } from "./net.js";
import { Painter } from "./painter.js";
import { Plane } from "./plane.js";
import { Questions } from "./questions.js";
import { State } from "./state.js";
import { compared, Strip } from "./strip.js";
import { Talk } from "./talk.js";
import { TEMPLATE } from "./template.js";
import { told } from "./words.js";

export async function mount(root, channel, address) {
  root.classList.add("funcnet-demo");
  root.innerHTML = TEMPLATE;
  const talk = new Talk(channel);
  channel.closed((why) => (root.page ? root.page.ended(why) : (root.textContent = why)));
  root.page = new Page(root, talk, address, await talk.ask("hello"));
  await root.page.open(address.read());
}

class Page {
  constructor(root, talk, address, welcome) {
    Object.assign(this, { root, talk, address, welcome, pinned: 0, stale: true, over: false });
    this.state = new State(welcome);
    this.frames = [];
    this.kept = [];
    this.pending = [];
    this.histories = [new History(), new History(), new History()];
    const redraw = () => (this.stale = true),
      find = (selector) => root.querySelector(selector);
    this.plane = new Plane(find(".plane"), root, welcome.extent, {
      hover: (index) => this.look(index ?? this.pinned),
      pin: (index) => this.look((this.pinned = index)),
      label: () => this.labels.chosen,
      redraw,
      edit: (points, before) => this.editing.edit(points, before),
      moved: (points) => this.editing.send(points),
    });
    this.net = new Net(find(".net"), root, {
      pick: (column, unit) => this.pick(column, unit),
      hover: (found) => this.tell(found),
    });
    this.controls = new Controls(
      root,
      welcome,
      (values) => this.change(values),
      (text) => this.say(text),
    );
    this.layers = new LayerButtons(root, welcome.most, (values) => this.change(values));
    this.warp = new WarpChoice(root, (view) => this.look(this.state.view.example, view));
    this.questions = new Questions(root, this);
    this.editing = new Editing(this);
    this.painter = new Painter(root, this);
    this.labels = new ClassChoice(root);
    this.acts = acts(this);
    this.strip = new Strip(find(".strip"), root, welcome.extent, (n) => this.show(n));
    root.addEventListener("click", ({ target }) => this.pressed(target.closest("[data-act]")?.dataset.act));
    find("[name=compare]").addEventListener("change", ({ target }) => this.compare(target.value));
    find(".numbers").addEventListener("toggle", redraw);
    keys(root, this);
    this.theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) =>
      this.theme(matches ? "dark" : "light"),
    );
    new ResizeObserver(redraw).observe(root);
    address.changed(() => address.read() !== this.state.text && this.open(address.read()));
    this.clock = new Clock(this);
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
    const { state } = this,
      edited = state.edited && state.points;
    this.refresh();
    const busy = setTimeout(() => this.root.classList.add("busy"), 200);
    const asked = nets.flatMap((n) => {
      this.pending[n] = (this.pending[n] ?? 0) + 1;
      const settings = this.talk.ask("settings", { settings: state.nets[n], ...state.view }, n);
      const points = edited && this.talk.ask("points", { points: edited, ...state.view }, n);
      return [settings, points].filter(Boolean).map((answer) => answer.then((one) => this.arrived(one, n)));
    });
    await Promise.all(asked);
    clearTimeout(busy);
    this.root.classList.remove("busy");
    this.refresh();
  }

  change(values) {
    this.say("");
    this.questions.slow.panel.hidden = true;
    return this.sendSettings(this.state.change(values));
  }

  // An answer that is a picture, or an error.
  arrived(answer, n) {
    const { state } = this;
    if (answer.asked === "settings") this.pending[n]--;
    if (answer.kind === "error") return this.refused(answer, n);
    if (answer.points) {
      if (!state.edited) state.points = answer.points;
      if (!this.pending[n]) state.nets[n] = { ...answer.settings }; // else a newer choice is on its way
      this.kept[n] = answer.settings;
    }
    answer.label = answer.example >= 0 ? (answer.points ?? state.points)[answer.example]?.[2] : null;
    this.frames[n] = answer;
    this.histories[n].add(answer);
    this.stale = true;
  }

  // The server keeps what it had; the page shows that again.
  refused({ text, asked }, n) {
    this.pause();
    this.say(text);
    if (asked === "settings") this.state.nets[n] = { ...(this.kept[n] ?? this.welcome.defaults) };
    if (asked === "points") this.state.drop();
    if (asked === "points" || !this.kept[n]) return this.sendSettings([n]);
    this.refresh();
  }

  refresh() {
    const { state } = this;
    const outputs = this.frame?.sizes.at(-1) ?? state.settings.classes;
    this.controls.show(state.settings, outputs);
    this.layers.show(state.settings.hidden);
    this.warp.show(state.settings.hidden, outputs, state.view);
    this.labels.show(outputs);
    this.strip.build(state.nets, state.shown);
    this.address.write(state.text);
    this.stale = true;
  }

  // Looks at another example or layer; only the last of several wishes is sent.
  async look(example, view = {}) {
    Object.assign(this.state.view, { example: Math.max(example, 0) }, view);
    this.warp.show(this.state.settings.hidden, this.frame?.sizes.at(-1) ?? 2, this.state.view);
    if (this.looking || this.clock.playing) return;
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

  async act(kind, fields = {}) {
    const asked = this.state.nets.map((_, n) => this.talk.ask(kind, { ...fields, ...this.state.view }, n));
    for (const [n, answer] of asked.entries()) this.arrived(await answer, n);
  }

  pressed(act) {
    this.acts[act]?.();
  }

  play() {
    if (this.over) return;
    this.say("");
    this.clock.start();
    this.find("[data-act=play]").textContent = "❚❚ Pause";
  }

  pause() {
    this.clock.stop();
    this.stale = true;
    this.find("[data-act=play]").textContent = "▶ Play";
  }

  // Two or three nets on the same points: of the lecture's sizes or strengths, or this one and a copy to change.
  async compare(by) {
    const { state } = this,
      first = { ...state.settings };
    for (let n = 1; n < state.nets.length; n++) this.talk.ask("close", {}, n);
    state.nets = compared(by, first);
    state.shown = by === "kept" ? 1 : 0;
    this.frames.length = 1;
    await this.sendSettings(state.nets.map((_, n) => n));
    await this.act("restart");
  }

  show(n) {
    this.state.shown = n;
    this.refresh();
    this.look(this.state.view.example);
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

  tell(found) {
    this.stale = true;
    this.usual ??= this.find(".told").innerHTML;
    if (found && this.frame) this.find(".told").textContent = told(this.frame, this.state.settings, found);
    else this.find(".told").innerHTML = this.usual;
  }
}
