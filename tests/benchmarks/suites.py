"""Other people's tests with funcnet in JAX's place: `python tests/benchmarks/suites.py PATH …`.

funcnet.grad promises what jax.grad does, and nobody has asked more of jax.grad than the tests of JAX and of
the libraries on it. Each file of tests runs twice. First with JAX as it is, to see which tests call reverse
mode, themselves or through a library, and pass. These run again with funcnet's functions in the place of
jax.grad, value_and_grad, vjp, jacrev, jacobian and hessian: in `jax`, in `jax._src.api`, and wherever a
module holds them under another name. What JAX calls for its own ends (vjp inside of jax.grad; the listing
of residuals) stays JAX's, and so does what funcnet calls.

For each file the table says how many tests call reverse mode and pass with JAX, and how many of these pass
with funcnet. The JSON has their ids and, for those that fail, the errors, the most frequent first: its first
line, the last line of funcnet that it went through, and its tests. After a repair, `--only-failing` runs
again those that failed in an earlier JSON, and `--again` all that passed with JAX.

The tests come from a repository at the version that is installed, without the package itself, which would
be imported instead of the installed one:

    git clone --filter=blob:none https://github.com/jax-ml/jax && mkdir suite
    git -C jax archive jax-v0.10.2 tests pyproject.toml | tar x -C suite
    JAX_NUM_GENERATED_CASES=1 python tests/benchmarks/suites.py suite/tests/api_test.py --out api.json

JAX_NUM_GENERATED_CASES says how many cases JAX draws for each of its randomised tests. pyproject.toml has
pytest's options; the suites' own requirements (absl-py, beartype, chex, …) must be installed.

A test that kills Python, or takes longer than `--limit`, is written down, and the others go on without it.
"""

import argparse
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = {
    "grad": "grad",
    "value_and_grad": "value_and_grad",
    "vjp": "vjp",
    "jacrev": "jacobian",
    "jacobian": "jacobian",
    "hessian": "hessian",
}
"""Functions of JAX and what stands in their place."""

OWN = ("funcnet", "jax._src.api", "jax._src.ad_checkpoint")
"""Modules whose calls are answered by JAX: they are not questions of a test or of a library."""

MODE, LOG, WANTED = "SUITES_MODE", "SUITES_LOG", "SUITES_WANTED"
"""Variables that tell the plugin whose functions to use, where to write, and what to run."""

REPORTS = pytest.StashKey[list[dict[str, Any]]]()

calls: Counter[str] = Counter()


def within(module: str, packages: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def replacement(original: Any, ours: Any) -> Any:
    """The function that tests find: it counts a call and answers it by `ours`."""

    @functools.wraps(original)  # a test's id may hold the name
    def counted(*args: Any, **kwargs: Any) -> Any:
        if within(sys._getframe(1).f_globals.get("__name__", ""), OWN):
            return original(*args, **kwargs)
        calls[original.__name__] += 1
        if kwargs.get("reduce_axes") == ():  # JAX takes nothing else for it any more
            del kwargs["reduce_axes"]
        return ours(*args, **kwargs)

    return counted


def replace(mode: str) -> None:
    """Put functions that count in the place of JAX's, in every module that is there."""
    import jax

    import funcnet

    originals = {name: getattr(jax, name) for name in NAMES}
    replaced = {
        id(original): replacement(original, getattr(funcnet, NAMES[name]) if mode == "funcnet" else original)
        for name, original in originals.items()
    }
    for name, module in list(sys.modules.items()):
        if not within(name, ("funcnet", __name__)):
            for key, value in list(getattr(module, "__dict__", {}).items()):
                if id(value) in replaced:
                    setattr(module, key, replaced[id(value)])


def entries(log: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(log).read_text("utf-8").splitlines()]


def write(log: str | Path, **entry: Any) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    if MODE in os.environ:
        replace(os.environ[MODE])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    begun = {entry["test"] for entry in entries(os.environ[LOG])}
    wanted = json.loads(Path(os.environ[WANTED]).read_text("utf-8")) or [item.nodeid for item in items]
    left = {*wanted} - begun
    items[:] = [item for item in items if item.nodeid in left]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    calls.clear()
    item.stash[REPORTS] = []
    write(os.environ[LOG], test=item.nodeid, outcome="died", error="", where="", called=[])
    result = yield
    failed = next((one for one in item.stash[REPORTS] if one["outcome"] != "passed"), None)
    verdict = failed or {"outcome": "passed", "error": "", "where": ""}
    write(os.environ[LOG], test=item.nodeid, **verdict, called=sorted(calls))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    error, where = ("", "") if call.excinfo is None else (first_line(call.excinfo), place(call.excinfo))
    item.stash[REPORTS].append({"outcome": report.outcome, "error": error, "where": where})
    return report


def first_line(error: pytest.ExceptionInfo) -> str:
    lines = [line for line in str(error.value).splitlines() if line.strip()]
    return f"{error.typename}: {lines[0] if lines else error.traceback[-1].statement}"[:300]


def place(error: pytest.ExceptionInfo) -> str:
    """The last line of funcnet on the way to an error, or the line that raised it."""
    lines = [f"{entry.path}:{entry.lineno + 1}" for entry in error.traceback]
    ours = [line.rpartition("funcnet/")[2] for line in lines if "/funcnet/" in line]
    return f"funcnet/{ours[-1]}" if ours else lines[-1].rpartition("/")[2]


def run(file: Path, mode: str, wanted: list[str] | None, limit: float) -> dict[str, dict[str, Any]]:
    """What became of each test of a file; in a new process after each one that ends the process."""
    with tempfile.TemporaryDirectory() as folder:
        log, chosen = Path(folder, "log"), Path(folder, "wanted")
        log.touch()
        chosen.write_text(json.dumps(wanted), "utf-8")
        paths = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        told = {MODE: mode, LOG: str(log), WANTED: str(chosen)}
        variables = {**os.environ, **told, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
        while True:
            ended = process(file, log, variables, limit)
            found = {entry["test"]: entry for entry in entries(log)}
            if not found and "no tests ran" not in ended:
                print(f"{file.name} cannot be read, and {ended}", file=sys.stderr)
                return {str(file): {"outcome": "died", "error": ended, "where": "", "called": []}}
            last = next(reversed(found.values()), None)
            if last is None or last["outcome"] != "died" or last["error"]:
                return found
            write(log, **{**last, "error": ended.splitlines()[0]})


def process(file: Path, log: Path, variables: dict[str, str], limit: float) -> str:
    """Run pytest until it ends, or until no test has begun or ended for so long; say how it ended."""
    command = [sys.executable, "-m", "pytest", "-p", Path(__file__).stem, "-p", "no:cacheprovider", "-q"]
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            [*command, str(file)],
            cwd=file.parent,
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        began = time.time()
        while child.poll() is None and time.time() - max(began, log.stat().st_mtime) < limit:
            time.sleep(0.2)
        silent = child.poll() is None
        if silent:
            os.killpg(child.pid, signal.SIGKILL)  # with all that the test has started
        code = child.wait()
        output.seek(0)
        how = f"takes longer than {limit:.0f} s" if silent else f"ends Python with exit code {code}"
        return how + "\n" + output.read()[-2000:]


def passing(found: dict[str, dict[str, Any]]) -> list[str]:
    """The tests that call reverse mode and pass."""
    return [test for test, entry in found.items() if entry["called"] and entry["outcome"] == "passed"]


def causes(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The tests that do not pass, by error; errors that begin alike, but for numbers, are one."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for test, entry in found.items():
        if entry["outcome"] != "passed":
            key = re.sub(r"0x[0-9a-f]+|\d+", "0", entry["error"])[:60], entry["where"]
            group = groups.setdefault(key, {"error": entry["error"], "where": entry["where"], "tests": []})
            group["tests"].append(test)
    return sorted(groups.values(), key=lambda group: -len(group["tests"]))


def study(file: Path, earlier: dict[str, Any] | None, options: argparse.Namespace) -> dict[str, Any]:
    """Both runs of a file, or the second alone if an earlier study is given."""
    if earlier is None:
        plain = run(file, "jax", None, options.limit)
        earlier = {"tests": passing(plain), "failing": [], "not with JAX": causes(plain)}
    wanted = earlier["tests"]
    if options.only_failing:
        wanted = [test for group in earlier["failing"] for test in group["tests"]]
    found = run(file, "funcnet", wanted, options.limit) if wanted else {}
    missing = {"outcome": "missing", "error": "is not collected", "where": ""}
    return {**earlier, "failing": causes({test: found.get(test, missing) for test in wanted})}


def expanded(paths: list[Path]) -> Iterator[Path]:
    """The files of tests among the paths and in the folders among them."""
    for path in paths:
        names = {*path.rglob("test_*.py"), *path.rglob("*_test.py")} if path.is_dir() else {path}
        yield from (name.resolve() for name in sorted(names))


def row(name: str, studies: list[dict[str, Any]]) -> str:
    """How many tests of some files pass with JAX, and with funcnet."""
    total = sum(len(one["tests"]) for one in studies)
    failing = sum(len(group["tests"]) for one in studies for group in one["failing"])
    return f"{name:60} {total:14} {total - failing:14}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files, or folders, of tests")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the results go as JSON")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for each test")
    earlier = parser.add_mutually_exclusive_group()
    for flag, which in (("--only-failing", "that fail"), ("--again", "that pass with JAX")):
        earlier.add_argument(flag, type=Path, metavar="FILE", help=f"run those again {which} in this JSON")
    return parser.parse_args()


def main() -> None:
    options = parse()
    source = options.only_failing or options.again
    earlier = json.loads(source.read_text("utf-8")) if source else {}
    files = list(expanded(options.paths)) or [Path(name) for name in earlier]
    studies = dict(earlier)
    print(f"{'tests that call reverse mode':60} {'pass with JAX':>14} {'with funcnet':>14}")
    for file in files:
        studies[str(file)] = study(file, earlier.get(str(file)), options)
        print(row("/".join(file.parts[-3:]), [studies[str(file)]]), flush=True)
        if options.out:
            options.out.write_text(json.dumps(studies, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(row("together", [studies[str(file)] for file in files]))


if __name__ == "__main__":
    main()
