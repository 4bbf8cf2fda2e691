"""What a wrong gradient looks like: guesses at the mistake from the pattern of the error.

Each guess is a transformation of the right gradient that gives the wrong one.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from funcnet._types import Host
from funcnet.check.noise import Comparison


def hint(
    one: Comparison,
    others: Sequence[tuple[Host, str]] = (),
    counts: Collection[int] = (),
    dtype: Any = "float64",
    unknown: str = "",
) -> str:
    """The first guess that explains a wrong gradient of a dtype, or what little can be said of it.

    `others` are gradients that it may be, and what it means if so, `counts` what a mean may have been taken
    over, `unknown` is what to say if no pattern of the whole is known.

    >>> from funcnet.check.noise import compare
    >>> truth = np.array([1.0, -2.0, 0.5, 4.0])
    >>> hint(compare(1.003 * truth, truth, 0.0, "float64", 1.0))
    'a factor: the rule is 1.003 × the truth'
    """
    known = np.isfinite(one.truth)
    one = replace(one, found=np.where(known, one.found, 0), truth=np.where(known, one.truth, 0))
    with np.errstate(all="ignore"):
        return next(_guesses(one, others, counts, jnp.finfo(dtype).bits), unknown) or _of_some(one)


def _guesses(
    one: Comparison, others: Sequence[tuple[Host, str]], counts: Collection[int], bits: int
) -> Iterator[str]:
    found, truth, bad = one.found, one.truth, one.bad
    if not np.isfinite(found).all():
        yield f"{int((~np.isfinite(found)).sum())} of {found.size} elements are not finite"
    if not found.any():
        yield "all zero: the argument is left out of the rule, or its gradient was returned as None"
    if not truth.any():
        steps = "as by rounding, or by a bisection of few steps"
        yield f"the truth is 0: the function does not depend on this argument, or changes in steps, {steps}"
    shift = found - truth
    if truth.size > 2 and bad.sum() == 1:
        (place,) = np.argwhere(bad)
        zero = "" if found[tuple(place)] else ": it is 0"
        yield f"one element only, [{', '.join(map(str, place))}]{zero}: an index or a boundary"
    yield from _of_a_factor(found, truth, counts)
    if not _same(found, truth):
        yield from (words for other, words in (*_alike(truth), *others) if _same(found, other))
        if truth.size > 2 and _same(np.sort(np.real(found), axis=None), np.sort(np.real(truth), axis=None)):
            yield "the right numbers in wrong places: a permutation or its inverse"
        if truth.ndim > 1 and _same(shift, -np.conj(np.swapaxes(shift, -1, -2))):
            yield "its symmetric part is right: a rule for symmetric arguments that does not take that part"
    if truth.size > 1 and np.abs(shift - shift.mean()).max() <= 1e-3 * np.abs(shift.mean()):
        yield f"the truth plus {shift.mean():.6g}: a constant added"
    yield from _of_rounding(found, truth, bits)
    yield from _of_an_axis(found, truth)


def _same(a: Host, b: Host) -> bool:
    scale = np.abs(b).max(initial=0)
    return a.shape == b.shape and bool((np.abs(a - b) <= 1e-3 * np.abs(b) + 1e-6 * scale).all())


def _of_a_factor(found: Host, truth: Host, known: Collection[int]) -> Iterator[str]:
    size = np.abs(truth).max(initial=0)
    large = np.abs(truth) > 1e-6 * size
    if not large.any():
        return
    middle = np.median((found[large] / truth[large]).real)
    off = np.abs(found - middle * truth).max()
    if off > 1e-4 * abs(middle) * size or not middle or abs(middle - 1) < 1e-6:
        return
    if abs(middle + 1) < 1e-6:
        yield "the sign: the rule is −1 × the truth"
    for n in sorted({truth.size, *truth.shape, *known} - {0, 1}):
        if math.isclose(middle, 1 / n, rel_tol=1e-4):
            yield f"a factor 1/{n}: a mean over {n} where a sum belongs"
        if math.isclose(middle, n, rel_tol=1e-4):
            yield f"a factor {n}: a sum over {n} where a mean belongs"
    yield f"a factor: the rule is {middle:.7g} × the truth"


def _alike(truth: Host) -> Iterator[tuple[Host, str]]:
    """What the truth becomes by one mistake, and its name."""
    if np.iscomplexobj(truth):
        words = "not conjugated: the complex conjugate of the truth, a conj that is missing or one too many"
        yield np.conj(truth), words
    if truth.ndim >= 2:
        swapped = np.swapaxes(truth, -1, -2)
        yield swapped, "transposed: its last two axes are exchanged"
        yield swapped.reshape(truth.shape), "transposed: a reshape where a transpose belongs"
    for sign in (1, -1):
        yield sign * np.abs(truth), "the size is right and the sign is not: an absolute value too many"
    if truth.size > 1:
        words = "every element is the mean of the truth: a mean that should not be there"
        yield np.full_like(truth, truth.mean()), words
    for axis, n in enumerate(truth.shape):
        yield np.flip(truth, axis), f"reversed along axis {axis}"
        for shift in sorted({1, 2, n - 2, n - 1} & set(range(1, n))):
            by = shift if shift <= n // 2 else shift - n
            yield np.roll(truth, shift, axis), f"rolled by {by} along axis {axis}"
    yield np.roll(truth.ravel(), 1).reshape(truth.shape), "rolled by 1 over all elements"


def _of_rounding(found: Host, truth: Host, bits: int) -> Iterator[str]:
    if np.iscomplexobj(found) or (np.abs(found - truth) > 0.01 * np.abs(truth) + 1e-12).any():
        return
    for dtype in (jnp.bfloat16, np.float16, np.float32):
        if jnp.finfo(dtype).bits < bits and np.array_equal(found, found.astype(dtype).astype(found.dtype)):
            yield f"every element is a {np.dtype(dtype).name} number: rounded on the way"


def _of_an_axis(found: Host, truth: Host) -> Iterator[str]:
    """The truth is a sum or a mean of the rule along an axis, or the other way round."""
    axes = (axis for axis, n in enumerate(truth.shape) if n > 1) if truth.ndim > 1 else ()
    for axis in axes:
        for one, other, word in ((found, truth, "missing"), (truth, found, "too many")):
            for name, reduced in (("sum", np.sum), ("mean", np.mean)):
                whole = np.broadcast_to(reduced(one, axis, keepdims=True), other.shape)
                if np.allclose(whole, other, rtol=1e-4):
                    yield f"a {name} over axis {axis} is {word}"


def _of_some(one: Comparison) -> str:
    """What is to be said if some elements are right, or none."""
    found, truth, bad = one.found, one.truth, one.bad
    if (np.abs(found - truth) <= 1e-6 * np.abs(truth) + 1e-9 * np.abs(truth).max(initial=0)).all():
        guess = "an ε that it leaves out, a constant with few digits, a short dtype, or a rule of a limit"
        return f"a relative error below 1e-6: {guess}"
    if bad.all():
        return "no pattern that is known: every element is wrong in its own way"
    sizes = np.abs(found[bad])
    if np.abs(truth[bad]).min() > np.abs(truth[~bad]).max() and np.ptp(sizes) <= 1e-6 * sizes.max():
        return "right where it is small: clipped, or cut off"
    some = f"{int(bad.sum())} of {bad.size} elements are wrong and the others right"
    return f"{some}: one case of the rule, a condition or a mask"


def of_nonlinear(found: Host, truth: Host, loops: bool) -> str:
    """What a rule that is not linear does to the upstream gradient; `truth` is what it would be if it were.

    It may be that it `loops` until it decides itself to stop.
    """
    if not np.isfinite(found).all():
        return "0/0, or ∞/∞: the upstream gradient is divided by its own size"
    if not truth.any():
        return "the upstream gradient is ignored, or something is added to it"
    if loops:
        stops = "a solver with an absolute tolerance stops at once where the upstream gradient is small"
        return f"{stops}; make the tolerance relative to it"
    wrong = ~np.isclose(found, truth, rtol=1e-6)
    ratio = np.nanmedian(np.abs(found[wrong]) / np.abs(truth[wrong])) if wrong.any() else 1.0
    if ratio < 0.9:
        return "the upstream gradient is clipped, or ignored"
    if ratio > 1.1:
        return "the upstream gradient is ignored, added to or raised to a power"
    return "its sign or its small values are lost: an absolute value, a threshold, a short dtype on the way"
