"""The power of `funcnet.check_vjp` beside `jax.test_util.check_grads`: what is caught, what is rejected.

    python -m tests.benchmarks.bench_checker [size ...]

All rules of tests/check/study.py at each size: the wrong ones in float32, the right ones in float32,
bfloat16 and float16. check_grads gets the floats among the arguments and keeps its own tolerances; an error
of its own counts as "cannot run". The seconds are those of the right rule in float32: of the first and the
second check_vjp, and of the second check_grads.
"""

import os
import platform
import sys
import time
from collections import Counter

import jax
import jax.numpy as jnp
from jax.test_util import check_grads

from funcnet import check_vjp
from tests.check.study import wrong
from tests.check.study_rules import DTYPES, RULES, SIZES

COLUMNS = [
    "wrong",
    "ours",
    "check_grads",
    "cannot run",
    "ours",
    "check_grads",
    "first",
    "second",
    "check_grads",
]


def by_check_grads(function, *args):
    leaves, tree = jax.tree.flatten(args)
    floats = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def of_floats(*xs):
        replaced = dict(zip(floats, xs, strict=True))
        return function(*jax.tree.unflatten(tree, [replaced.get(i, leaf) for i, leaf in enumerate(leaves)]))

    check_grads(of_floats, [leaves[i] for i in floats], order=1, modes=["rev"])


def verdict(check, rule, args):
    """ "accepted", "rejected" or "cannot run", and the seconds that took."""
    start = time.perf_counter()
    try:
        check(rule.custom_vjp(), *args)
    except AssertionError:
        found = "rejected"
    except Exception:
        found = "cannot run"
    else:
        found = "accepted"
    return found, time.perf_counter() - start


def row(rule, n):
    """The numbers of a line, and the names of what check_vjp gets wrong."""
    args = rule.args(n)
    (_, first), (_, second) = (verdict(check_vjp, rule, args) for _ in range(2))
    _, theirs_second = [verdict(by_check_grads, rule, args) for _ in range(2)][1]
    right = {dtype: rule.args(n, dtype) for dtype in DTYPES}
    ours, theirs = (
        {dtype: verdict(check, rule, args)[0] for dtype, args in right.items()}
        for check in (check_vjp, by_check_grads)
    )
    rules = wrong(rule)
    ours_wrong, theirs_wrong = (
        {name: verdict(check, one, args)[0] for name, one in rules.items()}
        for check in (check_vjp, by_check_grads)
    )
    counts = Counter(theirs_wrong.values())
    numbers = [
        len(rules),
        sum(found == "rejected" for found in ours_wrong.values()),
        counts["rejected"],
        counts["cannot run"],
        sum(found != "accepted" for found in ours.values()),
        sum(found != "accepted" for found in theirs.values()),
        first,
        second,
        theirs_second,
    ]
    faults = [f"{name}: {found}" for name, found in ours_wrong.items() if found != "rejected"]
    faults += [f"right in {dtype}: {found}" for dtype, found in ours.items() if found != "accepted"]
    return numbers, [f"{rule.name}, n = {n}, {fault}" for fault in faults]


def line(name, numbers):
    cells = (f"{number:.2f}" if isinstance(number, float) else str(number) for number in numbers)
    return f"{name:22}" + "".join(f"{cell:>12}" for cell in cells)


def main():
    print(f"{'':34}{'caught by':>12}{'rejected by':>36}{'seconds':>24}")
    print(line("", COLUMNS))
    rows, faults = [], []
    for n in map(int, sys.argv[1:] or SIZES):
        for rule in RULES:
            numbers, found = row(rule, n)
            rows.append(numbers)
            faults += found
            print(line(f"{rule.name}, {n}", numbers), flush=True)
    print(line("total", [sum(column) for column in zip(*rows, strict=True)]))
    print(f"right rules: {len(rows) * len(DTYPES)}", *faults, sep="\n")
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; Python {platform.python_version()}, jax {jax.__version__}")


if __name__ == "__main__":
    main()
