"""What every test shares: workers, turns, a key, float64, quick compilation or no shape checks on demand.

The suite runs on all cores, a file at a time on each. What is many rows of one kind takes turns from day to
day: a test with the marker `in_turns(n)` runs on every n-th day, another share of them each day, and
`--share N` does so with all tests. `--whole` runs everything, `--turn` chooses the day.
"""

import datetime
import gc
import os
import shutil
import signal
import zlib
from collections import Counter
from pathlib import Path

import jax
import jaxtyping
import pytest

if jax.__version_info__ < (0, 11):  # compiles in a third of the time; newer XLA knows neither of the two
    quick = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{quick} {os.environ.get('XLA_FLAGS', '')}".strip()

LONG = "tests/notebooks/"
"""Where a test takes so long that workers share a file."""

WAITING = pytest.StashKey[int]()
"""How many tests wait for their turn."""


def pytest_addoption(parser):
    group = parser.getgroup("turns", "which tests run today")
    group.addoption("--whole", action="store_true", help="Run all tests, also those whose turn it is not.")
    group.addoption("--share", type=int, default=1, metavar="N", help="Run every N-th test, in turns.")
    today = datetime.date.today().toordinal()
    group.addoption("--turn", type=int, default=today, metavar="DAY", help="Whose turn it is (today's).")


def pytest_configure(config):
    config.addinivalue_line("markers", "in_turns(n): runs on every n-th day, with --whole on all")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Every n-th row of a test, or every N-th test of a file, in an order that no other order changes."""
    turn, share = config.getoption("turn"), config.getoption("share")
    seen, waiting = Counter(), set()
    for item in [] if config.getoption("whole") else sorted(items, key=_anywhere):
        marker = item.get_closest_marker("in_turns")
        rows = item.nodeid.partition("[")[0] if marker else item.path
        if (seen[rows] + turn) % (share * (marker.args[0] if marker else 1)):
            waiting.add(item)
        seen[rows] += 1
    if waiting:
        items[:] = [item for item in items if item not in waiting]
        config.hook.pytest_deselected(items=list(waiting))
    getattr(config, "workeroutput", {})["waiting"] = config.stash[WAITING] = len(waiting)


def _anywhere(item):
    """Neighbours in a table take different turns, as they may be long alike."""
    return zlib.crc32(item.nodeid.encode())


def pytest_collection_finish():
    """What is there now stays to the end: the collector need not look at it again and again."""
    os.environ.pop("PYTEST_ADDOPTS", None)  # of this run, not of those that tests start
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[WAITING] = getattr(node, "workeroutput", {}).get("waiting", 0)


def pytest_terminal_summary(terminalreporter, config):
    if waiting := config.stash.get(WAITING, 0):
        terminalreporter.write_line(
            f"On turn {config.getoption('turn')} {waiting} tests waited for theirs; --whole runs all."
        )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """As many as this process may use, where xdist would count the cores of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        """A file to a worker, those with the most tests first, so that the long tests come one by one."""

        def _split_scope(self, nodeid):
            return nodeid if nodeid.startswith(LONG) else super()._split_scope(nodeid)

    return Files(config, log)


@pytest.fixture
def key():
    return jax.random.key(231)


@pytest.fixture
def x64():
    """Float64 for the length of one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def quick():
    """Compile fast, run slow, to the end of the file: where programs run once and no ulp counts."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # no other file shall run what was compiled here


@pytest.fixture
def no_shape_checks():
    """Users run without jaxtyping's checks: what they see is funcnet's own error."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def fashion_mnist():
    """The folder of the real Fashion-MNIST. Where it is not installed its tests skip, but in CI they fail."""
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir() and "CI" not in os.environ:
        pytest.skip(
            "Fashion-MNIST is not installed; on Debian or Ubuntu: apt-get install dataset-fashion-mnist"
        )
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium, as Debian installs it or as playwright does."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with api.sync_playwright() as playwright:
        if path is None:
            path = playwright.chromium.executable_path
        if not shutil.which(path):
            pytest.skip("no Chromium; on Debian or Ubuntu: apt-get install chromium")
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()
