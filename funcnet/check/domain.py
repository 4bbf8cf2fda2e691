"""Where else to ask: multiples of the arguments, or points drawn from the domain of the function."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from funcnet._errors import ParameterError
from funcnet._types import Host
from funcnet.check.probes import Probe
from funcnet.check.subject import Subject

AT_ZERO = ", with an element set to 0"
"""Where only NaN and infinities count: a rule for symmetric or positive arguments may be off there."""

POINTS = 3
"""How many points are drawn from a domain."""


def positive(x: Host, rng: np.random.Generator) -> Host:
    """From 1/8 to 8, more or less."""
    return np.exp(rng.normal(size=x.shape))


def unit_interval(x: Host, rng: np.random.Generator) -> Host:
    """Inside of (0, 1)."""
    return rng.uniform(0.02, 0.98, x.shape)


def simplex(x: Host, rng: np.random.Generator) -> Host:
    """Positive, with sum 1 over the last axis."""
    weights = rng.exponential(size=x.shape)
    return weights / weights.sum(-1, keepdims=True)


def correlation(x: Host, rng: np.random.Generator) -> Host:
    """Positive definite with ones on the diagonal, in the last two axes."""
    factor = rng.normal(size=(*x.shape[:-1], x.shape[-1] + 2))
    factor /= np.linalg.norm(factor, axis=-1, keepdims=True)
    return factor @ np.swapaxes(factor, -1, -2)


DOMAINS: dict[str, Callable[[Host, np.random.Generator], Host]] = {
    "positive": positive,
    "unit interval": unit_interval,
    "simplex": simplex,
    "correlation": correlation,
}


def points(
    subject: Subject, probe: Probe, domain: Any, factors: Sequence[float], rng: np.random.Generator
) -> dict[str, Probe]:
    """More points, by what the message calls them.

    Raises:
        ParameterError: the domain is unknown, or does not fit the arguments.
    """
    if domain is not None:
        drawn = [_drawn(subject, domain, rng) for _ in range(POINTS)]
        return {
            f", at point {n} drawn from its domain": Probe(
                tuple(x.astype(like.dtype) for x, like in zip(xs, probe.xs, strict=True)), probe.given
            )
            for n, xs in enumerate(drawn, 1)
        }
    scaled = {
        f", at {f:g} × the arguments": Probe(tuple(f * x for x in probe.xs), probe.given) for f in factors
    }
    zeros = tuple(_with_a_zero(x, i) for i, x in enumerate(probe.xs))
    return {**scaled, AT_ZERO: Probe(zeros, probe.given)} if factors else {}


def _drawn(subject: Subject, domain: Any, rng: np.random.Generator) -> tuple[Host, ...]:
    if callable(domain):
        args = domain(jax.random.key(int(rng.integers(2**31))))
        args = args if isinstance(args, tuple) else (args,)
        same = len(args) == len(subject.args)
        xs = tuple(map(np.asarray, subject.split(args)[1])) if same else ()
        if not same or [x.shape for x in xs] != [x.shape for x in subject.xs]:
            raise ParameterError(
                f"check of {subject.name}: domain drew {len(args)} arguments with shapes "
                f"{[x.shape for x in xs]}, expected a tuple of {len(subject.args)} like those of the call, "
                f"with shapes {[x.shape for x in subject.xs]}"
            )
        return xs
    names = domain if isinstance(domain, (tuple, list)) else [domain] * len(subject.args)
    if len(names) != len(subject.args) or not set(names) <= {None, *DOMAINS}:
        raise ParameterError(
            f"check of {subject.name}: domain={domain!r}, expected one of {', '.join(map(repr, DOMAINS))}, a "
            f"tuple of such for the {len(subject.args)} arguments, or a function of a key that draws them all"
        )
    pairs = [(x, names[place]) for x, place in zip(subject.xs, subject.places, strict=True)]
    return tuple(x if name is None else DOMAINS[name](x, rng) for x, name in pairs)


def _with_a_zero(x: Host, i: int) -> Host:
    """The i-th argument with a 0 where no other has one, if 0 lies between its elements."""
    if np.iscomplexobj(x) or x.size < 3 or not x.min() < 0 < x.max():
        return x
    flat = x.flatten()
    flat[(i + 1) % x.size] = 0
    return flat.reshape(x.shape)
