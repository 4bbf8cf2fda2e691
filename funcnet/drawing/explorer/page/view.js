"use strict";
// Draws the open boxes, and moves and zooms the drawing. Of an open box only what is on the screen and large
// enough to be read is in the document, so that a graph of any size moves smoothly.

const svg = document.getElementById("canvas");
const world = document.getElementById("world");
const view = { x: 0, y: 0, k: 1 };
const READABLE = 0.28, LARGEST = 4, ROUND = 10;
let scheduled = false;

function element(tag, attributes, ...children) {
  const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) one.setAttribute(key, value);
  one.append(...children);
  return one;
}

// Everything anew, after boxes were opened or closed.
function draw() {
  for (const wire of wires) wire.drawn = [];
  for (const item of items) item.shape = item.inside = null;
  root.open = true;
  layout(root);
  world.replaceChildren(level(root));
  move();
}

// What is in an open box.
function level(box) {
  const shapes = box.children.map(shape);
  box.inside = element("g", {}, ...layout(box).links.map(wireShape), ...shapes);
  return box.inside;
}

function shape(item) {
  const { x, y, width, height, kind, open } = item;
  const state = [open && "open", item.warning && "warned", item.warning === SEVERE && "severe", item === picked && "picked"];
  const one = element("g", {
    class: ["item", kind, ...state.filter(Boolean)].join(" "),
    transform: `translate(${x} ${y})`,
    "data-id": item.id,
    role: "img",
    "aria-label": `${kind} ${item.label}`,
  });
  one.append(element("rect", { width, height, rx: kind === "box" ? 5 : 9 }));
  const badge = item.warning ? (kind === "box" ? `⚠ ${item.warned.length}` : "⚠") : "";
  const across = width - (!badge ? 0 : kind === "box" ? 32 : 14);
  if (kind === "box" && open) {
    one.append(element("text", { class: "title", x: 8, y: 11 }, item.label));
    const size = Math.min(height / 3, (1.6 * width) / (item.label.length + 2));
    one.append(element("text", { class: "far", x: width / 2, y: height / 2, style: `font-size:${size}px` }, item.label));
  } else if (kind === "box") {
    one.append(element("text", { class: "title", x: across / 2, y: 14 }, shortened(item.label)));
    one.append(element("text", { class: "about", x: width / 2, y: 31 }, shortened(item.about ?? "")));
  } else {
    one.append(element("text", { x: across / 2, y: height / 2 }, named(item)));
  }
  if (badge) one.append(element("text", { class: "badge", x: width - (kind === "box" ? 6 : 5), y: 12 }, badge));
  item.shape = one;
  return one;
}

function wireShape(link) {
  const { points, lines, x, y } = link;
  const backs = link.wires.map((wire) => wire.back);
  const state = [
    backs.every((back) => !back) && "none",
    backs.every((back) => back && isZero(back)) && "dead",
    points.length > 6 && "long",
  ];
  const d = curve(points);
  const ends = typeof link.b === "string" || resolved(link.b).open ? undefined : "url(#tip)";
  const one = element("g", { class: ["wire", ...state.filter(Boolean)].join(" ") });
  one.append(element("path", { d, "marker-end": ends }), element("path", { d, class: "grip" }));
  lines.forEach(([kind, text], i) => one.append(element("text", { class: kind, x, y: y + (i - (lines.length - 1) / 2) * LINE }, text)));
  one.link = link;
  for (const wire of link.wires) wire.drawn.push(one);
  return one;
}

// A line from point to point with rounded corners.
function curve(points) {
  const at = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  const towards = (p, q) => {
    const length = Math.hypot(q.x - p.x, q.y - p.y) || 1, part = Math.min(ROUND, length / 2) / length;
    return { x: p.x + (q.x - p.x) * part, y: p.y + (q.y - p.y) * part };
  };
  let d = `M${at(points[0])}`;
  for (let i = 1; i + 1 < points.length; i++)
    d += `L${at(towards(points[i], points[i - 1]))}Q${at(points[i])} ${at(towards(points[i], points[i + 1]))}`;
  return `${d}L${at(points.at(-1))}`;
}

// Asks for the next frame to show where the view is now.
function move() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    world.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.k})`);
    const { clientWidth, clientHeight } = svg;
    show(root, view.x, view.y, clientWidth, clientHeight);
  });
}

// Fills the open boxes in a box that can be seen and read, and empties the others; x and y are its corner.
function show(box, x, y, width, height) {
  for (const item of box.children) {
    if (!item.open) continue;
    const left = x + item.x * view.k, top = y + item.y * view.k;
    const right = left + item.width * view.k, bottom = top + item.height * view.k;
    const seen = right > 0 && left < width && bottom > 0 && top < height;
    const readable = view.k >= READABLE;
    item.shape.classList.toggle("tiny", !readable);
    if (seen && readable) {
      if (!item.inside) {
        const inside = level(item);
        inside.setAttribute("transform", `translate(${inset(item)} ${TITLE})`);
        item.shape.append(inside);
      }
      show(item, left + inset(item) * view.k, top + TITLE * view.k, width, height);
    } else if (item.inside) empty(item);
  }
}

function empty(box) {
  box.inside.remove();
  box.inside = null;
  for (const { wires } of layout(box).links) for (const wire of wires) wire.drawn = wire.drawn.filter((one) => one.isConnected);
  for (const item of box.children) {
    if (item.inside) empty(item);
    item.shape = null;
  }
}

// Where an item is in the drawing.
function placeOf(item) {
  let x = item.x, y = item.y;
  for (let box = item.parent; box !== root; box = box.parent) {
    x += box.x + inset(box);
    y += box.y + TITLE;
  }
  return { x, y, width: item.width, height: item.height };
}

function fit(item = root, most = 1.25) {
  const area = item === root ? { x: 0, y: 0, width: layout(root).width, height: layout(root).height } : placeOf(item);
  const { clientWidth, clientHeight } = svg;
  view.k = Math.min(most, (clientWidth - 40) / area.width, (clientHeight - 40) / area.height);
  centre(area);
}

function centre({ x, y, width, height }) {
  view.x = svg.clientWidth / 2 - (x + width / 2) * view.k;
  view.y = svg.clientHeight / 2 - (y + height / 2) * view.k;
  move();
}

// Larger or smaller, around a point of the screen.
function zoom(factor, x = svg.clientWidth / 2, y = svg.clientHeight / 2) {
  const k = Math.min(LARGEST, Math.max(0.01, view.k * factor));
  view.x = x - ((x - view.x) * k) / view.k;
  view.y = y - ((y - view.y) * k) / view.k;
  view.k = k;
  move();
}
