"use strict";
// The pointer: one drags, two pinch, the wheel zooms; a click selects, a double click opens or closes.

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
