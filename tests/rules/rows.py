"""Rows of the tables that test the rules, and the checks that every row goes through.

A row is a function of arrays in which one primitive is used, and where to evaluate it. `check` compares
its gradient by funcnet with two others: `jax.vjp` in float64 and Richardson-extrapolated central
differences in float64. It runs the rule under jit and under vmap, and then breaks it on purpose in four
ways, each of which the comparison must catch. All that is one compiled program, since tracing and compiling
are what takes the time. The second order is compared with `jax.vjp` of `jax.vjp` in test_second_order.py,
and one row of every rule goes through `funcnet.check_vjp` in test_checked.py.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from funcnet import RULES, rule, vjp

Sampler = Callable[[np.random.Generator], Sequence[Any]]
"""From a generator to the arrays that a function is called with."""

RIGHT = (1.0, 0.0, 0.0)
"""The knobs of `_breakable` that leave a rule as it is."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        primitive: whose rule it tests.
        function: of arrays only; uses the primitive.
        inputs: the arrays, or a function from a numpy generator to them. Floats should be float64
            (complex128); a row for another dtype gives arrays of that dtype.
        name: what is special about the row, unique for the primitive.
        jax: whether `jax.vjp` is an oracle here: it has a gradient and is right.
        differences: whether finite differences are one: no kink near, no discontinuity.
        second: whether the second order is compared with JAX's.
        tolerance: relative to the largest element of the reference.
        reason: why an oracle is left out or the tolerance is looser than the default.
    """

    primitive: str
    function: Callable[..., Any]
    inputs: Sequence[Any] | Sampler
    name: str = ""
    jax: bool = True
    differences: bool = True
    second: bool = True
    tolerance: float = 1e-9
    reason: str = ""

    def __post_init__(self):
        loosened = not (self.jax and self.differences and self.second) or self.tolerance > 1e-9
        assert self.reason or not loosened, f"{self}: give the reason"

    def __str__(self) -> str:
        return f"{self.primitive}-{self.name}" if self.name else self.primitive

    def sample(self, seed: int) -> tuple[Any, ...]:
        """The inputs."""
        return tuple(self.inputs(np.random.default_rng(seed)) if callable(self.inputs) else self.inputs)


def normal(*shapes: tuple[int, ...]) -> Sampler:
    """Arrays of these shapes, of independent standard normal numbers."""
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes)


def complex_normal(*shapes: tuple[int, ...]) -> Sampler:
    """The same with such real and imaginary parts."""
    return lambda rng: tuple(rng.normal(size=shape) + 1j * rng.normal(size=shape) for shape in shapes)


def positive(*shapes: tuple[int, ...]) -> Sampler:
    """Arrays of these shapes, of numbers from ½ to 2."""
    return lambda rng: tuple(rng.uniform(0.5, 2, size=shape) for shape in shapes)


def squared(function: Callable) -> Callable:
    """A second order that is not zero, of a function that is linear, or is so between ties."""
    return lambda *xs: jax.tree.map(lambda y: y * y, function(*xs))


def each(rows: Sequence[Row]) -> Callable[[Callable], Callable]:
    """Decorator: a test is run for each of these rows, in float64; half of them have their turn each day."""
    return _marked(2, pytest.mark.parametrize("row", rows, ids=str))


def each_in_a_short_dtype(rows: Sequence[Row]) -> Callable[[Callable], Callable]:
    """Decorator: a test is run for each of these rows, in float16 and bfloat16; a third each day."""
    dtypes = pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16], ids=lambda dtype: dtype.__name__)
    return _marked(3, pytest.mark.parametrize("row", rows, ids=str), dtypes)


def _marked(turns: int, *marks: pytest.MarkDecorator) -> Callable[[Callable], Callable]:
    all_marks = (*marks, pytest.mark.usefixtures("x64"), pytest.mark.in_turns(turns))
    return lambda test: functools.reduce(lambda made, mark: mark(made), all_marks, test)


def check(row: Row) -> None:
    """Put a row through all comparisons but that of the second order; call it under x64."""
    xs = tuple(map(jnp.asarray, row.sample(0)))
    weights = [_signs(y.shape, y.dtype, 1) for y in jax.tree.leaves(jax.eval_shape(row.function, *xs))]
    points = _points(xs) if row.differences and row.name else None
    examples = [tuple(map(jnp.asarray, row.sample(seed))) for seed in (0, 1)] if callable(row.inputs) else []
    stacked = [jnp.stack(parts) for parts in zip(*examples, strict=True)]

    @jax.jit
    def everything(knobs: Any, *xs: Any) -> dict[str, Any]:
        found: dict[str, Any] = _gradients(row, knobs, xs, weights)
        if points:
            found["values"] = jax.lax.map(functools.partial(_loss, row, weights), points)
        if stacked:
            found["vmap"] = jax.vmap(lambda *xs: _vjp(vjp, row, xs, weights))(*stacked)
        return found

    found = everything(RIGHT, *xs)
    assert [x_bar.dtype for x_bar in found["funcnet"]] == [x.dtype for x in _floats(xs)]
    if row.jax:
        _compare(row, "jax.vjp", found["funcnet"], found["jax"])
    if points:
        _check_differences(row, xs, found["values"], found["funcnet"])
    if stacked:
        other = everything(RIGHT, *examples[1])["funcnet"]
        single = [np.stack(pair) for pair in zip(found["funcnet"], other, strict=True)]
        _compare(row, "vmap", found["vmap"], single)
    _check_power(row, everything, xs, found["funcnet"])


def check_second_order(row: Row) -> None:
    """Compare the gradient of a row's gradient with that of JAX; call it under x64."""
    xs = tuple(map(jnp.asarray, row.sample(0)))
    weights = [_signs(y.shape, y.dtype, 1) for y in jax.tree.leaves(jax.eval_shape(row.function, *xs))]
    directions = [_signs(x.shape, x.dtype, 2 + i) for i, x in enumerate(_floats(xs))]

    @jax.jit
    def both(*xs: Any) -> Any:
        return [_second(transform, row, xs, weights, directions) for transform in (vjp, jax.vjp)]

    _compare(row, "second order", *both(*xs), slack=10)


def check_low_precision(row: Row, dtype: Any) -> None:
    """The gradient in a short dtype: of that dtype, and as near to float64 as its rounding allows."""
    xs = [
        x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for x in map(jnp.asarray, row.sample(0))
    ]
    wide = [x.astype(jnp.float64) if x.dtype == dtype else x for x in xs]
    ys = jax.tree.leaves(jax.eval_shape(row.function, *wide))
    weights = [_signs(y.shape, y.dtype, 1) for y in ys]
    kinds = [y.dtype for y in jax.tree.leaves(jax.eval_shape(row.function, *xs))]
    narrow = [w if w.dtype == jax.dtypes.float0 else w.astype(k) for w, k in zip(weights, kinds, strict=True)]

    @jax.jit
    def both(xs: Any, wide: Any) -> Any:
        return _vjp(vjp, row, xs, narrow), _vjp(jax.vjp, row, wide, weights)

    ours, reference = both(xs, wide)
    assert [x_bar.dtype for x_bar in ours] == [x.dtype for x in _floats(xs)]
    for i, (a, b) in enumerate(zip(ours, reference, strict=True)):
        bound = 16 * float(jnp.finfo(dtype).eps) * max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(
            np.asarray(a, np.float64), b, rtol=0, atol=bound, err_msg=f"{row}, input {i}"
        )


def _floats(xs: Sequence[Any]) -> list[Any]:
    return [x for x in map(jnp.asarray, xs) if jnp.issubdtype(x.dtype, jnp.inexact)]


def _signs(shape: Any, dtype: Any, seed: int) -> Any:
    """Random ±1 (and ±i beside it for complex numbers); zeros for integers."""
    rng = np.random.default_rng(seed)
    if not jnp.issubdtype(dtype, jnp.inexact):
        return np.zeros(shape, jax.dtypes.float0)
    ones = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        ones = ones + 1j * rng.choice([-1.0, 1.0], shape)
    return jnp.asarray(ones, dtype)


def _vjp(transform: Callable, row: Row, xs: Any, weights: Any, **options: Any) -> list[Any]:
    y, pullback = transform(row.function, *xs, **options)
    x_bars = pullback(jax.tree.unflatten(jax.tree.structure(y), weights))
    return [x_bar for x_bar in x_bars if x_bar.dtype != jax.dtypes.float0]


def _gradients(row: Row, knobs: Any, xs: Any, weights: Any) -> dict[str, list[Any]]:
    rules = RULES | {row.primitive: _breakable(row.primitive, *knobs)} if row.primitive in RULES else RULES
    found = {"funcnet": _vjp(vjp, row, xs, weights, rules=rules)}
    if row.jax:
        found["jax"] = _vjp(jax.vjp, row, xs, weights)
    return found


def _second(transform: Callable, row: Row, xs: Any, weights: Any, directions: Any) -> list[Any]:
    """The gradient of Σ direction · x̄ in the inputs and in the upstream gradient."""
    inexact = [w for w in weights if w.dtype != jax.dtypes.float0]

    def first(inexact: Any, *xs: Any) -> list[Any]:
        rest = iter(inexact)
        return _vjp(transform, row, xs, [w if w.dtype == jax.dtypes.float0 else next(rest) for w in weights])

    _, pullback = transform(first, inexact, *xs)
    return [g for g in jax.tree.leaves(pullback(directions)) if g.dtype != jax.dtypes.float0]


def _breakable(name: str, scale: Any, roll: Any, drop: Any) -> Any:
    """The rule of a primitive, its gradients times `scale`, `roll`ed by one, without their first element."""
    right = RULES[name]

    def broken(x_bar: Any) -> Any:
        if x_bar is None:
            return None
        flat = x_bar.ravel()
        if flat.size > 1:
            flat = flat + jnp.asarray(roll, flat.dtype) * (jnp.roll(flat, 1) - flat)
        first = np.arange(flat.size) == 0
        return (jnp.asarray(scale * (1 - drop * first), flat.dtype) * flat).reshape(x_bar.shape)

    @rule(name, formula=right.formula, source=right.source, forward=right.forward)
    def wrong(*args: Any, **params: Any) -> Any:
        return tuple(map(broken, right(*args, **params)))

    return wrong


def _compare(row: Row, what: str, ours: Any, reference: Any, slack: float = 1.0) -> None:
    assert len(ours) == len(reference)
    for i, (a, b) in enumerate(zip(ours, reference, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert np.isfinite(b).all(), (
            f"{row}: {what} is not finite for input {i}; leave that oracle out and say why"
        )
        atol = slack * row.tolerance * np.abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=f"{row}: {what}, gradient {i}")


def _loss(row: Row, weights: Any, xs: Any) -> Any:
    """⟨ȳ, f(x)⟩."""
    pairs = zip(weights, jax.tree.leaves(row.function(*xs)), strict=True)
    return sum((jnp.sum(w * y).real for w, y in pairs if w.dtype != jax.dtypes.float0), jnp.zeros(()))


def _moves(xs: Any) -> dict[int, Any]:
    """A direction for each input that can move."""
    return {
        i: np.asarray(_signs(x.shape, x.dtype, 7 + i))
        for i, x in enumerate(xs)
        if jnp.issubdtype(x.dtype, jnp.inexact)
    }


def _points(xs: Any) -> list[Any]:
    """For each input in turn, it moved by six steps along its direction and the others still, stacked."""
    moves = _moves(xs)
    steps = [(i, h) for i in moves for h in (4e-3, -4e-3, 2e-3, -2e-3, 1e-3, -1e-3)]
    return [
        np.stack([np.asarray(x) + h * moves[i] if i == j else np.asarray(x) for i, h in steps])
        if jnp.issubdtype(x.dtype, jnp.number)
        else np.stack([x] * len(steps))
        for j, x in enumerate(xs)
    ]


def _check_differences(row: Row, xs: Any, values: Any, x_bars: Any) -> None:
    """|⟨ȳ, D_v f⟩ − ⟨x̄, v⟩| within the error that Richardson extrapolation estimates for itself."""
    values = np.asarray(values).reshape(-1, 3, 2)
    for (i, move), ends, x_bar in zip(_moves(xs).items(), values, x_bars, strict=True):
        coarse, middle, fine = (ends[:, 0] - ends[:, 1]) / np.array([8e-3, 4e-3, 2e-3])
        first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
        derivative = (16 * second - first) / 15
        rounding = np.finfo(float).eps * np.abs(ends).max() / 1e-3
        error = abs(derivative - second) + rounding + 1e-8 * np.abs(x_bar).sum()
        found = (np.asarray(x_bar) * move).sum().real
        assert abs(found - derivative) <= 10 * error + 1e-6 * abs(derivative) + 1e-10, (
            f"{row}: input {i}: ⟨x̄, v⟩ = {found}, differences give {derivative} ± {error}"
        )


def _check_power(row: Row, everything: Callable, xs: Any, rights: Any) -> None:
    """Break the rule: what the comparison accepts must be the right rule only."""
    if row.primitive not in RULES or not any(np.any(np.asarray(x_bar) != 0) for x_bar in rights):
        return
    for how, knobs in {
        "negated": (-1.0, 0.0, 0.0),
        "0.1 % too large": (1.001, 0.0, 0.0),
        "rolled": (1.0, 1.0, 0.0),
        "one element dropped": (1.0, 0.0, 1.0),
    }.items():
        wrongs = everything(knobs, *xs)["funcnet"]
        changed = any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(wrongs, rights, strict=True))
        if how in ("negated", "0.1 % too large"):
            assert changed, f"{row}: the rule of {row.primitive} {how} changes nothing: it did not run"
        if changed:
            try:
                _compare(row, how, wrongs, rights)
            except AssertionError:
                continue
            raise AssertionError(f"{row}: the rule {how} goes unnoticed")
