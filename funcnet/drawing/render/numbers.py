"""Values in words: a number to three digits, an array in a few lines, and all digits where there is room.

The minus sign is a real one, which is as wide as a digit.
"""

import math
from collections.abc import Sequence
from typing import Any, cast

import jax
import numpy as np

from funcnet.drawing.diagram.arrays import Number, is_numeric, norm, plain

WORTH_SAYING = 0.1
"""From this share of zeros on it is said."""

BINS = 10
"""So many bars has a histogram."""

MOST_IN_LINE = 12
"""Arrays of up to so many elements are written out in a line."""

MOST_CHARACTERS = 1000
"""After so many characters an array's digits break off."""

BARS = "▁▂▃▄▅▆▇█"


def number(x: Number) -> str:
    """A number to three digits; whole ones and those from 1000 to a million to the unit.

    >>> [number(x) for x in (-0.53444666, 2080.0, 6.125e-05, 1e9, float("inf"), True, 2 - 1j)]
    ['−0.534', '2080', '6.12e−5', '1e9', '∞', 'True', '2 − 1j']
    """
    if isinstance(x, bool):
        return str(x)
    if isinstance(x, complex):
        return f"{number(x.real)} {'−' if x.imag < 0 else '+'} {number(abs(x.imag))}j"
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if (isinstance(x, int) and abs(x) < 1e6) or 1e3 <= abs(x) < 1e6:
        return signed(f"{x:.0f}")
    digits, _, exponent = f"{x + 0.0:.3g}".partition("e")
    return signed(f"{digits}e{int(exponent)}" if exponent else digits)


def aligned(xs: Sequence[Number]) -> list[str]:
    """The numbers of one table, with as many decimals as the largest needs for three digits.

    What would lose all its digits by that has one of its own, so that only a zero is written 0.

    >>> aligned([1.6226, -0.4336, 0.0, 1e-5, 3.0])
    ['1.62', '−0.43', '0', '1e−5', '3.00']
    """
    if any(isinstance(x, complex) for x in xs):
        return [number(x) for x in xs]
    finite = [x for x in cast(Sequence[float], xs) if math.isfinite(x)]
    largest = max(map(abs, finite), default=0)
    if largest >= 1e6:
        return [number(x) for x in xs]
    needed = (len(number(x).partition(".")[2]) for x in finite if abs(x) >= 1e-3)
    places = min(max(needed, default=0), 2 - math.floor(math.log10(largest)) if largest else 0)

    def text(x: float) -> str:
        if isinstance(x, int) or x == 0 or not math.isfinite(x):
            return number(x)
        return signed(f"{x:.{max(places, 0)}f}") if abs(x) >= 10.0**-places else number(float(f"{x:.1g}"))

    return list(map(text, cast(Sequence[float], xs)))


def signed(text: str) -> str:
    """A number's text with real minus signs."""
    return text.replace("-", "−")


def array_type(value: Any) -> str:
    """Dtype and shape; of a bundle, of how many arrays.

    >>> array_type(np.zeros((5, 10), np.float32)), array_type((np.zeros(3), np.ones(3)))
    ('float32 5×10', '2 × float64 3')
    """
    if isinstance(value, tuple):
        kinds = list(dict.fromkeys(array_type(one) for one in value))
        return f"{len(value)} × {kinds[0]}{', …' if len(kinds) > 1 else ''}"
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    return f"{dtype} {'×'.join(map(str, np.shape(value)))}".rstrip()


def summary(value: Any) -> list[str]:
    """What an array, or a bundle of them, is like, the most telling line first.

    Range and norm are those of the finite numbers.

    >>> summary(np.array([0.0, 0.0, 0.5, 1.0]))
    ['0 █▁▁▁▁▅▁▁▁▅ 1', '‖·‖ 1.12', '50 % zeros']
    """
    if not is_numeric(value):
        return []
    xs = plain(value).ravel()
    if not xs.size:
        return ["empty"]
    if xs.dtype == bool:
        return [f"{share(xs.mean())} true"]
    finite = xs[np.isfinite(xs)]
    lines = [line for line in (not_finite(xs),) if line]
    if finite.size:
        lines = [_range(finite, "all others" if lines else "all"), *lines]
        if xs.dtype.kind in "fc" and finite.any():
            lines.append(f"‖·‖ {number(norm(finite))}")
    zeros = float((xs == 0).mean())
    if WORTH_SAYING <= zeros < 1:
        lines.append(f"{share(zeros)} zeros")
    return lines


def in_line(value: Any) -> str:
    """A few numbers one by one, more of them in a summary.

    >>> in_line(np.array([[1.0, 0.25]]))
    '[[1.00, 0.25]]'
    """
    if isinstance(value, tuple) or not is_numeric(value) or np.size(value) > MOST_IN_LINE:
        return ", ".join(summary(value))
    texts = iter(aligned(plain(value).ravel().tolist()))

    def listed(shape: tuple[int, ...]) -> str:
        return f"[{', '.join(listed(shape[1:]) for _ in range(shape[0]))}]" if shape else next(texts)

    return listed(np.shape(value))


def share(part: float) -> str:
    """A share in percent; 0 and 100 % are exactly that.

    >>> share(0.9999), share(1.0), share(0.33)
    ('>99 %', '100 %', '33 %')
    """
    percent = 100 * part
    if percent in (0, 100):
        return f"{percent:.0f} %"
    return "<1 %" if percent < 1 else ">99 %" if percent > 99 else f"{percent:.0f} %"


def not_finite(xs: np.ndarray) -> str:
    """How many NaNs and infinities there are; empty where none is."""
    counts = (("NaN", np.isnan(xs).sum()), ("∞", np.isinf(xs).sum()))
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def full(value: Any) -> str:
    """Kind and digits, shortened where there are many.

    >>> print(full(np.float32([0.1, 1 / 3])))
    float32 2: [0.1        0.33333334]
    """
    if isinstance(value, tuple):
        return f"{array_type(value)}: {', '.join(summary(value))}"
    digits = value if is_numeric(value) else jax.random.key_data(value)
    text = np.array2string(np.asarray(digits), threshold=100, max_line_width=90)
    return f"{array_type(value)}: {text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + ' …'}"


def _range(finite: np.ndarray, every: str) -> str:
    """Smallest and largest, with a histogram between; of complex numbers, of their absolute values."""
    size = np.abs(finite) if finite.dtype.kind == "c" else finite
    low, high = size.min().item(), size.max().item()
    name = "|z| " if finite.dtype.kind == "c" else ""
    if low == high:
        return f"{every} {name}{number(low)}"
    return f"{name}{number(low)} {_histogram(size)} {number(high)}"


def _histogram(xs: np.ndarray) -> str:
    """The numbers' histogram as a row of bars; a bin that is not empty is above the ground."""
    scaled = xs / max(abs(xs.max().item()), abs(xs.min().item()))  # no overflow between the ends
    counts, _ = np.histogram(scaled, BINS)
    heights = np.ceil(counts / counts.max() * (len(BARS) - 1)).astype(int)
    return "".join(BARS[height] for height in heights)
