"use strict";
// Where everything stands in an open box: dagre lays out one level at a time, what is open inside first.

const PAD = 12, TITLE = 20, LINE = 12;
const pen = document.createElement("canvas").getContext("2d");
const widths = new Map();

function widthOf(text, font = "12px Helvetica, Arial, sans-serif") {
  const key = font + text;
  if (!widths.has(key)) {
    pen.font = font;
    widths.set(key, pen.measureText(text).width);
  }
  return widths.get(key);
}

function shortened(text, most = 46) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

// What stands on an item: the end of an argument's path.
function named({ kind, label }) {
  if (kind !== "input" || label.length <= 20) return shortened(label);
  return `…/${label.split("/").slice(-2).join("/")}`.replace("…/" + label, label);
}

// Width and height of an item as it is now.
function sizeOf(item) {
  const bold = "bold 12px Helvetica, Arial, sans-serif";
  if (item.kind !== "box") return [Math.max(28, widthOf(named(item), bold) + 16 + (item.warning ? 14 : 0)), 24];
  if (!item.open) {
    const about = widthOf(shortened(item.about ?? ""), "10px Helvetica, Arial, sans-serif");
    return [Math.max(70, about + 20, widthOf(shortened(item.label), bold) + 20 + (item.warning ? 36 : 0)), 42];
  }
  const level = layout(item);
  return [Math.max(level.width + 2 * PAD, widthOf(item.label) + 50), level.height + TITLE + PAD];
}

// What is written on a link: value and gradient of a wire, how many of several.
function written(link) {
  if (typeof link.a === "string" || typeof link.b === "string") return [];
  const used = new Set(link.wires.map((wire) => wire.flow));
  if (used.size > 1) return [["several", `${used.size} values`]];
  const [wire] = link.wires;
  if (wire.from.kind === "constant") return [];
  const lines = [["value", wire.flow.value[0]]];
  if (wire.back) lines.push(["gradient", several(link.wires)]);
  return lines;
}

// The gradient of one wire, or of one value's several, if these are all.
function several(its) {
  const { flow, back } = its[0];
  if (its.length === 1) return back[0];
  return its.length === flow.uses ? flow.gradient[0] : `${its.length} uses`;
}

// The level in a box: places of its items (top left) and the links' points.
function layout(box) {
  if (box.layout) return box.layout;
  const g = new dagre.graphlib.Graph();
  g.setGraph({ ranksep: 12, nodesep: 14, edgesep: 8 });
  const ordered = [...box.children].sort((a, b) => (b.kind === "input") - (a.kind === "input"));
  for (const item of ordered) {
    const [width, height] = sizeOf(item);
    g.setNode(String(item.id), { width, height, item });
  }
  const links = [...box.links.values()];
  const ports = new Set(links.flatMap((link) => [link.a, link.b]).filter((end) => typeof end === "string"));
  if (ports.size) fastened(g, ports);
  for (const link of links) {
    const lines = written(link);
    const width = Math.max(0, ...lines.map(([, text]) => widthOf(text, "10px Helvetica, Arial, sans-serif")));
    g.setEdge(String(link.a), String(link.b), { width, height: lines.length * LINE, labeloffset: 4, link, lines });
  }
  dagre.layout(g);
  box.layout = { width: g.graph().width || 0, height: g.graph().height || 0, ports: new Map(), links: [] };
  for (const id of g.nodes()) {
    const { x, y, width, height, item } = g.node(id);
    if (item) Object.assign(item, { x: x - width / 2, y: y - height / 2, width, height });
    else box.layout.ports.set(id, x);
  }
  for (const edge of g.edges()) {
    const { link, lines, points, x, y, width, height } = g.edge(edge);
    if (link) box.layout.links.push({ ...link, lines, points: joined(box, link, points, height / 2), x: x - width / 2, y });
  }
  return box.layout;
}

// Holds the ports at the upper and at the lower edge.
function fastened(g, ports) {
  const ends = { in: "top", out: "bottom" };
  for (const port of ports) {
    const end = ends[port.slice(0, port.indexOf(":"))];
    g.setNode(port, { width: 6, height: 0 });
    g.setNode(end, { width: 0, height: 0 });
    const [a, b] = end === "top" ? [end, port] : [port, end];
    g.setEdge(a, b, { width: 0, height: 0, weight: 50 });
  }
}

// The points of a link, which begin and end at the ports of open boxes and at the edge of this one; beside what
// is written on it, so many points high to both sides of its middle, it runs straight.
function joined(box, { a, b }, points, half) {
  const middle = half ? (points.length - 1) / 2 : -1;
  const done = points.flatMap(({ x, y }, i) => (i === middle ? [{ x, y: y - half }, { x, y: y + half }] : [{ x, y }]));
  const last = done.length - 1;
  const [from, to] = [a, b].map((end) => (typeof end === "number" ? items[end] : null));
  if (from) done[0] = { x: between(done[1].x, from), y: from.y + from.height };
  if (to) done[last] = { x: between(done[last - 1].x, to), y: to.y };
  if (from?.open) done[0] = { x: from.x + inset(from) + layout(from).ports.get(`out:${b}`), y: from.y + from.height };
  if (to?.open) done[last] = { x: to.x + inset(to) + layout(to).ports.get(`in:${a}`), y: to.y };
  if (!from) done[0].y = -TITLE;
  if (!to) done[last].y = box.layout.height + PAD;
  return done;
}

const between = (x, { x: left, width }) => Math.min(Math.max(x, left + 10), left + width - 10);

// How far from its left edge the level in an open box begins.
const inset = (box) => (box.width - layout(box).width) / 2;

function forget(box) {
  for (const around of box.path) around.layout = null;
}
