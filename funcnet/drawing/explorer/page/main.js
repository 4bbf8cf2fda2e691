"use strict";
// What the reader does: select, open and close, walk, search, drag and zoom.

var picked = null;
const FIRST = 14, ALL = 500;
const byId = (id) => document.getElementById(id);

// Opens the outer boxes first, as long as what is shown stays few.
function openFirst() {
  let shown = 0;
  const count = (box) => box.children.filter(({ kind }) => kind === "gate" || kind === "box").length;
  for (let queue = [root]; queue.length; ) {
    const box = queue.shift();
    if (box.parent && count(box.parent) > 1 && shown + count(box) > FIRST) continue;
    box.open = true;
    shown += count(box) - 1;
    queue.push(...box.children.filter(({ kind }) => kind === "box"));
  }
}

function pick(item) {
  picked?.shape?.classList.remove("picked");
  picked = item;
  item.shape?.classList.add("picked");
  light(item);
  details(item);
}

// Marks the wires of an item.
function light(item) {
  for (const one of world.querySelectorAll(".lit")) one.classList.remove("lit");
  if (!item?.parent) return;
  const its = [...item.parent.links.values()].filter(({ a, b }) => a === item.id || b === item.id);
  for (const { wires } of its) for (const { drawn } of wires) for (const one of drawn) one.classList.add("lit");
}

// Opens or closes a box, which stays where it is on the screen.
function toggle(box) {
  if (box.kind !== "box" || box === root) return;
  const before = placeOf(box);
  box.open = !box.open;
  redraw(box);
  const after = placeOf(box);
  view.x += (before.x + before.width / 2 - after.x - after.width / 2) * view.k;
  view.y += (before.y - after.y) * view.k;
  if (fits(layout(root))) centre({ x: 0, y: 0, ...layout(root) });
  else if (box.open && !fits(after)) fit(box);
  pick(box);
}

const fits = ({ width, height }) => width * view.k < svg.clientWidth - 20 && height * view.k < svg.clientHeight - 20;

function redraw(box) {
  forget(box);
  draw();
}

function openAll(box) {
  if (box.kind !== "box") return;
  if (box.size > ALL) return hintAt(`opens up to ${ALL} gates at once; here are ${box.size}`);
  const inside = (one) => {
    one.open = true;
    one.layout = null;
    for (const child of one.children) if (child.kind === "box") inside(child);
  };
  inside(box);
  redraw(box);
  fit(box);
  pick(box);
}

function hintAt(text) {
  hint([["", text]], { clientX: svg.clientWidth / 2 - 100, clientY: 60 });
  setTimeout(() => (tooltip.hidden = true), 2500);
}

// Opens the boxes around an item and goes there.
function visit(item) {
  const closed = item.path.slice(0, -1).filter((box) => !box.open);
  for (const box of closed) box.open = true;
  if (closed.length) {
    for (const box of closed) forget(box);
    draw();
  }
  if (item === root) fit();
  else {
    view.k = Math.max(view.k, 0.7);
    const { x, y, width } = placeOf(item);
    centre({ x, y, width, height: Math.min(item.height, svg.clientHeight / view.k) });
  }
  requestAnimationFrame(() => requestAnimationFrame(() => pick(item)));
  svg.focus({ preventScroll: true });
}

function closeAll() {
  for (const item of items) if (item.kind === "box") Object.assign(item, { open: false, layout: null });
  openFirst();
  draw();
  fit();
}

// Along the wires: 1 with the values, −1 with the gradients.
function follow(direction) {
  if (!picked || picked === root) return reveal(sorted(root)[direction > 0 ? 0 : sorted(root).length - 1]);
  if (picked.open && direction > 0 && picked.children.length) return reveal(sorted(picked)[0]);
  const [here, there] = direction > 0 ? ["a", "b"] : ["b", "a"];
  const ends = [...picked.parent.links.values()].filter((link) => link[here] === picked.id).map((link) => resolved(link[there]));
  if (ends.length) reveal(ends.sort((a, b) => (placeOf(a).y - placeOf(b).y) * direction || placeOf(a).x - placeOf(b).x)[0]);
}

const sorted = (box) => [...box.children].sort((a, b) => a.y - b.y || a.x - b.x);

function beside(direction) {
  if (!picked || picked === root) return follow(1);
  const all = sorted(picked.parent);
  reveal(all[(all.indexOf(picked) + direction + all.length) % all.length]);
}

// Selects an item and moves it onto the screen if it is not there.
function reveal(item) {
  const { x, y, width, height } = placeOf(item);
  const left = x * view.k + view.x, top = y * view.k + view.y;
  const out = left < 0 || top < 0 || left + width * view.k > svg.clientWidth || top + Math.min(height, 60) * view.k > svg.clientHeight;
  if (out || view.k < READABLE) visit(item);
  else pick(item);
}

function nextWarning() {
  const all = root.warned;
  if (all.length) visit(all[(all.indexOf(picked) + 1) % all.length]);
}

// Search.
const search = byId("search"), found = byId("found");
let hits = [], at = 0;

function find() {
  const asked = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  hits = asked.length ? items.filter((item) => item !== root && asked.every((word) => (item.words ??= words(item)).includes(word))) : [];
  const named = (item) => asked.some((word) => item.label.toLowerCase().includes(word));
  hits.sort((a, b) => named(b) - named(a));
  at = 0;
  const rows = hits.slice(0, 60).map((item, i) => {
    const name = item.makes[0] && item.kind === "gate" ? `${item.label} → ${item.makes[0].name}` : item.label;
    return h("li", { role: "option", onclick: () => choose(i) }, name, h("small", {}, [item.kind, place(item)].filter(Boolean).join(" · ")));
  });
  if (hits.length > 60) rows.push(h("li", { className: "faint" }, `and ${hits.length - 60} more`));
  if (asked.length && !hits.length) rows.push(h("li", { className: "faint" }, "nothing"));
  found.replaceChildren(...rows);
  found.hidden = !asked.length;
  chosen(0);
}

function chosen(i) {
  at = Math.max(0, Math.min(i, Math.min(hits.length, 60) - 1));
  [...found.children].forEach((row, j) => row.setAttribute("aria-selected", String(j === at)));
  found.children[at]?.scrollIntoView({ block: "nearest" });
}

function choose(i) {
  if (hits[i]) visit(hits[i]);
  found.hidden = true;
}

search.addEventListener("input", find);
search.addEventListener("focus", find);
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") chosen(at + 1);
  else if (event.key === "ArrowUp") chosen(at - 1);
  else if (event.key === "Enter") choose(at);
  else if (event.key === "Escape") {
    found.hidden = true;
    svg.focus();
  } else return;
  event.preventDefault();
});
document.addEventListener("pointerdown", (event) => {
  if (!byId("finder").contains(event.target)) found.hidden = true;
});

// Keys.
const KEYS = {
  ArrowDown: () => follow(1),
  ArrowUp: () => follow(-1),
  ArrowLeft: () => beside(-1),
  ArrowRight: () => beside(1),
  Enter: (event) => picked && (event.shiftKey ? openAll(picked) : toggle(picked)),
  " ": () => picked && toggle(picked),
  Backspace: () => picked?.parent && reveal(picked.parent === root ? picked : picked.parent),
  Escape: () => (pick(root), (tooltip.hidden = true)),
  "+": () => zoom(1.3),
  "=": () => zoom(1.3),
  "-": () => zoom(1 / 1.3),
  0: () => fit(),
  f: () => fit(picked ?? root),
  c: closeAll,
  t: turn,
  w: nextWarning,
  "/": () => search.focus(),
  "?": () => byId("keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.target === search || event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (event.target.matches("button, a") && ["Enter", " "].includes(event.key)) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

// Pointer: one drags, two pinch.
const pointers = new Map();
let travelled = 0;

svg.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, event);
  if (pointers.size === 1) travelled = 0;
});
svg.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const other = [...pointers.values()].find((one) => one.pointerId !== event.pointerId);
  travelled += Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
  if (travelled > 4) {
    svg.setPointerCapture(event.pointerId);
    svg.classList.add("dragged");
    tooltip.hidden = true;
    if (other) {
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      const { left, top } = svg.getBoundingClientRect();
      zoom(apart(event) / apart(before), (event.clientX + other.clientX) / 2 - left, (event.clientY + other.clientY) / 2 - top);
    } else {
      view.x += event.clientX - before.clientX;
      view.y += event.clientY - before.clientY;
      move();
    }
  }
  pointers.set(event.pointerId, event);
});
for (const end of ["pointerup", "pointercancel"])
  svg.addEventListener(end, (event) => {
    pointers.delete(event.pointerId);
    svg.classList.remove("dragged");
  });
svg.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const { left, top } = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.04 : 0.0015)), event.clientX - left, event.clientY - top);
  },
  { passive: false },
);

const itemAt = (event) => {
  const one = event.target.closest?.(".item");
  return one ? items[Number(one.dataset.id)] : null;
};
svg.addEventListener("click", (event) => travelled <= 4 && pick(itemAt(event) ?? root));
svg.addEventListener("dblclick", (event) => {
  const item = itemAt(event);
  if (item) toggle(item);
});
svg.addEventListener("pointerover", (event) => {
  if (pointers.size) return;
  const item = itemAt(event), wire = event.target.closest?.(".wire");
  hint(wire ? linkHint(wire.link) : item && !(item.open && event.target.tagName === "rect") ? itemHint(item) : [], event);
  light(wire ? null : item ?? picked);
  if (wire) wire.classList.add("lit");
});
svg.addEventListener("pointerleave", () => (tooltip.hidden = true));

// Buttons, and light or dark.
function turn() {
  const { dataset } = document.documentElement;
  dataset.theme = dataset.theme === "dark" ? "light" : "dark";
}

const system = matchMedia("(prefers-color-scheme: dark)");
const asSystem = () => (document.documentElement.dataset.theme = system.matches ? "dark" : "light");
system.addEventListener("change", asSystem);
asSystem();

byId("in").onclick = () => zoom(1.3);
byId("out").onclick = () => zoom(1 / 1.3);
byId("fit").onclick = () => fit();
byId("close").onclick = closeAll;
byId("theme").onclick = turn;
byId("help").onclick = () => byId("keys").showModal();
byId("warnings").onclick = nextWarning;
byId("warnings").hidden = !root.warned.length;
byId("warnings").textContent = `⚠ ${root.warned.length}`;

openFirst();
draw();
fit();
pick(root);
