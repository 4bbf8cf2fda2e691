"""How the explorer does with ten thousand gates: bytes, seconds to open, frames per second while panning.

    python -m tests.benchmarks.bench_explorer

A net of 2500 layers that Python unrolled, and a graph in which each gate takes two of the forty values before
it. Headless Chromium draws on the processor. A page opens up to the second frame after it is laid out; it is
panned closed, as it opens, and with every box open, at the size at which a gate can be read.
"""

import shutil
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from playwright.sync_api import Page, sync_playwright

import funcnet

FRAMES = """async () => {
  let frames = 0, worst = 0, last = performance.now();
  const start = last;
  return await new Promise((done) => {
    requestAnimationFrame(function frame(now) {
      worst = Math.max(worst, now - last);
      last = now;
      view.x += frames % 60 < 30 ? 6 : -6;
      view.y += frames % 40 < 20 ? 6 : -6;
      move();
      frames += 1;
      if (now - start < 3000) requestAnimationFrame(frame);
      else done([frames / ((now - start) / 1000), worst]);
    });
  });
}"""

SETTLED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

OPEN_ALL = """() => {
  for (const item of items) Object.assign(item, { open: item.kind === "box", layout: null });
  draw();
  visit(items.findLast((item) => item.kind === "gate"));
}"""


def deep(ws, x):
    """relu(x w), 2500 times."""
    for w in ws:
        x = jnp.maximum(x @ w, 0) + 1e-3
    return jnp.sum(x)


def tangle(x):
    """Ten thousand operations, each on two of the forty values before it."""
    random, values = np.random.default_rng(0), [x]
    for _ in range(10_000):
        a, b = random.integers(max(len(values) - 40, 0), len(values), 2)
        values.append(random.choice([lax.add, lax.sub, lax.atan2])(values[a], values[b]))
    return jnp.sum(values[-1])


PROGRAMS = {
    "deep": (deep, (list(jax.random.normal(jax.random.key(0), (2500, 4, 4)) / 2), jnp.ones((2, 4)))),
    "random": (tangle, (jnp.linspace(-1, 1, 4),)),
}


def measured(tab: Page, path: Path) -> str:
    """What a page takes, in a line."""
    start = time.perf_counter()
    tab.goto(path.as_uri())
    tab.evaluate(SETTLED)
    opened = time.perf_counter() - start
    closed = tab.evaluate(FRAMES)
    start = time.perf_counter()
    tab.evaluate(OPEN_ALL)
    tab.evaluate(SETTLED)
    laid_out = time.perf_counter() - start
    frames = tab.evaluate(FRAMES)
    return (
        f"{path.stat().st_size / 1e6:.1f} MB  opens in {opened:.2f} s  {closed[0]:.0f} frames/s, the longest "
        f"{closed[1]:.0f} ms;  every box open: {laid_out:.1f} s, {frames[0]:.0f} frames/s, {frames[1]:.0f} ms"
    )


def main() -> None:
    """A line for each program."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (f, args) in PROGRAMS.items():
            path, start = Path(folder) / f"{name}.html", time.process_time()
            funcnet.draw(f)(*args).save(path)
            made = time.process_time() - start
            tab = chromium.new_page(viewport={"width": 1280, "height": 800})
            tab.set_default_timeout(300_000)
            line = measured(tab, path)
            gates = tab.evaluate("items.filter((item) => item.kind === 'gate').length")
            print(f"{name}: {gates} gates, {made:.0f} s of the processor to make;  {line}", flush=True)


if __name__ == "__main__":
    main()
