"use strict";
// Keys, buttons, light or dark; and how the page begins.

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
