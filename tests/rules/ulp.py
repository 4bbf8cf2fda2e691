"""The largest error of each elementwise gradient in float32, and of its gradient, in ulp of the truth.

    python -m tests.rules.ulp

measures all of them, or those that are named after it, and rewrites funcnet/rules/accuracy.json. Run on
each JAX that is supported, it leaves there the larger error of ours, with JAX's beside it and the version on
which both were measured.

The inputs are of every magnitude, with the neighbours of roots, kinks and last normal numbers. Counted are
those whose true gradient is a normal float32 number; XLA flushes what is smaller to 0. An ulp is the
distance between neighbouring float32 numbers at the truth. An error of 2²⁴ ulp or more, which is
what a 0 makes, an overflow or a NaN, is recorded as 2²⁴: no digit is right. So is a gradient that JAX
refuses.

The second order is the gradient of the gradient in every argument: in `pow x1` that is x₁ twice, and x₁ and
then x₂. Its record is the largest of these errors.

A truth is one formula, read twice: in float64 by numpy at every input, and in 60 digits by mpmath where a
test checks that float64 is good for it. Where it is not, `fast=False`, and mpmath reads it at every input.
"""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
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
        fast: whether float64 is good enough for the formulas.
        jax: up to which order JAX has this gradient.
        second: the derivatives of `derivative` in each input.
    """

    function: Callable[..., Any]
    derivative: Callable[..., Any]
    inputs: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    argument: int = 0
    fast: bool = True
    jax: int = 2
    second: Sequence[Callable[..., Any]] = ()

    def formulas(self, order: int) -> Sequence[Callable[..., Any]]:
        """The true derivatives of this order."""
        return [self.derivative] if order == 1 else self.second


def truths() -> Mapping[str, Truth]:
    """All of them, by primitive, with the name of the argument where its rule has several."""
    from tests.rules import truths_functions, truths_special

    return ELEMENTARY | truths_special.TRUTHS | truths_functions.TRUTHS


def exactly(formula: Callable, xs: tuple[np.ndarray, ...]) -> np.ndarray:
    """A formula in 60 digits, rounded to float64."""
    with mpmath.workdps(60):
        points = zip(*(x.ravel().tolist() for x in xs), strict=True)
        return np.array([float(formula(mpmath, *map(mpmath.mpf, point))) for point in points])


def true_gradients(truth: Truth, xs: tuple[np.ndarray, ...], order: int = 1) -> list[np.ndarray]:
    """The true derivatives of an order in float64."""
    if not truth.fast:
        return [exactly(formula, xs) for formula in truth.formulas(order)]
    wide = [x.astype(np.float64) for x in xs]
    with np.errstate(all="ignore"):
        return [np.broadcast_to(formula(np, *wide), xs[0].shape) for formula in truth.formulas(order)]


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


def largest_errors(truth: Truth, order: int, *transforms: Callable) -> list[float]:
    """The largest errors of the gradients by `funcnet.vjp`, `jax.vjp` or another of their kind."""
    xs = truth.inputs(np.random.default_rng(231))
    trues = true_gradients(truth, xs, order)

    def worst(transform: Callable) -> float:
        first = lambda *xs: [gradients(transform, truth.function, *xs)[truth.argument]]  # noqa: E731
        second = lambda *xs: gradients(transform, lambda *xs: first(*xs)[0], *xs)  # noqa: E731
        found = jax.jit(first if order == 1 else second, compiler_options=AS_INSTALLED)(*xs)
        pairs = zip(found, trues, strict=True)
        return max(float(errors(np.asarray(got), true).max()) for got, true in pairs)

    return [NO_DIGIT if each is jax.vjp and truth.jax < order else worst(each) for each in transforms]


def gradients(transform: Callable, function: Callable, *xs: Any) -> Sequence[Any]:
    """Of the sum of its results, in each input."""
    y, pullback = transform(function, *xs)
    return pullback(lax.full_like(y, 1))


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
    second: Callable,
    low: float = -LARGEST,
    high: float = LARGEST,
    smallest: float = SMALLEST,
) -> Truth:
    sample = of_every_magnitude(low, high, smallest)
    return Truth(function, derivative, lambda rng: (sample(rng),), second=[second])


def _pairs(low: float = -LARGEST, high: float = LARGEST, count: int = 100_000) -> Callable:
    """Pairs in which the second number is near the first in magnitude, its neighbour, or anything."""
    sample = of_every_magnitude(low, high, count=count)

    def pairs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        first = sample(rng)
        other = rng.permutation(first)
        nearness = np.where(rng.uniform(size=first.size) < 0.3, np.exp(-rng.uniform(0, 17, first.size)), 1)
        factor = np.exp(nearness * rng.normal(size=first.size))
        close = first.astype(np.float64) * rng.choice([-1, 1], first.size) * factor
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
    "square": _unary(lax.square, lambda m, x: 2 * x, lambda m, x: 2 + 0 * x),
    "integer_pow": _unary(lambda x: lax.integer_pow(x, -1), lambda m, x: -1 / x**2, lambda m, x: 2 / x**3),
    "integer_pow 3": _unary(
        lambda x: lax.integer_pow(x, 3), lambda m, x: 3 * x**2, lambda m, x: 6 * x, -1e19, 1e19, 1.1e-19
    ),
    "integer_pow -3": _unary(
        lambda x: lax.integer_pow(x, -3),
        lambda m, x: -3 / x**4,
        lambda m, x: 12 / x**5,
        -3e9,
        3e9,
        3.5e-10,
    ),
    "pow x1": Truth(
        lax.pow,
        lambda m, x1, x2: x2 * x1 ** (x2 - 1),
        _powers,
        second=[
            lambda m, x1, x2: x2 * (x2 - 1) * x1 ** (x2 - 2),
            lambda m, x1, x2: x1 ** (x2 - 1) * (1 + x2 * m.log(x1)),
        ],
    ),
    "pow x2": Truth(
        lax.pow,
        lambda m, x1, x2: x1**x2 * m.log(x1),
        _powers,
        argument=1,
        second=[
            lambda m, x1, x2: x1 ** (x2 - 1) * (1 + x2 * m.log(x1)),
            lambda m, x1, x2: x1**x2 * m.log(x1) ** 2,
        ],
    ),
    "div x1": Truth(
        lax.div,
        lambda m, x1, x2: 1 / x2,
        _pairs(),
        second=[lambda m, x1, x2: 0 * x1, lambda m, x1, x2: -1 / x2**2],
    ),
    "div x2": Truth(
        lax.div,
        lambda m, x1, x2: -x1 / x2**2,
        _pairs(),
        argument=1,
        second=[lambda m, x1, x2: -1 / x2**2, lambda m, x1, x2: 2 * x1 / x2**3],
    ),
    "rem x2": Truth(
        lax.rem,
        lambda m, x1, x2: -m.sign(x1) * m.sign(x2) * m.floor(abs(x1) / abs(x2)),
        _quotients,
        argument=1,
        second=[lambda m, x1, x2: 0 * x1, lambda m, x1, x2: 0 * x1],
    ),
    "sqrt": _unary(
        lax.sqrt, lambda m, x: 1 / (2 * m.sqrt(x)), lambda m, x: -1 / (4 * x * m.sqrt(x)), SMALLEST, LARGEST
    ),
    "rsqrt": _unary(
        lax.rsqrt,
        lambda m, x: -1 / (2 * x * m.sqrt(x)),
        lambda m, x: 3 / (4 * x**2 * m.sqrt(x)),
        SMALLEST,
        LARGEST,
    ),
    "cbrt": _unary(
        lax.cbrt,
        lambda m, x: 1 / (3 * m.cbrt(abs(x)) ** 2),
        lambda m, x: -2 / (9 * x * m.cbrt(abs(x)) ** 2),
    ),
    "exp": _unary(lax.exp, lambda m, x: m.exp(x), lambda m, x: m.exp(x), -90, 90),
    "exp2": _unary(
        lax.exp2,
        lambda m, x: m.log(2) * m.exp(x * m.log(2)),
        lambda m, x: m.log(2) ** 2 * m.exp(x * m.log(2)),
        -126,
        127.99,
    ),
    "expm1": _unary(lax.expm1, lambda m, x: m.exp(x), lambda m, x: m.exp(x), -90, 90),
    "log": _unary(lax.log, lambda m, x: 1 / x, lambda m, x: -1 / x**2, SMALLEST, LARGEST),
    "log1p": _unary(lax.log1p, lambda m, x: 1 / (1 + x), lambda m, x: -1 / (1 + x) ** 2, -1, LARGEST),
    "logistic": _unary(
        lax.logistic,
        lambda m, x: 1 / (m.exp(x) + 2 + m.exp(-x)),
        lambda m, x: -m.tanh(x / 2) / (m.exp(x) + 2 + m.exp(-x)),
        -90,
        90,
    ),
    "tanh": _unary(
        lax.tanh, lambda m, x: 1 / m.cosh(x) ** 2, lambda m, x: -2 * m.tanh(x) / m.cosh(x) ** 2, -46, 46
    ),
    "sinh": _unary(lax.sinh, lambda m, x: m.cosh(x), lambda m, x: m.sinh(x), -90, 90),
    "cosh": _unary(lax.cosh, lambda m, x: m.sinh(x), lambda m, x: m.cosh(x), -90, 90),
    "sin": _unary(lax.sin, lambda m, x: m.cos(x), lambda m, x: -m.sin(x)),
    "cos": _unary(lax.cos, lambda m, x: -m.sin(x), lambda m, x: -m.cos(x)),
    "tan": _unary(lax.tan, lambda m, x: 1 + m.tan(x) ** 2, lambda m, x: 2 * m.tan(x) * (1 + m.tan(x) ** 2)),
    "asin": _unary(
        lax.asin,
        lambda m, x: 1 / m.sqrt((1 - x) * (1 + x)),
        lambda m, x: x / m.sqrt((1 - x) * (1 + x)) ** 3,
        -1,
        1,
    ),
    "acos": _unary(
        lax.acos,
        lambda m, x: -1 / m.sqrt((1 - x) * (1 + x)),
        lambda m, x: -x / m.sqrt((1 - x) * (1 + x)) ** 3,
        -1,
        1,
    ),
    "atan": _unary(lax.atan, lambda m, x: 1 / (1 + x * x), lambda m, x: -2 * x / (1 + x * x) ** 2),
    "asinh": _unary(lax.asinh, lambda m, x: 1 / m.sqrt(1 + x * x), lambda m, x: -x / m.sqrt(1 + x * x) ** 3),
    "acosh": _unary(
        lax.acosh,
        lambda m, x: 1 / m.sqrt((x - 1) * (x + 1)),
        lambda m, x: -x / m.sqrt((x - 1) * (x + 1)) ** 3,
        1,
        LARGEST,
    ),
    "atanh": _unary(
        lax.atanh,
        lambda m, x: 1 / ((1 - x) * (1 + x)),
        lambda m, x: 2 * x / ((1 - x) * (1 + x)) ** 2,
        -1,
        1,
    ),
    "atan2 x1": Truth(
        lax.atan2,
        lambda m, x1, x2: x2 / (x1**2 + x2**2),
        _pairs(),
        second=[
            lambda m, x1, x2: -2 * x1 * x2 / (x1**2 + x2**2) ** 2,
            lambda m, x1, x2: (x1 - x2) * (x1 + x2) / (x1**2 + x2**2) ** 2,
        ],
    ),
    "atan2 x2": Truth(
        lax.atan2,
        lambda m, x1, x2: -x1 / (x1**2 + x2**2),
        _pairs(),
        argument=1,
        second=[
            lambda m, x1, x2: (x1 - x2) * (x1 + x2) / (x1**2 + x2**2) ** 2,
            lambda m, x1, x2: 2 * x1 * x2 / (x1**2 + x2**2) ** 2,
        ],
    ),
}
if hasattr(lax, "log2"):  # not in JAX 0.10
    log2 = lax.log2  # pyright: ignore[reportAttributeAccessIssue]
    ELEMENTARY["log2"] = _unary(
        log2, lambda m, x: 1 / (x * m.log(2)), lambda m, x: -1 / (x**2 * m.log(2)), SMALLEST, LARGEST
    )


def rounded_up(error: float) -> float:
    """To two significant digits, never down."""
    if error == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(error)) - 1)
    return min(NO_DIGIT, round(math.ceil(error / step) * step, 10))


def main() -> None:
    """Measure on this JAX; an error that another JAX made stays if it is larger."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name, truth in truths().items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        entry = record.setdefault(name, {})
        entry |= measured(truth, 1, entry)
        if truth.second:
            entry["second"] = measured(truth, 2, entry.get("second", {}))
        print(f"{name:32} {entry}", file=sys.stderr)
    lines = [f"{json.dumps(name)}: {json.dumps(record[name])}" for name in sorted(record)]
    RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def measured(truth: Truth, order: int, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record of one order; that from before if another JAX made it and its error is larger."""
    ours, theirs = map(rounded_up, largest_errors(truth, order, vjp, jax.vjp))
    stays = before and before["on"] != jax.__version__ and before["ulp"] > ours
    return before if stays else {"ulp": ours, "jax": theirs, "on": jax.__version__}


if __name__ == "__main__":
    main()
