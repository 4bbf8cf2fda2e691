// What keys do, wherever the reader is not writing.

const ACTS = {
  " ": "play",
  ArrowRight: "step",
  ArrowLeft: "back",
  r: "restart",
  b: "backward",
  g: "check",
  l: "landscape",
  t: "theme",
  "?": "help",
};

export function keys(root, page) {
  const press = (event) => {
    const { target, key } = event,
      written = target.matches?.("input:not([type=checkbox], [type=range]), select, textarea");
    if ((event.ctrlKey || event.metaKey) && key === "z" && !written) page.pressed("undo");
    else if (event.ctrlKey || event.metaKey || event.altKey || written || root.querySelector(".help").open) return;
    else if (key === " " && target.matches?.("button, summary, input")) return;
    else if (key.startsWith("Arrow") && target.matches?.("input, [role=radio]")) return;
    else if (key in ACTS) page.pressed(ACTS[key]);
    else if (/^[1-5]$/.test(key)) page.labels.choose(Number(key) - 1);
    else if (key === "[" || key === "]") {
      const many = page.frame?.count || 1;
      page.pinned = (page.pinned + (key === "]" ? 1 : many - 1)) % many;
      page.look(page.pinned);
    } else return;
    event.preventDefault();
  };
  root.tabIndex = -1;
  (root.closest("body > div") === root && root.id === "demo" ? document : root).addEventListener("keydown", press);
}
