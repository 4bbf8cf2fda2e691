"""How quick the demo's page is, and how it looks: frames, steps, clicks, memory, pictures.

    python -m tests.benchmarks.bench_demo [--minutes 10] [--pictures FOLDER] [--axe axe.min.js]

Headless Chromium draws on the processor, which it shares with the server. The net is that of the lecture's
demo, with six and two units, at the speed "fastest", with field, grid, fields of all units, curves and all
gradients shown. Pictures are of three sizes, light and dark, and audited by axe-core if its file is given.
"""

import argparse
import shutil
import statistics
import threading
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from funcnet.demo import server

UNLIMITED = ("--disable-frame-rate-limit", "--disable-gpu-vsync")  # else no page has more than a display's 60
SIZES = {"desktop": (1280, 800), "tablet": (820, 1100), "phone": (390, 844)}
IDLE = "() => demo.page?.frame && !demo.page.talk.outstanding && !demo.page.stale"
COUNTS = "() => [demo.page.painter.drawn, demo.page.frame.step, performance.now()]"
MEMORY = "() => performance.memory.usedJSHeapSize / 1e6"

CLICK = """() => new Promise((done) => {
  const { page } = demo, { canvas } = page.plane, { left, top, width } = canvas.getBoundingClientRect();
  const place = { clientX: left + Math.random() * width, clientY: top + Math.random() * width, pointerId: 1 };
  const before = page.frame, start = performance.now(), changed = () => page.frame !== before && !page.stale;
  canvas.setPointerCapture = () => {};
  for (const name of ["pointerdown", "pointerup"]) canvas.dispatchEvent(new PointerEvent(name, place));
  const look = () => (changed() ? done(performance.now() - start) : requestAnimationFrame(look));
  requestAnimationFrame(look);
})"""


def resident() -> float:
    """Megabytes of this process, in which the server runs."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def rates(tab: Page, seconds: float) -> tuple[float, float]:
    """Frames and steps per second while the net learns as fast as it goes."""
    before = tab.evaluate(COUNTS)
    tab.wait_for_timeout(1000 * seconds)
    frames, steps, passed = (b - a for a, b in zip(before, tab.evaluate(COUNTS), strict=True))
    return 1000 * frames / passed, 1000 * steps / passed


def speed(tab: Page, minutes: float) -> None:
    """Print how quick the page is, and its memory now and after some minutes."""
    clicks = [tab.evaluate(CLICK) for _ in range(15)]
    print(
        f"click to changed picture: median {statistics.median(clicks):.0f} ms, longest {max(clicks):.0f} ms"
    )
    tab.select_option("[name=speed]", "0")
    tab.click("[data-act=play]")
    rates(tab, 3)
    found = [rates(tab, 5) for _ in range(3)]
    frames, steps = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"{frames:.0f} frames/s, {steps:,.0f} SGD steps/s", flush=True)
    begin, end = time.monotonic(), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        rates(tab, min(30, 60 * minutes))
        told = f"page {tab.evaluate(MEMORY):.0f} MB, server {resident():.0f} MB"
        print(f"after {time.monotonic() - begin:.0f} s: {told}", flush=True)


def pictures(tab: Page, folder: Path, axe: Path | None) -> None:
    """Write a picture of each size, light and dark, and print what axe-core finds."""
    tab.click("[data-act=play]")
    tab.wait_for_function("() => demo.page.frame.step > 300")
    tab.click("[data-act=play]")
    for theme in ("light", "dark"):
        tab.evaluate("(theme) => demo.page.theme(theme)", theme)
        for name, (width, height) in SIZES.items():
            tab.set_viewport_size({"width": width, "height": height})
            tab.wait_for_timeout(300)
            tab.wait_for_function(IDLE)
            tab.screenshot(path=folder / f"{name}_{theme}.png", full_page=name == "phone")
            if axe:
                tab.add_script_tag(content=axe.read_text("utf-8"))
                found = tab.evaluate("async () => axe.run()")
                print(f"{name}, {theme}: {len(found['passes'])} rules of axe-core pass")
                for broken in found["violations"]:
                    print(f"    {broken['impact']}: {broken['help']}: {broken['nodes'][0]['html'][:90]}")


def main() -> None:
    """A line for each measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--axe", type=Path)
    options = parser.parse_args()
    with server.listening(0) as listener, sync_playwright() as playwright:
        listener.listen(16)
        port = listener.getsockname()[1]
        running = server.server(server.application(port, "token"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        flags = ["--no-sandbox", "--enable-precise-memory-info", *UNLIMITED]
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        tab = chromium.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True).new_page()
        tab.set_default_timeout(120_000)
        tab.goto(f"http://127.0.0.1:{port}/?token=token")
        tab.wait_for_function(IDLE)
        if options.pictures:
            options.pictures.mkdir(parents=True, exist_ok=True)
            pictures(tab, options.pictures, options.axe)
        else:
            speed(tab, options.minutes)
        chromium.close()
        running.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
