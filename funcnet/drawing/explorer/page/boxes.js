"use strict";
// What is selected and which boxes are open, and how one gets from one to the next.

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
