"""Which small bugs would the tests let through? `python -m tests.benchmarks.mutants`.

Mutation testing (DeMillo, Lipton and Sayward 1978, Hints on test data selection): a suite of tests is as good
as the bugs it finds, and where nobody knows the bugs they are planted. A mutant is the package with one of
them; `mutant_table` has forty. The suite kills a mutant if a test fails on it. One that survives shows what
nobody looks at: the answer to it is a test of the behaviour that it broke, not of the line.

Each mutant is made in a temporary copy of the checkout, where its tests run nearest first: the file that
mirrors the mutated one, its folder, everything else. The first failure ends it, after ten seconds to some
minutes; a survivor takes as long as the whole suite. On two cores all forty are an afternoon, most of it for
the survivors. They are cheaper together:

    python -m tests.benchmarks.mutants --near                who survives the tests of its own part
    python -m tests.benchmarks.mutants --together A B C      all tests, once, on three bugs at a time

The second shows every test that fails, and its name tells which of the three it is about. When the code has
been rewritten, `--check` says in a second which mutants have to follow.

A test that fails on the package as it is too says nothing and is left out. Tests that compare times may fail
because two mutants run side by side: look at what killed a mutant. Copies are made while the study goes on,
so give `--tests` a checkout that nobody edits (`git worktree add`).

The report has a line for each mutant: its name, the test that killed it or SURVIVED, and the seconds; in the
end all of them as a table, the count for each part of the package, and the total. A hang is a kill.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath
from threading import Event
from typing import NamedTuple

from tests.benchmarks.mutant_table import MUTANTS, PARTS, Mutant

COPIED = ("funcnet", "tests", "notebooks", "README.md", "pyproject.toml")
LEFT_OUT = ("__pycache__", ".ipynb_checkpoints", ".git", ".venv*")

MIRRORS = {"plugin/pytest_funcnet.py": "check/plugin.py", "__main__.py": "cli/cli.py"}
"""Files of funcnet/ whose tests stand elsewhere than the names say."""

PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "--color=no", "--whole")
WHERE = "import funcnet, pytest_funcnet; print(funcnet.__file__, pytest_funcnet.__file__, sep='\\n')"

PASSED, FAILED, INTERRUPTED, NOT_FOUND, NO_TESTS = 0, 1, 2, 4, 5
"""Exit codes of pytest; NOT_FOUND stands for any wrong argument."""

TELLING = (PASSED, FAILED, INTERRUPTED, NO_TESTS, None)
"""Those after which it is known what the tests say; after others pytest itself has failed."""


class StaleError(Exception):
    """The code that a mutant changes is not there any more."""


class Verdict(NamedTuple):
    """What a suite says of a mutant; `killed_by` is None for a survivor."""

    name: str
    part: str
    what: str
    killed_by: str | None
    seconds: float

    def __str__(self) -> str:
        return f"{self.name:26} {self.part:9} {self.seconds:6.0f} s  {self.killed_by or 'SURVIVED'}"


def mutated(checkout: Path, mutants: Sequence[Mutant]) -> dict[str, str]:
    """The new texts of the files that the mutants change.

    Raises:
        StaleError: what a mutant replaces does not stand in its file exactly once, or its code is none.
    """
    texts: dict[str, str] = {}
    for mutant in mutants:
        for file, old, new in mutant.edits:
            path = checkout / file
            text = texts.get(file) or (path.read_text("utf-8") if path.exists() else "")
            if text.count(old) != 1:
                raise StaleError(
                    f"mutant {mutant.name} must be adapted: {file} has this text {text.count(old)} times, "
                    f"expected once:\n{old}"
                )
            texts[file] = text.replace(old, new)
    for file, text in texts.items():
        try:
            compile(text, file, "exec")
        except SyntaxError as error:
            raise StaleError(f"mutant {mutants[0].name} must be adapted: {error}") from error
    return texts


@contextlib.contextmanager
def copied(checkout: Path, mutants: Sequence[Mutant]) -> Iterator[Path]:
    """A folder with a copy of the checkout in which the mutants have been made."""
    texts = mutated(checkout, mutants)
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve()
        for source in (checkout / name for name in COPIED):
            if source.is_dir():
                shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns(*LEFT_OUT))
            elif source.exists():
                shutil.copy(source, root)
        for file, text in texts.items():
            (root / file).write_text(text, "utf-8")
        assert_imported(root)
        yield root


def environment(root: Path) -> dict[str, str]:
    """The variables under which Python, and whatever tests start, imports funcnet from the copy.

    The pytest plugin is installed as a module of its own, so its folder must come before that too.
    """
    paths = [str(root), str(root / "funcnet/plugin"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def assert_imported(root: Path) -> None:
    """Nothing is learned from a run that imports the package that is installed."""
    command = [sys.executable, "-c", WHERE]
    done = subprocess.run(
        command, cwd=root.parent, env=environment(root), capture_output=True, text=True, check=True
    )
    files = [Path(line).resolve() for line in done.stdout.split("\n") if line]
    if not all(file.is_relative_to(root) for file in files):
        raise RuntimeError(f"the tests would import {done.stdout.split()}, expected files in {root}")


def run(
    arguments: Sequence[str], root: Path, limit: float, stop: Event, telling: Sequence[int | None] = TELLING
) -> tuple[int | None, str]:
    """Pytest in a copy: its exit code, None if it took longer than the limit, and its output."""
    command = [sys.executable, *PYTEST, *arguments]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment(root),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + limit
        while process.poll() is None and time.monotonic() < end and not stop.wait(0.2):
            pass
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with all that the tests have started
            process.wait()
            code = None
        else:
            code = process.returncode
        output.seek(0)
        text = output.read()
    if stop.is_set():
        raise RuntimeError("stopped")
    if code not in telling:
        raise RuntimeError(
            f"pytest {' '.join(arguments)} ended with {code}, which tells nothing:\n{text[-5000:]}"
        )
    return code, text


def failing(output: str) -> list[str]:
    """The tests that pytest's summary names."""
    _, _, summary = output.rpartition("short test summary info")
    return re.findall(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", summary, re.MULTILINE)


def stages(mutant: Mutant, root: Path) -> Iterator[list[str]]:
    """Pytest's arguments for the tests nearest to a mutant, for those beside them, and for all others."""
    parts = [PurePosixPath(edit.file).relative_to("funcnet") for edit in mutant.edits]
    mirrors = [PurePosixPath("tests", MIRRORS.get(str(part), part)) for part in parts]
    files = [mirror.with_name(f"test_{mirror.stem.strip('_')}.py") for mirror in mirrors]
    near, beside = (
        [str(path) for path in dict.fromkeys(paths) if (root / path).exists()]
        for paths in (files, [mirror.parent for mirror in mirrors])
    )
    if near:
        yield near
    if beside:
        yield [*beside, *(f"--ignore={path}" for path in near)]
    yield [f"--ignore={path}" for path in beside]


def killer(arguments: Sequence[str], root: Path, options: argparse.Namespace, stop: Event) -> str | None:
    """The first test that fails on a mutant, unless it fails on the package as it is too."""
    left_out: list[str] = []
    while True:
        code, output = run(["-x", *arguments, *left_out], root, options.limit, stop)
        if code is None:
            return "timeout"
        if code not in (FAILED, INTERRUPTED):
            return None
        test = next(iter(failing(output)), "")
        if not test:
            raise RuntimeError(f"tests fail, and pytest's summary does not name them:\n{output[-5000:]}")
        with copied(options.tests, []) as original:  # which may not have the test: there is one for each rule
            code, _ = run([test], original, options.limit, stop, (*TELLING, NOT_FOUND))
        if code not in (FAILED, INTERRUPTED):
            return test
        left_out.append(f"--deselect={test}" if "::" in test else f"--ignore={test}")


def verdict(mutant: Mutant, options: argparse.Namespace, stop: Event) -> Verdict:
    """Run the tests on a mutant, nearest first, until one fails."""
    began = time.monotonic()
    with copied(options.tests, [mutant]) as root:
        *near, rest = stages(mutant, root)
        tried = (killer(one, root, options, stop) for one in (near if options.near else [*near, rest]))
        killed_by = next(filter(None, tried), None)
    return Verdict(mutant.name, mutant.part, mutant.what, killed_by, round(time.monotonic() - began, 1))


def study(mutants: Sequence[Mutant], options: argparse.Namespace) -> None:
    """The verdict on each mutant, printed and written as it comes, and what they amount to."""
    stop = Event()
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            runs = [pool.submit(verdict, one, options, stop) for one in mutants]
            for done in as_completed(runs):
                verdicts.append(done.result())
                print(verdicts[-1], flush=True)
                write(options.out, [one._asdict() for one in verdicts])
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    order = [one.name for one in mutants]
    print("", *sorted(verdicts, key=lambda one: order.index(one.name)), "", *counts(verdicts), sep="\n")


def counts(verdicts: Sequence[Verdict]) -> list[str]:
    """How many mutants of each part of the package are killed, and of all."""
    lines = []
    for part in (*PARTS, "all"):
        these = [one for one in verdicts if part in (one.part, "all")]
        if these:
            lines.append(f"{part:9} {sum(one.killed_by is not None for one in these)} of {len(these)}")
    return lines


def together(mutants: Sequence[Mutant], options: argparse.Namespace) -> None:
    """Run the whole suite once on a package with several bugs, and print every test that fails."""
    with copied(options.tests, mutants) as root:
        limit = 4 * options.limit  # it does not end with the first failure
        code, output = run(["--continue-on-collection-errors"], root, limit, Event())
    tests = ["timeout"] if code is None else failing(output)
    print(*tests, f"{len(tests)} tests fail on {', '.join(one.name for one in mutants)}", sep="\n")
    write(options.out, {"together": [one.name for one in mutants], "failing": tests})


def check(mutants: Sequence[Mutant], checkout: Path) -> None:
    """Say which mutants cannot be made, or no longer compile."""
    wrong = []
    for mutant in mutants:
        try:
            mutated(checkout, [mutant])
        except StaleError as error:
            wrong.append(str(error))
    print(*wrong, f"{len(mutants) - len(wrong)} of {len(mutants)} mutants can be made", sep="\n")
    if wrong:
        raise SystemExit(1)


def write(path: Path | None, content: object) -> None:
    if path:
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def parse() -> argparse.Namespace:
    names = [mutant.name for mutant in MUTANTS]
    here = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.mutants", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--tests", type=Path, default=here, metavar="CHECKOUT", help="by default this one")
    parser.add_argument("--jobs", type=int, default=2, help="so many mutants run side by side")
    parser.add_argument("--limit", type=float, default=1800, metavar="SECONDS", help="for each run of pytest")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the results go as JSON too")
    parser.add_argument("--near", action="store_true", help="leave out all but the mutated part's own tests")
    parser.add_argument("--check", action="store_true", help="only see whether the mutants can be made")
    some = parser.add_mutually_exclusive_group()
    for flag, what in (("--only", "these mutants"), ("--together", "these at once, all tests")):
        some.add_argument(flag, nargs="+", choices=names, metavar="NAME", help=what)
    return parser.parse_args()


def main() -> None:
    options = parse()
    options.tests = options.tests.resolve()
    names = options.together or options.only
    chosen = [one for one in MUTANTS if names is None or one.name in names]
    if options.check:
        check(chosen, options.tests)
    elif options.together:
        together(chosen, options)
    else:
        study(chosen, options)


if __name__ == "__main__":
    main()
