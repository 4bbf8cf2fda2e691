"use strict";
// The graph: items in boxes, the wires between them, and which links a box shows when it is open.
// A link stands for all wires between two items of one level. What a wire comes from or leads to outside of a
// box is a port of it: "in:7" comes from item 7 of the level above, "out:in:7" is named by a port of that level.

const graph = JSON.parse(document.getElementById("graph").textContent);
const { items, flows, texts } = graph;
const SEVERE = 2, SLIGHT = 1;

items.forEach((item, id) => {
  Object.assign(item, { id, children: [], wires: [], makes: [], links: new Map(), open: false, warning: 0, warned: [] });
  item.parent = item.in === null ? null : items[item.in];
  item.path = item.parent ? [...item.parent.path, item] : [item];
  item.parent?.children.push(item);
  for (const key of ["formula", "source", "line", "parameters"]) if (key in item) item[key] = texts[item[key]];
});
const root = items[0];

for (const flow of flows) {
  flow.uses = 0;
  items[flow.from].makes.push(flow);
}

const wires = graph.wires.map((wire, id) => {
  const flow = flows[wire.flow];
  flow.uses++;
  const one = { ...wire, id, flow, from: items[flow.from], to: items[wire.to], back: wire.back ?? flow.gradient };
  one.from.wires.push(one);
  one.to.wires.push(one);
  link(one);
  return one;
});

for (const item of items) {
  if (!item.marks) continue;
  const weight = item.marks.some(([, severe]) => severe) ? SEVERE : SLIGHT;
  for (const around of item.path) {
    around.warning = Math.max(around.warning, weight);
    around.warned.push(item);
  }
}

// Puts a wire on the level that both its ends have in common, and on each level further in at either end.
function link(wire) {
  const from = wire.from.path, to = wire.to.path;
  let i = 0;
  while (from[i] === to[i]) i++;
  add(from[i - 1], from[i].id, to[i].id, wire);
  for (let k = i, port = `out:${to[i].id}`; k + 1 < from.length; k++, port = `out:${port}`)
    add(from[k], from[k + 1].id, port, wire);
  for (let k = i, port = `in:${from[i].id}`; k + 1 < to.length; k++, port = `in:${port}`)
    add(to[k], port, to[k + 1].id, wire);
}

function add(box, a, b, wire) {
  const key = `${a}>${b}`;
  const known = box.links.get(key);
  if (known) known.wires.push(wire);
  else box.links.set(key, { key, a, b, wires: [wire] });
}

// The item that a port leads to, or that an end of a link is.
const resolved = (end) => items[Number(String(end).replace(/^.*:/, ""))];

// The boxes around an item by name.
const place = (item) => item.path.slice(1, -1).map((box) => box.label).join(" / ");

// What an item is searched by.
function words(item) {
  const { label, name, formula, line, computes } = item;
  const marks = (item.marks ?? []).map(([text]) => `⚠ ${text}`);
  return [label, name, formula, line, computes, ...item.makes.map((flow) => flow.name), ...marks, place(item)].join(" ").toLowerCase();
}

const isZero = (array) => array !== undefined && array[0].endsWith("‖0‖") || array?.[0] === "0";
