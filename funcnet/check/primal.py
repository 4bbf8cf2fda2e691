"""The same function without its own rules, as a program: what autodiff and differences are taken of."""

import functools
import math
from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from funcnet import _jax
from funcnet._errors import MissingRuleError
from funcnet.backprop.activity import active, is_in
from funcnet.backprop.program import evaluate
from funcnet.backprop.undecorated import run, run_equation
from funcnet.check.subject import Arrays
from funcnet.rules import RULES

_VALUES = {"svd": (0, "singular values"), "eigh": (1, "eigenvalues"), "eig": (0, "eigenvalues")}
"""Of a decomposition the place of its values among its results, and their name."""


@dataclass(frozen=True, eq=False)
class Primal:
    """A program of a function, `primal(rest, *xs) -> ys`, of which `others` inputs come before the floats."""

    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    others: int

    def __call__(self, rest: Arrays, *xs: Any) -> tuple[Any, ...]:
        """Run it, without its custom rules."""
        return tuple(run(self.jaxpr, self.consts, self.inputs(rest, xs)))

    def inputs(self, rest: Arrays, xs: Arrays) -> list[Any]:
        """What its program takes, one after the other."""
        return [*jax.tree.leaves(tuple(rest)), *xs]

    def depends(self) -> tuple[bool, ...]:
        """For each float of the arguments: whether the result depends on it, other than by steps."""
        return tuple(any(is_in(self._moved_by([i]), v) for v in self.jaxpr.outvars) for i in self._floats)

    @functools.cached_property
    def primitives(self) -> frozenset[str]:
        """The names of the primitives that it uses."""
        return frozenset(eqn.primitive.name for eqn in _jax.all_equations(self.jaxpr))

    def decomposes(self) -> bool:
        """Whether it computes eigenvalues or singular values."""
        return not self.primitives.isdisjoint(("svd", "eigh", "eig", "schur"))

    def draws(self) -> bool:
        """Whether it draws random numbers, which are others in another dtype."""
        return any(name.startswith(("random_", "threefry")) for name in self.primitives)

    def iterates(self) -> bool:
        """Whether it has a loop that carries floats on: what comes out may not have converged."""
        loops = (eqn for eqn in _jax.all_equations(self.jaxpr) if eqn.primitive.name in ("scan", "while"))
        counts = ((eqn, _jax.scan_counts(eqn)[1] if eqn.primitive.name == "scan" else None) for eqn in loops)
        return any(jnp.issubdtype(v.aval.dtype, jnp.inexact) for eqn, n in counts for v in eqn.outvars[:n])

    def stops_itself(self) -> bool:
        """Whether it has a loop that decides itself when to stop."""
        return "while" in self.primitives

    def narrowest(self) -> Any:
        """The shortest float dtype between the arguments and the result: what its values are good to."""
        moved = self._moved_by(self._floats)
        kinds = [kind for eqn in self.jaxpr.eqns for kind in _kinds(eqn, moved)]
        return max(kinds, key=lambda kind: jnp.finfo(kind).eps, default=jnp.dtype(jnp.float64))

    def equal_values(self, rest: Arrays, xs: Arrays, within: float) -> str:
        """What is equal whose vectors it uses: "eigenvalues", "singular values", or nothing.

        Equal are two that are apart by less than `within` times the largest.
        """
        used = {id(v) for eqn in self.jaxpr.eqns for v in eqn.invars} | set(map(id, self.jaxpr.outvars))
        found: list[str] = []

        def watched(eqn: _jax.Equation, inputs: Sequence[Any]) -> Sequence[Any]:
            ys = run_equation(eqn, inputs)
            place, name = _VALUES.get(eqn.primitive.name, (None, ""))
            if place is not None and any(id(v) in used for k, v in enumerate(eqn.outvars) if k != place):
                w = np.asarray(ys[place])
                gaps = np.abs(w[..., :, None] - w[..., None, :]) + np.diag(np.full(w.shape[-1], np.inf))
                if (gaps <= within * np.abs(w).max(axis=-1, initial=0)[..., None, None]).any():
                    found.append(name)
            return ys

        evaluate(self.jaxpr, self.consts, self.inputs(rest, xs), watched)
        return next(iter(found), "")

    @property
    def _floats(self) -> range:
        return range(self.others, len(self.jaxpr.invars))

    def _moved_by(self, places: Container[int]) -> frozenset[_jax.Var]:
        asked = tuple(i in places for i in range(len(self.jaxpr.invars)))
        try:
            return active(self.jaxpr, asked, RULES)
        except MissingRuleError:  # some go through a mutable array: it may be any
            return frozenset(v for eqn in self.jaxpr.eqns for v in eqn.outvars)


def longest_sum(jaxpr: _jax.Jaxpr) -> int:
    """How many terms a dot product, a convolution or a scatter adds up, one after the other, at the most."""
    longest = 1
    for eqn in _jax.all_equations(jaxpr):
        if eqn.primitive.name == "dot_general":
            (axes, _), _ = eqn.params["dimension_numbers"]
            longest = max(longest, math.prod(eqn.invars[0].aval.shape[axis] for axis in axes))
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, (features, *_) = eqn.invars[1].aval, eqn.params["dimension_numbers"].rhs_spec
            longest = max(longest, kernel.size // max(kernel.shape[features], 1))
        elif eqn.primitive.name == "scatter-add":
            summed, _, terms = eqn.invars
            longest = max(longest, terms.aval.size // max(summed.aval.size, 1))
    return longest


def _kinds(eqn: _jax.Equation, moved: Collection[_jax.Var]) -> list[Any]:
    """The float dtypes of the results of an equation, those inside of its programs among them."""
    if not any(is_in(moved, v) for v in eqn.outvars):
        return []
    inner = [v for jaxpr, _ in _jax.programs(eqn) for one in _jax.all_equations(jaxpr) for v in one.outvars]
    dtypes = [v.aval.dtype for v in (*eqn.outvars, *inner) if hasattr(v.aval, "dtype")]
    return [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.inexact)]


def program(flat: Callable, rest: Arrays, xs: Arrays) -> Primal:
    """Trace `flat(rest, *xs)`."""
    jaxpr, consts = _jax.open_jaxpr(jax.make_jaxpr(flat)(tuple(rest), *xs))
    return Primal(jaxpr, [_as_host(c) for c in consts], len(jax.tree.leaves(tuple(rest))))


def undecorated(flat: Callable, rest: Arrays, xs: Arrays) -> Primal:
    """Trace `flat(rest, *xs)` and take the custom rules out of its program."""
    return program(program(flat, rest, xs), rest, xs)


def _as_host(const: Any) -> Any:
    """An array that is committed to no device, so that the oracles run where they like."""
    is_key = isinstance(const, jax.Array) and jnp.issubdtype(const.dtype, jax.dtypes.prng_key)
    return const if is_key or not isinstance(const, jax.Array) else np.asarray(const)
