"use strict";
// What is known of an item: in the panel all of it, where the pointer rests the most important.

const panel = document.getElementById("details");
const tooltip = document.getElementById("tooltip");

function h(tag, attributes, ...children) {
  const one = Object.assign(document.createElement(tag), attributes);
  one.append(...children.filter((child) => child !== undefined && child !== ""));
  return one;
}

function to(item) {
  const text = item.kind === "box" ? item.label : item.makes[0] ? `${item.label} → ${item.makes[0].name}` : item.label;
  return h("a", { tabIndex: 0, onclick: () => visit(item), onkeydown: (e) => e.key === "Enter" && visit(item) }, item.makes[0]?.name === item.label ? item.label : text);
}

const numbers = (kind, array) => (array ? [h("pre", { className: kind }, array[1])] : [h("p", { className: "faint" }, "no gradient")]);

function details(item) {
  const path = item.path.slice(1, -1).flatMap((box) => [h("a", { tabIndex: 0, onclick: () => visit(box) }, box.label), " / "]);
  const parts = [h("p", { className: "path" }, ...path), h("h2", {}, item.name ?? (item.label || "the whole graph"))];
  for (const [text, severe] of item.marks ?? []) parts.push(h("p", { className: `warning${severe ? " severe" : ""}` }, `⚠ ${text}`));
  if (item.kind === "box") parts.push(...ofBox(item));
  if (item.computes) parts.push(h("p", { className: "value" }, `${item.makes.map((flow) => flow.name).join(", ")} = ${item.computes}`));
  if (item.formula) parts.push(h("p", { className: "gradient" }, item.formula));
  if (item.source) parts.push(h("p", { className: "faint" }, item.source));
  if (item.line) parts.push(h("p", { className: "line" }, item.line));
  if (item.parameters) parts.push(h("pre", { className: "faint" }, item.parameters));
  for (const wire of item.wires.filter((wire) => wire.to === item)) parts.push(...ofInput(wire));
  for (const flow of item.makes) parts.push(...ofOutput(flow, item));
  panel.replaceChildren(...parts);
  panel.scrollTop = 0;
}

function ofBox(box) {
  const known = [h("p", {}, `${box.size} gates: ${box.about}`)];
  for (const gate of box.warned.slice(0, 20))
    known.push(h("p", { className: "warning" }, "⚠ ", to(gate), ` ${gate.marks.map(([text]) => text).join("; ")}`));
  if (box.warned.length > 20) known.push(h("p", { className: "faint" }, `and ${box.warned.length - 20} more warnings`));
  return known;
}

function ofInput(wire) {
  const title = h("h3", {}, wire.to.kind === "result" ? "value of " : "takes ", to(wire.from));
  const known = [title, ...numbers("value", wire.flow.value)];
  if (wire.from.kind === "constant") return known;
  known.push(...numbers("gradient", wire.back));
  if (wire.how && wire.back) known.push(h("p", { className: "gradient" }, `${wire.flow.called.replace(/, use.*/, "")} = ${wire.how}`));
  if (wire.local) known.push(h("p", { className: "faint" }, "local gradient"), h("pre", {}, wire.local[1]));
  return known;
}

function ofOutput(flow, item) {
  const uses = item.wires.filter((wire) => wire.flow === flow);
  const title = h("h3", {}, item.kind === "gate" ? `gives ${flow.name}` : flow.name, uses.length > 1 ? `, used ${uses.length} times` : "");
  const known = [title, ...numbers("value", flow.value)];
  if (item.kind !== "constant") known.push(...numbers("gradient", flow.gradient));
  for (const wire of uses.slice(0, 12)) {
    const part = uses.length > 1 && wire.back ? h("span", { className: "gradient" }, ` sends back ${wire.back[0]}`) : "";
    known.push(h("p", {}, "→ ", to(wire.to), part));
  }
  if (uses.length > 12) known.push(h("p", { className: "faint" }, `and ${uses.length - 12} more uses`));
  return known;
}

// The few lines that show where the pointer rests.
function hint(lines, event) {
  tooltip.hidden = !lines.length;
  tooltip.replaceChildren(...lines.map(([kind, text]) => h("div", { className: kind }, text)));
  const { offsetWidth, offsetHeight } = tooltip;
  tooltip.style.left = `${Math.min(event.clientX + 14, innerWidth - offsetWidth - 6)}px`;
  tooltip.style.top = `${event.clientY + 18 + offsetHeight > innerHeight ? event.clientY - offsetHeight - 8 : event.clientY + 18}px`;
}

function itemHint(item) {
  const lines = [["", item.name ?? item.label]];
  for (const [text] of (item.marks ?? []).slice(0, 3)) lines.push(["warning", `⚠ ${text}`]);
  if (item.kind === "box") lines.push(["faint", `${item.size} gates: ${item.about}`]);
  if (item.formula) lines.push(["gradient", item.formula]);
  for (const { name, value, gradient } of item.makes.slice(0, 2)) {
    lines.push(["value", `${name}: ${value[1]}`]);
    if (gradient) lines.push(["gradient", gradient[1]]);
  }
  if (item.line) lines.push(["faint", item.line]);
  return lines;
}

function linkHint({ wires }) {
  const lines = [];
  for (const { flow, back, from, to } of wires.slice(0, 4)) {
    lines.push(["", `${flow.name}:  ${from.label} → ${to.label}`], ["value", flow.value[1]]);
    if (back) lines.push(["gradient", back[1]]);
  }
  if (wires.length > 4) lines.push(["faint", `and ${wires.length - 4} more wires`]);
  return lines;
}
