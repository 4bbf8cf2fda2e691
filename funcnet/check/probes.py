"""The compiled programs of a check: many probes in few calls.

A probe is a point and an upstream gradient; a program maps over a stack of them (`lax.map`), so that a
check runs a handful of programs however many probes it makes:

    pullbacks    (x, ȳ)  →  f(x), y, x̄          the function under test, and once more the undecorated one
    slopes       (x, ȳ, v)  →  ⟨ȳ, f(x ± h v) − f(x)⟩ / h for all steps h, and ⟨ȳ, J v⟩ by forward mode

A program is traced anew for every check, so an edited rule is never mistaken for the old one; what
compiles to the same text is compiled once.
"""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check.differences import STEPS, Slope, slope

BATCH = 8
"""How many directions one call of `slopes` takes."""

_QUICK = (("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True))


@contextlib.contextmanager
def double() -> Iterator[None]:
    """Float64 inside, whatever is switched on outside, on the CPU."""
    with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
        yield


@dataclass(frozen=True)
class _Program:
    text: str
    inputs: str
    outputs: str
    options: tuple[tuple[str, Any], ...]
    lowered: Any = field(compare=False, repr=False)


@functools.lru_cache(maxsize=256)
def _compile(program: _Program) -> Any:
    return program.lowered.compile(dict(program.options))


def compiled(function: Callable, *args: Any, quick: bool = False) -> Any:
    """Run a function as one compiled program; the result as numpy arrays.

    With `quick` it is compiled with few optimizations, for an oracle that runs a few times.
    """
    lowered = jax.jit(function, keep_unused=True).lower(*args)
    text = lowered.as_text()
    program = _Program(text, str(lowered.in_tree), str(lowered.out_tree), _QUICK if quick else (), lowered)
    run = _compile.__wrapped__(program) if "callback" in text else _compile(program)
    return jax.tree.map(np.asarray, run(*args))


@dataclass(frozen=True, eq=False)
class Probe:
    """A point and an upstream gradient."""

    xs: tuple[Host, ...]
    y_bars: tuple[Host, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a function says at a probe: f(x), the y of its forward pass, and x̄."""

    ys: tuple[Host, ...]
    forward: tuple[Host, ...]
    x_bars: tuple[Host, ...]


def pullbacks(
    flat: Callable,
    rest: Sequence[Any],
    probes: Sequence[Probe],
    vjp: Callable = jax.vjp,
    mapped: Callable = jax.lax.map,
    quick: bool = False,
) -> list[Answer]:
    """The answers of a function to a list of probes, in one call.

    Args:
        flat: `(rest, *xs) -> ys`.
        rest: what is not differentiated.
        probes: points and upstream gradients, all of the same shapes and dtypes.
        vjp: what differentiates.
        mapped: `mapped(function, stacks)` runs a function on each probe.
        quick: compile it with few optimizations.
    """

    def program(rest: Any, stacks: Any) -> Any:
        return mapped(lambda probe: pullback(flat, rest, probe[0], probe[1], vjp), stacks)

    columns = zip(*((probe.xs, probe.y_bars) for probe in probes), strict=True)
    stacks = [tuple(map(np.stack, zip(*column, strict=True))) for column in columns]
    answers = compiled(program, tuple(rest), stacks, quick=quick)
    one = [jax.tree.map(operator.itemgetter(i), answers) for i in range(len(probes))]
    return [Answer(ys, forward, x_bars) for ys, forward, x_bars in one]


def pullback(
    flat: Callable, rest: Sequence[Any], xs: Any, y_bars: Any, vjp: Callable = jax.vjp
) -> tuple[Any, Any, Any]:
    """f(x), the y of the forward pass, and x̄, at one point."""
    ys, back = vjp(functools.partial(flat, rest), *xs)
    return flat(rest, *xs), ys, back(y_bars)


def slopes(
    flat: Callable,
    rest: Sequence[Any],
    xs: Any,
    y_bars: Any,
    directions: Sequence[Any],
    eps: float,
    forward: bool,
) -> tuple[list[Slope], Host]:
    """The slopes of ⟨ȳ, f⟩ along directions, and what forward mode says they are.

    Args:
        flat: `(rest, *xs) -> ys`, undecorated.
        rest: what is not differentiated.
        xs: the point.
        y_bars: the upstream gradient.
        directions: for each direction one array for each x.
        eps: the relative rounding of f's values.
        forward: whether forward mode can say it too; else it is NaN.
    """

    def mapped(rest: Any, xs: Any, y_bars: Any, directions: Any) -> Any:
        at = functools.partial(flat, rest)
        ys = at(*xs)

        def total(parts: Any) -> Any:
            return sum(map(jnp.sum, parts), jnp.zeros(()))

        def paired(others: Any) -> list[Any]:
            return [(y_bar * y).real for y_bar, y in zip(y_bars, others, strict=True)]

        def side(h: Any, v: Any) -> list[Any]:
            moved = at(*(x + h * part for x, part in zip(xs, v, strict=True)))
            return paired([(one - y) / h for one, y in zip(moved, ys, strict=True)])

        def along(v: Any) -> Any:
            def step(h: Any) -> Any:
                rises, falls = side(h, v), side(-h, v)
                low, high = map(jnp.minimum, rises, falls), map(jnp.maximum, rises, falls)
                return total(rises), total(falls), total(low), total(high)

            tangent = total(paired(jax.jvp(at, tuple(xs), tuple(v))[1])) if forward else jnp.nan
            return jax.lax.map(step, jnp.asarray(STEPS)), tangent

        size = total([abs(y_bar * y) for y_bar, y in zip(y_bars, ys, strict=True)])
        return *jax.lax.map(along, directions), size

    found, tangents = [], []
    for start in range(0, len(directions), BATCH):
        batch = list(directions[start : start + BATCH])
        batch += batch[:1] * (BATCH - len(batch))
        stacks = tuple(np.stack(parts) for parts in zip(*batch, strict=True))
        sides, found_tangents, size = compiled(
            mapped, tuple(rest), tuple(xs), tuple(y_bars), stacks, quick=True
        )
        noise = eps * size / STEPS
        found += [
            slope(rises, falls, low, high, noise) for rises, falls, low, high in zip(*sides, strict=True)
        ]
        tangents += list(found_tangents)
    return found[: len(directions)], np.array(tangents[: len(directions)])
