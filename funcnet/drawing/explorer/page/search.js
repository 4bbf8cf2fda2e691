"use strict";
// Search: a list of what is found, in which one walks and chooses.

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
