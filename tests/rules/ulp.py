"""The largest error of each elementwise gradient in float32, in ulp of the truth.

    python -m tests.rules.ulp

measures all of them and rewrites funcnet/rules/accuracy.json. Run on each JAX that is supported, it leaves
there the larger error of ours, with JAX's beside it and the version on which both were measured.

The inputs are of every magnitude, with the neighbours of roots, kinks and last normal numbers. Counted are
those whose true gradient is a normal float32 number; XLA flushes what is smaller to 0. An ulp is the
distance between neighbouring float32 numbers at the truth. An error of 2²⁴ ulp or more, which is
what a 0 makes, an overflow or a NaN, is recorded as 2²⁴: no digit is right. So is a gradient that JAX
refuses.

A truth is one formula, read twice: in float64 by numpy at every input, and in 60 digits by mpmath where a
test checks that float64 is good for it. Where it is not, `fast=False`, and mpmath reads it at every input.
"""

import functools
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import mpmath
import numpy as np
from jax import lax

import funcnet
from funcnet import vjp

RECORD = Path(funcnet.__file__).parent / "rules" / "accuracy.json"
NO_DIGIT = 2.0**24
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Truth:
    """What the gradient of a primitive is, and where to look.

    Attributes:
        function: the primitive, on float32 arrays.
        derivative: `derivative(m, *xs)`, with m either numpy or mpmath.
        inputs: the arrays, from a numpy generator.
        argument: which input the derivative is in.
        fast: whether float64 is good enough for the formula.
        jax: whether JAX has this gradient.
    """

    function: Callable[..., Any]
    derivative: Callable[..., Any]
    inputs: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    argument: int = 0
    fast: bool = True
    jax: bool = True


def truths() -> Mapping[str, Truth]:
    """All of them, by primitive, with the name of the argument where its rule has several."""
    from tests.rules import truths_functions, truths_special

    return ELEMENTARY | truths_special.TRUTHS | truths_functions.TRUTHS


def exactly(truth: Truth, xs: tuple[np.ndarray, ...]) -> np.ndarray:
    """The true gradient from 60 digits, rounded to float64."""
    with mpmath.workdps(60):
        points = zip(*(x.ravel().tolist() for x in xs), strict=True)
        return np.array([float(truth.derivative(mpmath, *map(mpmath.mpf, point))) for point in points])


def true_gradient(truth: Truth, xs: tuple[np.ndarray, ...]) -> np.ndarray:
    """The true gradient in float64."""
    if not truth.fast:
        return exactly(truth, xs)
    with np.errstate(all="ignore"):
        return truth.derivative(np, *(x.astype(np.float64) for x in xs))


AS_INSTALLED = {"xla_cpu_use_fusion_emitters": True} if jax.__version_info__ < (0, 11) else {}
"""The code that users run, where the tests switch to what compiles fast."""


def errors(got: np.ndarray, true: np.ndarray, unit: np.ndarray | None = None) -> np.ndarray:
    """In ulp of the truth or of another unit; 0 where that is not a normal float32 number."""
    unit = abs(true) if unit is None else unit
    normal = (unit >= SMALLEST) & (unit <= LARGEST)
    with np.errstate(all="ignore"):
        ulps = abs(got.astype(np.float64) - true) / np.spacing(unit.astype(np.float32))
    ulps = np.where(np.isfinite(ulps), np.minimum(ulps, NO_DIGIT), NO_DIGIT)
    return np.where(normal, ulps, 0.0)


def largest_errors(truth: Truth, *transforms: Callable) -> list[float]:
    """The largest errors of the gradients by `funcnet.vjp`, `jax.vjp` or another of their kind."""
    xs = truth.inputs(np.random.default_rng(231))
    true = true_gradient(truth, xs)

    def worst(transform: Callable) -> float:
        @functools.partial(jax.jit, compiler_options=AS_INSTALLED)
        def gradient(*xs: Any) -> Any:
            y, pullback = transform(truth.function, *xs)
            return pullback(lax.full_like(y, 1))[truth.argument]

        return float(errors(np.asarray(gradient(*xs)), true).max())

    return [NO_DIGIT if each is jax.vjp and not truth.jax else worst(each) for each in transforms]


def of_every_magnitude(
    low: float = -LARGEST, high: float = LARGEST, smallest: float = SMALLEST, count: int = 100_000
) -> Callable[[np.random.Generator], np.ndarray]:
    """Numbers between low and high: half even by magnitude, half even, the ends, 0 and their neighbours."""

    def sample(rng: np.random.Generator) -> np.ndarray:
        logs = rng.uniform(math.log(smallest), math.log(max(abs(low), abs(high))), count)
        x = np.concatenate(
            [np.exp(logs) * rng.choice([-1, 1], count), rng.uniform(-1, 1, count) * (high - low) / 2]
        )
        x[count:] += (high + low) / 2
        x = np.concatenate([np.clip(x, -LARGEST, LARGEST).astype(np.float32), near(low), near(high), near(0)])
        return x[(x >= np.float32(low)) & (x <= np.float32(high)) & ((x == 0) | (abs(x) >= SMALLEST))]

    return sample


def near(x: float, count: int = 500) -> np.ndarray:
    """The float32 number nearest to x and its neighbours on both sides."""
    steps = np.arange(-count, count + 1, dtype=np.int64)
    start = np.float32(x).view(np.int32).astype(np.int64)
    found = (start + steps).astype(np.uint32).view(np.float32)
    return found[np.isfinite(found)]


def _unary(
    function: Callable,
    derivative: Callable,
    low: float = -LARGEST,
    high: float = LARGEST,
    smallest: float = SMALLEST,
) -> Truth:
    sample = of_every_magnitude(low, high, smallest)
    return Truth(function, derivative, lambda rng: (sample(rng),))


def _pairs(low: float = -LARGEST, high: float = LARGEST, count: int = 100_000) -> Callable:
    """Pairs in which the second number is near the first in magnitude, or anything."""
    sample = of_every_magnitude(low, high, count=count)

    def pairs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        first = sample(rng)
        other = rng.permutation(first)
        close = (
            first.astype(np.float64) * rng.choice([-1, 1], first.size) * np.exp(rng.normal(size=first.size))
        )
        close = np.clip(close, low, high).astype(np.float32)
        second = np.where((rng.uniform(size=first.size) < 0.5) & (abs(close) >= SMALLEST), close, other)
        return first, second

    return pairs


def _powers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positive bases of every magnitude and exponents that keep the power in range, and bases close to 1."""
    anything = abs(of_every_magnitude()(rng))
    close = (1 + rng.choice([-1, 1], 100_000) * np.exp(rng.uniform(-16, -1, 100_000))).astype(np.float32)
    base = np.concatenate([anything[anything > 0], close])
    with np.errstate(divide="ignore"):
        most = 87 / abs(np.log(base.astype(np.float64)))
    scale = np.where(
        rng.uniform(size=base.size) < 0.5, rng.uniform(size=base.size), np.exp(-rng.uniform(0, 60, base.size))
    )
    exponent = np.minimum(most, 1e9) * scale * rng.choice([-1, 1], base.size)
    return base, np.where(abs(exponent) < SMALLEST, 0, exponent).astype(np.float32)


def _quotients(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs with quotients up to 2²², many a whisker from a whole number."""
    n = 200_000
    divisor = rng.uniform(0.5, 1000, n).astype(np.float32) * rng.choice([-1, 1], n).astype(np.float32)
    whole = np.float32(np.floor(np.exp(rng.uniform(0, 15, n)))) * divisor
    x = np.where(rng.uniform(size=n) < 0.5, whole, np.nextafter(whole, np.float32(0)))
    return x.astype(np.float32), divisor


ELEMENTARY = {
    "square": _unary(lax.square, lambda m, x: 2 * x),
    "integer_pow": Truth(
        lambda x: lax.integer_pow(x, -1), lambda m, x: -1 / x**2, lambda rng: (of_every_magnitude()(rng),)
    ),
    "integer_pow 3": _unary(
        lambda x: lax.integer_pow(x, 3), lambda m, x: 3 * x**2, -1e19, 1e19, smallest=1.1e-19
    ),
    "integer_pow -3": _unary(
        lambda x: lax.integer_pow(x, -3), lambda m, x: -3 / x**4, -3e9, 3e9, smallest=3.5e-10
    ),
    "pow x1": Truth(lax.pow, lambda m, x1, x2: x2 * x1 ** (x2 - 1), _powers),
    "pow x2": Truth(lax.pow, lambda m, x1, x2: x1**x2 * m.log(x1), _powers, argument=1),
    "div x1": Truth(lax.div, lambda m, x1, x2: 1 / x2, _pairs()),
    "div x2": Truth(lax.div, lambda m, x1, x2: -x1 / x2**2, _pairs(), argument=1),
    "rem x2": Truth(
        lax.rem,
        lambda m, x1, x2: -m.sign(x1) * m.sign(x2) * m.floor(abs(x1) / abs(x2)),
        _quotients,
        argument=1,
    ),
    "sqrt": _unary(lax.sqrt, lambda m, x: 1 / (2 * m.sqrt(x)), SMALLEST, LARGEST),
    "rsqrt": _unary(lax.rsqrt, lambda m, x: -1 / (2 * x * m.sqrt(x)), SMALLEST, LARGEST),
    "cbrt": _unary(lax.cbrt, lambda m, x: 1 / (3 * m.cbrt(abs(x)) ** 2)),
    "exp": _unary(lax.exp, lambda m, x: m.exp(x), -90, 90),
    "exp2": _unary(lax.exp2, lambda m, x: m.log(2) * m.exp(x * m.log(2)), -126, 127.99),
    "expm1": _unary(lax.expm1, lambda m, x: m.exp(x), -90, 90),
    "log": _unary(lax.log, lambda m, x: 1 / x, SMALLEST, LARGEST),
    "log1p": _unary(lax.log1p, lambda m, x: 1 / (1 + x), -1, LARGEST),
    "logistic": _unary(lax.logistic, lambda m, x: 1 / (m.exp(x) + 2 + m.exp(-x)), -90, 90),
    "tanh": _unary(lax.tanh, lambda m, x: 1 / m.cosh(x) ** 2, -45, 45),
    "sinh": _unary(lax.sinh, lambda m, x: m.cosh(x), -90, 90),
    "cosh": _unary(lax.cosh, lambda m, x: m.sinh(x), -90, 90),
    "sin": _unary(lax.sin, lambda m, x: m.cos(x)),
    "cos": _unary(lax.cos, lambda m, x: -m.sin(x)),
    "tan": _unary(lax.tan, lambda m, x: 1 + m.tan(x) ** 2),
    "asin": _unary(lax.asin, lambda m, x: 1 / m.sqrt((1 - x) * (1 + x)), -1, 1),
    "acos": _unary(lax.acos, lambda m, x: -1 / m.sqrt((1 - x) * (1 + x)), -1, 1),
    "atan": _unary(lax.atan, lambda m, x: 1 / (1 + x * x)),
    "asinh": _unary(lax.asinh, lambda m, x: 1 / m.sqrt(1 + x * x)),
    "acosh": _unary(lax.acosh, lambda m, x: 1 / m.sqrt((x - 1) * (x + 1)), 1, LARGEST),
    "atanh": _unary(lax.atanh, lambda m, x: 1 / ((1 - x) * (1 + x)), -1, 1),
    "atan2 x1": Truth(lax.atan2, lambda m, x1, x2: x2 / (x1**2 + x2**2), _pairs()),
    "atan2 x2": Truth(lax.atan2, lambda m, x1, x2: -x1 / (x1**2 + x2**2), _pairs(), argument=1),
}
if hasattr(lax, "log2"):  # not in JAX 0.10
    log2 = lax.log2  # pyright: ignore[reportAttributeAccessIssue]
    ELEMENTARY["log2"] = _unary(log2, lambda m, x: 1 / (x * m.log(2)), SMALLEST, LARGEST)


def rounded_up(error: float) -> float:
    """To two significant digits, never down."""
    if error == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(error)) - 1)
    return min(NO_DIGIT, round(math.ceil(error / step) * step, 10))


def main() -> None:
    """Measure on this JAX; an entry that another JAX made stays if its error is larger."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name, truth in truths().items():
        ours, theirs = map(rounded_up, largest_errors(truth, vjp, jax.vjp))
        print(f"{name:32} {ours:12g} {theirs:12g}", file=sys.stderr)
        other = record.get(name)
        if other is None or other["on"] == jax.__version__ or other["ulp"] <= ours:
            record[name] = {"ulp": ours, "jax": theirs, "on": jax.__version__}
    lines = [f"{json.dumps(name)}: {json.dumps(record[name])}" for name in sorted(record)]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
