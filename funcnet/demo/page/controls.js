// The settings as fields of a form, the layers as buttons above the picture, and what is looked at.
import { classColour } from "./colours.js";
import { INPUT_NAMES } from "./words.js";

const NAMES = {
  spiral3: "spiral, three arms",
  gauss: "clouds (gauss)",
  leaky_relu: "leaky ReLU",
  relu: "ReLU",
  elu: "ELU",
  none: "none (linear)",
  svm: "SVM (hinge)",
  l2: "L2",
  l1: "L1",
  elastic_net: "elastic net",
  sgd: "SGD",
  rmsprop: "RMSProp",
  adam: "Adam",
};
const WHOLE = ["noise", "test", "classes", "batch", "seed"],
  REAL = ["rate", "strength"];

export class Controls {
  // act(values) is called with the settings that the reader has changed; bad(text) with what is wrong with a field.
  constructor(root, welcome, act, bad) {
    Object.assign(this, { root, welcome, act, bad });
    this.form = root.querySelector(".controls");
    for (const [name, values] of Object.entries(welcome.choices)) if (name !== "inputs") this.options(this.field(name), values);
    root.querySelector(".inputs").replaceChildren(...welcome.choices.inputs.map((name) => this.input(name)));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", (event) => this.changed(event.target));
    this.form.addEventListener(
      "input",
      ({ target }) => target.type === "range" && (this.output(target.name).value = target.value),
    );
  }

  field(name) {
    return this.form.elements[name];
  }

  output(name) {
    return this.form.querySelector(`output[for=${name}]`);
  }

  options(select, values, names = NAMES) {
    select.replaceChildren(...values.map((value) => new Option(names[value] ?? value, value)));
  }

  input(name) {
    const label = document.createElement("label"),
      box = Object.assign(document.createElement("input"), { type: "checkbox", name: "inputs", value: name });
    label.append(box, INPUT_NAMES[name]);
    return label;
  }

  changed({ name, value }) {
    if (name === "inputs") return this.inputsChanged();
    if (!(name in this.welcome.defaults)) return;
    const number = Number(value),
      numeric = WHOLE.includes(name) || REAL.includes(name);
    if (numeric && (value.trim() === "" || !Number.isFinite(number)))
      return this.bad(`${name} is “${value}”; expected a number.`);
    this.act({ [name]: numeric ? number : value });
  }

  inputsChanged() {
    const inputs = [...this.form.querySelectorAll("[name=inputs]:checked")].map(({ value }) => value);
    if (inputs.length) return this.act({ inputs });
    this.bad("The net needs at least one input.");
  }

  show(settings, outputs) {
    for (const name of [...Object.keys(this.welcome.choices), "noise", "test", "classes", "rate", "strength", "seed"]) {
      if (name === "inputs")
        for (const box of this.form.querySelectorAll("[name=inputs]")) box.checked = settings.inputs.includes(box.value);
      else {
        const field = this.field(name);
        if (name === "batch" && !this.welcome.choices.batch.includes(settings.batch)) field.add(new Option(settings.batch));
        if (document.activeElement !== field || field.tagName === "SELECT") field.value = settings[name];
        if (name === "classes") field.value = outputs;
        if (this.output(name)) this.output(name).value = settings[name];
      }
    }
  }
}

// Buttons above each hidden layer: a unit more, a unit fewer, no such layer; and one more layer.
export class LayerButtons {
  constructor(root, most, act) {
    Object.assign(this, { box: root.querySelector(".layers"), most, act, shown: "" });
    this.box.addEventListener("click", ({ target }) => this.pressed(target.closest("button")));
  }

  show(hidden) {
    if (this.shown === String(hidden)) return;
    const focused = document.activeElement?.closest?.(".layers") ? document.activeElement.dataset.does : null;
    this.shown = String(hidden);
    this.hidden = hidden;
    const groups = hidden.map((units, n) => {
      const group = document.createElement("div");
      group.append(
        button("−", `fewer ${n}`, `one unit fewer in hidden layer ${n + 1}`, units === 1),
        `${units} unit${units === 1 ? "" : "s"}`,
        button("+", `more ${n}`, `one unit more in hidden layer ${n + 1}`, units === this.most.units),
        button("×", `drop ${n}`, `remove hidden layer ${n + 1}`),
      );
      return group;
    });
    const more = document.createElement("div");
    more.append(button("+ layer", "add", "add a hidden layer", hidden.length === this.most.layers));
    this.box.replaceChildren(...groups, more);
    if (focused) (this.box.querySelector(`[data-does="${focused}"]:enabled`) ?? this.box.querySelector("button:enabled")).focus();
  }

  pressed(pressed) {
    if (!pressed) return;
    const [does, n] = pressed.dataset.does.split(" "),
      hidden = [...this.hidden];
    if (does === "add") hidden.push(hidden.at(-1) ?? 4);
    else if (does === "drop") hidden.splice(Number(n), 1);
    else hidden[n] += does === "more" ? 1 : -1;
    this.act({ hidden });
  }
}

function button(text, does, label, disabled = false) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text, title: label, disabled });
  made.dataset.does = does;
  made.setAttribute("aria-label", label);
  return made;
}

// Which layer warps the grid, by which two of its units.
export class WarpChoice {
  constructor(root, act) {
    this.fields = ["layer", "across", "up"].map((name) => root.querySelector(`[name=${name}]`));
    for (const field of this.fields)
      field.addEventListener("change", () => {
        const [layer, across, up] = this.fields.map(({ value }) => Number(value));
        act({ layer, units: field === this.fields[0] ? [0, 1] : [across, up] });
      });
  }

  show(hidden, outputs, view) {
    const sizes = hidden.length ? hidden : [outputs],
      layer = view.layer % sizes.length,
      units = sizes[layer];
    const names = (many, name) => Array.from({ length: many }, (_, i) => new Option(`${name} ${i + 1}`, i));
    const told = `${sizes} ${layer}`;
    if (this.told !== told) {
      this.fields[0].replaceChildren(...(hidden.length ? names(sizes.length, "hidden") : [new Option("scores", 0)]));
      for (const field of this.fields.slice(1)) field.replaceChildren(...names(units, "unit"));
      this.told = told;
    }
    [layer, view.units[0] % units, view.units[1] % units].forEach((value, i) => (this.fields[i].value = value));
  }
}

// Of which class new points are.
export class ClassChoice {
  constructor(root) {
    this.box = root.querySelector(".classes");
    this.chosen = 0;
    this.box.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key],
        many = this.box.childElementCount;
      if (!by) return;
      this.choose((this.chosen + by + many) % many);
      this.box.children[this.chosen].focus();
      event.preventDefault();
    });
  }

  show(many) {
    if (this.box.childElementCount === many) return;
    this.box.replaceChildren(
      ...Array.from({ length: many }, (_, label) => {
        const made = Object.assign(document.createElement("button"), { type: "button", textContent: `class ${label + 1}` });
        made.setAttribute("role", "radio");
        made.style.setProperty("--class", classColour(label));
        made.addEventListener("click", () => this.choose(label));
        return made;
      }),
    );
    this.choose(Math.min(this.chosen, many - 1));
  }

  choose(label) {
    if (label >= this.box.childElementCount) return;
    this.chosen = label;
    [...this.box.children].forEach((button, i) => {
      button.setAttribute("aria-checked", String(i === label));
      button.tabIndex = i === label ? 0 : -1;
    });
  }
}
