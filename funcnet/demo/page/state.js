// What is shown, and its text in the address: the nets, changed points, what is looked at.

export const SHARED = ["data", "noise", "test", "classes", "seed"];
const LISTS = ["inputs", "hidden"];
const PREFIXES = ["", "b.", "c."];
const MOST_UNDONE = 100;

export class State {
  constructor(welcome) {
    this.welcome = welcome;
    this.nets = [{ ...welcome.defaults }];
    this.shown = 0;
    this.points = null; // as the server has drawn them, until they are edited
    this.edited = false;
    this.before = [];
    this.view = { example: 0, layer: 0, units: [0, 1] };
  }

  get settings() {
    return this.nets[this.shown];
  }

  // Changes settings of the net that is shown, or of all nets where they share them; the numbers of the nets.
  change(values) {
    const touched = this.nets
      .map((_, n) => n)
      .filter((n) => n === this.shown || Object.keys(values).some((name) => SHARED.includes(name)));
    for (const n of touched) {
      const its = n === this.shown ? Object.entries(values) : Object.entries(values).filter(([name]) => SHARED.includes(name));
      Object.assign(this.nets[n], Object.fromEntries(its));
    }
    if (["data", "noise", "test", "seed", "classes"].some((name) => name in values)) this.drop();
    return touched;
  }

  // Forgets edits: points are drawn anew.
  drop() {
    this.edited = false;
    this.points = null;
    this.before = [];
  }

  edit(points) {
    this.before = [...this.before.slice(-MOST_UNDONE + 1), this.points];
    this.replace(points);
  }

  replace(points) {
    this.points = points;
    this.edited = true;
  }

  undo() {
    if (!this.before.length) return false;
    this.replace(this.before.pop());
    return true;
  }

  get text() {
    const parts = [];
    this.nets.forEach((net, n) => {
      const usual = n ? this.nets[0] : this.welcome.defaults;
      const differs = Object.keys(net).filter((name) => String(net[name]) !== String(usual[name]));
      const told = n && !differs.length ? ["rate"] : differs;
      for (const name of told) parts.push(`${PREFIXES[n]}${name}=${net[name]}`);
    });
    if (this.edited)
      parts.push(`points=${this.points.map(([x, y, label, train]) => [round(x), round(y), label, train].join(",")).join(";")}`);
    return parts.join("&");
  }

  // Reads a text; what is no setting is left out, what is out of bounds the server refuses.
  set text(text) {
    const given = new URLSearchParams(text);
    this.nets = [{ ...this.welcome.defaults }];
    this.shown = 0;
    this.drop();
    PREFIXES.forEach((prefix, n) => {
      const named = Object.keys(this.welcome.defaults).filter((name) => given.has(prefix + name));
      if (n && !named.length) return;
      if (n) this.nets.push({ ...this.nets[0] });
      for (const name of named) this.nets.at(-1)[name] = read(name, given.get(prefix + name), this.welcome.defaults[name]);
    });
    const points = given.get("points");
    if (points !== null) {
      this.points = points ? points.split(";").map((row) => row.split(",").map(Number)) : [];
      this.edited = true;
    }
  }
}

const round = (value) => Number(value.toFixed(3));

function read(name, text, usual) {
  const list = text ? text.split(",") : [];
  if (LISTS.includes(name)) return typeof usual[0] === "number" ? list.map(Number) : list;
  return typeof usual === "number" ? Number(text) : text;
}
