"""What the caller of a check chooses, what each choice may be, and where else that has the function asked.

Elsewhere are multiples of the arguments, of ±1 if those are all 0, or points drawn from a domain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet._errors import ParameterError
from funcnet._types import Host
from funcnet.check.noise import cast, signs
from funcnet.check.probes import Probe
from funcnet.check.subject import Subject
from funcnet.check.thresholds import ELSEWHERE, SLACK, TIMEOUT

TRANSFORMS = ("jit", "vmap")

AT_ZERO = ", with an element set to 0"
"""Where only NaN and infinities count: a rule for symmetric or positive arguments may be off there."""

POINTS = 3
"""How many points are drawn from a domain."""


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
    "positive": lambda x, rng: np.exp(rng.normal(size=x.shape)),  # from 1/8 to 8, more or less
    "unit interval": lambda x, rng: rng.uniform(0.02, 0.98, x.shape),
    "simplex": simplex,
    "correlation": correlation,
}


@dataclass(frozen=True, eq=False)
class Options:
    """The keywords of a check: see `check_vjp`, and `check_kink` for `along`.

    Raises:
        ParameterError: one of them is not what it should be.
    """

    check: Callable
    argnums: int | Sequence[int] | None = None
    reference: Callable | None = None
    dtypes: Sequence[Any] | None = None
    order: int = 1
    transforms: Sequence[str] = TRANSFORMS
    kinks: float | int | None = None
    domain: Any = None
    elsewhere: Sequence[float] = ELSEWHERE
    timeout: float | int = TIMEOUT
    key: Any = 0
    slack: float | int = SLACK
    along: Any = None

    def __post_init__(self) -> None:
        for name, (may_be, expected) in _EXPECTED.items():
            value = getattr(self, name)
            if not may_be(value):
                raise ParameterError(f"{self.check.__name__}: {name}={value!r}, expected {expected}")

    @property
    def seed(self) -> tuple[int, ...]:
        """The numbers of the key, from which all random numbers come."""
        typed = isinstance(self.key, jax.Array) and jnp.issubdtype(self.key.dtype, jax.dtypes.prng_key)
        return tuple(np.asarray(jax.random.key_data(self.key) if typed else self.key).ravel().tolist())

    def points(self, subject: Subject, probe: Probe, rng: np.random.Generator) -> dict[str, Probe]:
        """Where else to ask, by what the message calls it.

        Raises:
            ParameterError: the domain is unknown, or does not fit the arguments.
        """
        found: dict[str, Sequence[Host]] = {}
        if self.domain is not None:
            names = (f", at point {n} drawn from its domain" for n in range(1, POINTS + 1))
            found = {name: _drawn(subject, self.domain, rng) for name in names}
        elif self.elsewhere:
            like, what = probe.xs, "the arguments"
            if not any(map(np.any, like)):  # as what a search for small examples ends with
                like, what = [signs(x, rng) for x in like], "±1, as the arguments are all 0"
            scaled = {f", at {n:g} × {what}": [n * x for x in like] for n in self.elsewhere}
            found = {**scaled, AT_ZERO: [_with_a_zero(x, i) for i, x in enumerate(probe.xs)]}
        own = {where: cast(xs, subject.at(None)) for where, xs in found.items()}  # a rule may count on those
        return {where: Probe(cast(xs, probe.xs), probe.given) for where, xs in own.items()}


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float))


def _is_float_dtype(dtype: Any) -> bool:
    try:
        return bool(jnp.issubdtype(jnp.dtype(dtype), jnp.floating))
    except TypeError:
        return False


_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dtypes": (
        lambda x: x is None or (not isinstance(x, str) and all(map(_is_float_dtype, x))),
        "float dtypes; write dtypes=('float32', 'bfloat16')",
    ),
    "order": (lambda x: isinstance(x, int) and x >= 1, "1 for the gradient, 2 for its gradient, …"),
    "transforms": (lambda x: not isinstance(x, str) and set(x) <= set(TRANSFORMS), f"some of {TRANSFORMS}"),
    "kinks": (
        lambda x: x is None or (_is_number(x) and 0 <= x <= 1),
        "a number from 0, left, to 1, right, or None",
    ),
    "domain": (
        lambda x: not isinstance(x, str) or x in DOMAINS,
        f"one of {', '.join(map(repr, DOMAINS))}, a tuple of such for the arguments, or a function of a key "
        "that draws them",
    ),
    "elsewhere": (
        lambda x: isinstance(x, (tuple, list)) and all(map(_is_number, x)),
        "multiples of the arguments, (0.5, 2)",
    ),
    "timeout": (lambda x: _is_number(x) and x > 0, "a positive number of seconds"),
    "key": (
        lambda x: isinstance(x, jax.Array) or (isinstance(x, int) and x >= 0),
        "a number, 0 or more, or a key of jax.random",
    ),
    "slack": (lambda x: _is_number(x) and x > 0, "a positive number of rounding units"),
}


def _drawn(subject: Subject, domain: Any, rng: np.random.Generator) -> tuple[Host, ...]:
    count, shapes = len(subject.args), [x.shape for x in subject.xs]
    if callable(domain):
        args = domain(jax.random.key(int(rng.integers(2**31))))
        args = args if isinstance(args, tuple) else (args,)
        xs = tuple(map(np.asarray, subject.split(args)[1])) if len(args) == count else ()
        if [x.shape for x in xs] != shapes:
            raise ParameterError(
                f"check of {subject.name}: domain drew {len(args)} arguments with shapes "
                f"{[x.shape for x in xs]}, expected a tuple of {count} like those of the call, "
                f"with shapes {shapes}"
            )
        return xs
    names = domain if isinstance(domain, (tuple, list)) else [domain] * count
    if len(names) != count or not set(names) <= {None, *DOMAINS}:
        what = f"check of {subject.name}: domain={domain!r} for {count} arguments"
        raise ParameterError(f"{what}, expected {_EXPECTED['domain'][1]}")
    return tuple(
        x if names[place] is None else DOMAINS[names[place]](x, rng)
        for x, place in zip(subject.xs, subject.places, strict=True)
    )


def _with_a_zero(x: Host, i: int) -> Host:
    """The i-th argument with a 0 where no other has one, if 0 lies between its elements."""
    if np.iscomplexobj(x) or x.size < 3 or not x.min() < 0 < x.max():
        return x
    flat = x.flatten()
    flat[(i + 1) % x.size] = 0
    return flat.reshape(x.shape)
