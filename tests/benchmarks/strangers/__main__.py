"""What the checker says of code that nobody here wrote: `python -m tests.benchmarks.strangers [NAME ...]`.

Four groups of rows:

    rules      custom rules of packages that people use; for some it is known that they are wrong
    mutants    the right ones among them, broken in a way that a person could break them
    models     models of flax, equinox, haiku and numpyro, right and with a stop_gradient in the wrong place
    loops      functions that loop, diverge or never end at points where nobody asked for them

A NAME selects the rows whose name contains it, or a whole group. Each row runs in a process of its own, which
is killed when it takes too long: a hang is a row of the table too, and so is a package that is not installed.
The seconds are of CPU time, of all threads and children, for the first check and for the same once more in
the same process; the imports of the packages are not in them.

Rows with an arrow are not as expected: a right gradient that is refused, a wrong one that is accepted or
blamed on the wrong layer, a hang. Their messages stand below the table, and the exit code is 1.
"""

import argparse
import math
import sys
from collections.abc import Sequence

from tests.benchmarks.strangers.process import ROWS, Answer, ask


def line(group: str, name: str, expected: str, verdict: str, first: str, second: str) -> str:
    return f"{group:8} {name:88} {expected:>8} {verdict:>18} {first:>8} {second:>8}"


def cells(answer: Answer) -> str:
    row = answer.row
    seconds = ("—" if math.isnan(one) else f"{one:.1f}" for one in (answer.first, answer.second))
    return line(row.group, row.name, row.expected, answer.verdict, *seconds) + "  <-" * (not answer.good)


def totals(answers: Sequence[Answer]) -> list[str]:
    """For the right and the wrong rows of each group: how many are as expected, and the seconds."""
    lines = []
    for group, expected in dict.fromkeys((one.row.group, one.row.expected) for one in answers):
        these = [one for one in answers if (one.row.group, one.row.expected) == (group, expected)]
        good = sum(one.good for one in these)
        spans = (spread([one.first for one in these]), spread([one.second for one in these]))
        lines.append(
            f"{group:8} {expected:8} {good:3} of {len(these):3}   first {spans[0]}, second {spans[1]}"
        )
    return lines


def spread(seconds: Sequence[float]) -> str:
    """The median and the largest."""
    known = sorted(one for one in seconds if not math.isnan(one))
    return f"{known[len(known) // 2]:5.1f} s in the median, at most {known[-1]:5.1f} s" if known else "—"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.strangers",
        description="What the checker says of code that nobody here wrote.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of the name of a row, or a group")
    names = parser.parse_args().names
    chosen = [row for row in ROWS if not names or any(one == row.group or one in row.name for one in names)]
    print(line("group", "name", "expected", "verdict", "first s", "second s"), flush=True)
    answers = []
    for row in chosen:
        answers.append(ask(row))
        print(cells(answers[-1]), flush=True)
    bad = [one for one in answers if not one.good]
    for one in bad:
        print(f"\n{one.row.name}: expected {one.row.expected} {one.row.wrong}\n{one.message}")
    print("", *totals(answers), sep="\n")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
