"""Cumulative reductions along an axis: yⱼ = x₀ ⊕ … ⊕ xⱼ, or from the other end with `reverse`.

An element acts on every output from its own place on: x̄ⱼ = Σ_{i≥j} ȳᵢ · ∂yᵢ/∂xⱼ. For sums that is a
cumulative sum from the other end. The others run forward as the tree of `jax.lax.associative_scan`,

    pₖ = x₂ₖ ⊕ x₂ₖ₊₁  for neighbors;   y₂ₖ₊₁ = p₀ ⊕ … ⊕ pₖ,  the same for half as many;   y₂ₖ = y₂ₖ₋₁ ⊕ x₂ₖ

and ȳ walks back through it: logarithmic depth, no division, exact where elements are zero. At each fork
y = a ⊕ b it sends ā and b̄ on:

    product      ā = ȳ · b,  b̄ = ȳ · a
    max, min     ȳ to the one that is y, half to each where both are

Logsumexp needs no tree. With yⱼ₊₁ = log(exp yⱼ + exp xⱼ₊₁) the way back is a linear recurrence whose
weights are softmax probabilities, and as affine maps compose associatively it is a scan of its own.
"""

import functools

import jax.numpy as jnp
from jax import lax

from funcnet.rules._table import rule


def scan(combine):
    """The forward pass as a tree; it puts aside inputs and outputs, in the order of the scan.

    On CPU a primitive would run as windows as long as the axis, which costs several times as much.
    """

    def forward(x, *, axis, reverse):
        x = _flip(x, axis, reverse)
        y = lax.associative_scan(combine, x, axis=axis)
        return _flip(y, axis, reverse), (x, y)

    return forward


def _flip(x, axis, reverse):
    return lax.rev(x, (axis,)) if reverse else x


@rule("cumsum", formula="x̄ⱼ = Σ_{i≥j} ȳᵢ", source="Blelloch 1990, §1.4")
def cumsum(y_bar, y, x, *, axis, reverse):
    return (lax.cumsum(y_bar, axis, not reverse),)


@rule(
    "cumprod",
    formula="x̄ⱼ = Σ_{i≥j} ȳᵢ · Π_{k≤i, k≠j} xₖ",
    source="Blelloch 1990, §1.4; Griewank and Walther 2008, §3.3",
    forward=scan(lax.mul),
)
def cumprod(stash, y_bar, *, axis, reverse):
    def fork(y_bar, y, a, b):
        return y_bar * b, y_bar * a

    return (walk_back(lax.mul, fork, stash, y_bar, axis, reverse),)


@rule(
    "cummax",
    formula="x̄ⱼ = Σ_{i≥j} ȳᵢ · [xⱼ wins yᵢ]",
    source="Blelloch 1990, §1.4; ties as in the tree of jax.lax.associative_scan",
    forward=scan(lax.max),
)
def cummax(stash, y_bar, *, axis, reverse):
    return (walk_back(lax.max, to_winner(lax.gt), stash, y_bar, axis, reverse),)


@rule(
    "cummin",
    formula="x̄ⱼ = Σ_{i≥j} ȳᵢ · [xⱼ wins yᵢ]",
    source="Blelloch 1990, §1.4; ties as in the tree of jax.lax.associative_scan",
    forward=scan(lax.min),
)
def cummin(stash, y_bar, *, axis, reverse):
    return (walk_back(lax.min, to_winner(lax.lt), stash, y_bar, axis, reverse),)


def to_winner(wins):
    """The fork of max or min; ties are halved.

    It compares a and b, and neither with y, of which XLA may compute it once more and round otherwise.
    """

    def fork(y_bar, y, a, b):
        lost = lax.select(wins(b, a), lax.full_like(y_bar, 0), y_bar)
        a_bar = lax.select(lax.eq(a, b), y_bar * 0.5, lost)
        return a_bar, y_bar - a_bar

    return fork


def walk_back(combine, fork, stash, y_bar, axis, reverse):
    """x̄ from ȳ, through the tree of the scan; `fork(y_bar, y, a, b)` is the way back through y = a ⊕ b."""
    x, y = stash
    x_bar = _level(combine, fork, _flip(y_bar, axis, reverse), y, x, axis)
    return _flip(x_bar, axis, reverse)


def _level(combine, fork, y_bar, y, x, axis):
    """One level of the tree, around the levels for half as many elements."""
    n = x.shape[axis]
    if n < 2:
        return y_bar
    every = functools.partial(lax.slice_in_dim, stride=2, axis=axis)
    left, right, odd = every(x, 0, n - n % 2), every(x, 1, n), every(y, 1, n)
    before = lax.slice_in_dim(odd, 0, (n - 1) // 2, axis=axis)
    before_bar, later_bar = fork(every(y_bar, 2, n), every(y, 2, n), before, every(x, 2, n))
    odd_bar = every(y_bar, 1, n) + _pad(before_bar, axis, (0, 1 - n % 2, 0))
    pair = combine(left, right)
    left_bar, right_bar = fork(_level(combine, fork, odd_bar, odd, pair, axis), pair, left, right)
    even_bar = lax.concatenate([lax.slice_in_dim(y_bar, 0, 1, axis=axis), later_bar], axis)
    even_bar = even_bar + _pad(left_bar, axis, (0, n % 2, 0))
    return _pad(even_bar, axis, (0, 1 - n % 2, 1)) + _pad(right_bar, axis, (1, n % 2, 1))


def _pad(x, axis, ends, fill=0.0):
    return lax.pad(x, lax.full((), fill, x.dtype), [ends if d == axis else (0, 0, 0) for d in range(x.ndim)])


@rule(
    "cumlogsumexp",
    formula="x̄ⱼ = exp(xⱼ − yⱼ) · sⱼ  with  sⱼ = ȳⱼ + exp(yⱼ − yⱼ₊₁) · sⱼ₊₁",
    source="Blelloch 1990, §1.4; Blanchard, Higham and Higham 2021, eq. 1.4",
    forward=scan(jnp.logaddexp),
)
def cumlogsumexp(stash, y_bar, *, axis, reverse):
    """Of equal infinities the difference counts as zero: elements of −∞ have finite gradients."""
    x, y = stash
    following = _pad(y, axis, (-1, 1, 0), fill=float("inf"))
    s = recurrence(lax.exp(difference(y, following)), _flip(y_bar, axis, reverse), axis)
    return (_flip(lax.exp(difference(x, y)) * s, axis, reverse),)


def recurrence(decay, y_bar, axis):
    """sⱼ = ȳⱼ + decayⱼ · sⱼ₊₁ along the axis."""

    def after(first, then):
        (a1, b1), (a2, b2) = first, then
        return a1 * a2, a2 * b1 + b2

    return lax.associative_scan(after, (decay, y_bar), reverse=True, axis=axis)[1]


def difference(a, b):
    """a − b, with ∞ − ∞ = 0."""
    size = lax.abs(a)
    same = lax.eq(a, b) & lax.eq(size, lax.full_like(size, float("inf")))
    return lax.select(same, lax.full_like(a, 0), a - b)
