"""A tape: a function that has been traced for its arguments, and the plan of its two sweeps.

What a function returns may be of three kinds. Results that depend on the arguments are outputs of the
traced program; results that do not are values already; and what stands beside the result (`has_aux`) is
never differentiated, and may be anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import GradientError, ShapeError
from funcnet.backprop.activity import differentiable
from funcnet.backprop.again import computed_again
from funcnet.backprop.budget import Budget, within
from funcnet.backprop.custom import Differentiated
from funcnet.backprop.sweep import Engine, Plan
from funcnet.backprop.tracing import Traced, trace_function


@dataclass(frozen=True, eq=False)
class Tape:
    """A function with its plan: what a pullback knows beside the stash.

    Attributes:
        traced: the program, from the floats among the leaves of the arguments to what depends on them.
        plan: both sweeps over it, within the budget.
        consts: the values of the plan's constants.
        types: the types of all leaves of the arguments.
        in_tree: the structure of the arguments.
        out_tree: the structure of the result.
        aux_tree: the structure of what is beside it; None where nothing is.
    """

    traced: Traced
    plan: Plan
    consts: Sequence[Any]
    types: Sequence[Any]
    in_tree: Any
    out_tree: Any
    aux_tree: Any

    @property
    def outs(self) -> list[Any]:
        """The types of the leaves of the result."""
        return [self._type(*result) for result in self.traced.results[: self.out_tree.num_leaves]]

    def _type(self, place: int | None, value: Any) -> Any:
        return jax.typeof(value) if place is None else self.traced.jaxpr.outvars[place].aval

    def made_at(self, i: int) -> str:
        """Where the user's code computes the i-th leaf of the result; empty where that is not known."""
        place, _ = self.traced.results[i]
        atom = None if place is None else self.traced.jaxpr.outvars[place]
        return next((_jax.source_line(eqn) for eqn in self.traced.jaxpr.eqns if atom in eqn.outvars), "")

    def forward(self, primals: Any) -> tuple[Any, Any, Any]:
        """The result, what is beside it, and the stash."""
        xs = [x for x, aval in zip(jax.tree.leaves(primals), self.types, strict=True) if differentiable(aval)]
        ys, stashes = self.plan.forward(self.consts, [_jax.as_value(x) for x in xs])
        leaves = self.traced.leaves(ys)
        n = self.out_tree.num_leaves
        aux = None if self.aux_tree is None else self.aux_tree.unflatten(leaves[n:])
        return self.out_tree.unflatten(leaves[:n]), aux, stashes

    def pull(self, stashes: Any, y_bar: Any) -> tuple[Any, ...]:
        """The gradients of the arguments, with zeros where none flows and float0 for integers."""
        y_bars: list[Any] = [None] * len(self.traced.jaxpr.outvars)
        for (place, _), bar in zip(
            self.traced.results, cotangents(y_bar, self.out_tree, self.outs), strict=False
        ):
            if place is not None:
                y_bars[place] = bar
        given = zip(y_bars, self.plan.given, self.traced.jaxpr.outvars, strict=True)
        y_bars = [_jax.zeros(v.aval) if bar is None and one else bar for bar, one, v in given]
        x_bars = iter(self.plan.backward(stashes, y_bars))
        dense = [_dense(next(x_bars) if differentiable(aval) else None, aval) for aval in self.types]
        return self.in_tree.unflatten(dense)


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False, repr=False)
class Pullback:
    """The function that pulls an upstream gradient back to the arguments: a tape with its stash.

    Attributes:
        stashes: what the forward sweep has kept: the arrays of this pytree.
        tape: the tape.
        name: how the function is called in messages.
    """

    stashes: Any
    tape: Tape
    name: str

    def __call__(self, y_bar: Any, *more: Any) -> tuple[Any, ...]:
        """The gradient of Σ ȳ · y for each argument.

        Raises:
            GradientError: more than one upstream gradient.
            ShapeError: it does not have the result's structure, shapes and dtypes.
        """
        if more:
            raise GradientError(
                f"the pullback of {self.name} got {1 + len(more)} arguments, expected one: the upstream "
                f"gradient of its result; where that is a tuple, pass a tuple"
            )
        return self.tape.pull(self.stashes, y_bar)

    def __repr__(self) -> str:
        return f"<the pullback of {self.name}>"

    def with_refs(self, *refs: Any) -> Callable[[Any], tuple[Any, ...]]:
        """The pullback that adds gradients to mutable arrays.

        Args:
            *refs: for each argument, of its structure: a ref, to which the gradient is added,
                `jax.ad.DontWant()` for none, or anything else for a gradient that is returned.

        Returns:
            The pullback; it returns `jax.ad.GradRef()` in the place of a gradient that has gone into a ref.

        Raises:
            GradientError: not one for each argument, of its structure.
        """
        leaves, tree = jax.tree.flatten(refs)
        if tree != self.tape.in_tree:
            raise GradientError(
                f"with_refs of the pullback of {self.name}: got {tree}, expected {self.tape.in_tree}, "
                f"one for each argument"
            )

        def pull(y_bar: Any) -> tuple[Any, ...]:
            x_bars = self.tape.in_tree.flatten_up_to(self(y_bar))
            return tree.unflatten(map(_into, leaves, x_bars))

        return pull

    def tree_flatten(self) -> tuple[tuple[Any], tuple[Tape, str]]:
        """For JAX: its arrays, and the rest."""
        return (self.stashes,), (self.tape, self.name)

    @classmethod
    def tree_unflatten(cls, rest: tuple[Tape, str], stashes: tuple[Any]) -> "Pullback":
        """For JAX: the pullback with these arrays."""
        return cls(*stashes, *rest)


def _into(ref: Any, x_bar: Any) -> Any:
    """Add a gradient to a ref, or return it where there is none."""
    if isinstance(ref, _jax.DontWant):
        return _jax.NOT_WANTED
    if not _jax.is_ref(ref):
        return x_bar
    if ref.shape != x_bar.shape:
        raise ShapeError(
            f"with_refs: got a ref of shape {list(ref.shape)} for a gradient of shape {list(x_bar.shape)}, "
            f"expected the same"
        )
    if x_bar.dtype != jax.dtypes.float0:
        ref[...] += x_bar
    return _jax.IN_REF


def record(
    fun: Callable, primals: tuple[Any, ...], has_aux: bool, planner: Engine, name: str, budget: Budget = None
) -> Tape:
    """Trace a function and plan its sweeps.

    Args:
        fun: the function.
        primals: its arguments.
        has_aux: whether it returns a pair.
        planner: the rules.
        name: how the function is called in messages.
        budget: how much memory the sweeps may take.

    Raises:
        GradientError: it returns no pair though has_aux says so, or what is no array.
        ParameterError: the budget is none, or too small.
        MissingRuleError: a primitive on the way back has no rule.
    """
    leaves, in_tree = jax.tree.flatten(primals)
    types = list(map(jax.typeof, leaves))
    asked = [differentiable(aval) for aval in types]

    def of_floats(*floats: Any) -> Any:
        replaced = iter(floats)
        args = [next(replaced) if one else leaf for leaf, one in zip(leaves, asked, strict=True)]
        result = fun(*in_tree.unflatten(args))
        if has_aux and (not isinstance(result, (tuple, list)) or len(result) != 2):
            raise GradientError(f"{name} returned {type(result).__name__}, expected a pair (result, aux)")
        return tuple(result) if has_aux else result

    traced = trace_function(
        of_floats, list(compress(leaves, asked)), kind=Differentiated, rules=planner.rules
    )
    out_tree, aux_tree = traced.out_tree.children() if has_aux else (traced.out_tree, None)
    results = traced.results[: out_tree.num_leaves]
    _check_results(name, results)
    places = {place for place, _ in results}
    given = tuple(i in places and differentiable(v.aval) for i, v in enumerate(traced.jaxpr.outvars))
    wanted = (True,) * sum(asked)
    jaxpr, consts = within(budget, planner, traced.jaxpr, traced.consts, wanted, given, name)
    plan = planner.plan(jaxpr, wanted, given)
    if jaxpr is traced.jaxpr and plan.again:
        plan = replace(plan, again=computed_again(plan.jaxpr, plan.pullbacks, plan.wanted, turns=True))
    return Tape(traced, plan, consts, types, in_tree, out_tree, aux_tree)


def _check_results(name: str, results: Sequence[tuple[int | None, Any]]) -> None:
    for place, value in results:
        if place is None and not _jax.is_value(value):
            raise GradientError(
                f"{name} returned {type(value).__name__} {value!r}, expected arrays; return what is none "
                f"beside the result, with has_aux=True"
            )


def cotangents(y_bar: Any, out_tree: Any, outs: Sequence[Any]) -> list[Any]:
    """The leaves of an upstream gradient: None for a symbolic zero, and for results that are no floats.

    Args:
        y_bar: the upstream gradient.
        out_tree: the structure of the result.
        outs: the types of the leaves of the result.

    Raises:
        ShapeError: y_bar does not have the result's structure, shapes and dtypes.
    """
    try:
        leaves = out_tree.flatten_up_to(y_bar)
    except ValueError:
        leaves: list[Any] = [()]
    if not jax.tree_util.all_leaves(leaves, is_leaf=lambda x: x is None):
        raise ShapeError(
            f"y_bar has the structure {jax.tree.structure(y_bar)}, expected that of the result, {out_tree}"
        )
    return [_cotangent(i, leaf, aval) for i, (leaf, aval) in enumerate(zip(leaves, outs, strict=True))]


def _cotangent(i: int, y_bar: Any, aval: Any) -> Any:
    if y_bar is None or not differentiable(aval):
        return None
    if _jax.has_own_tangents(aval):
        return y_bar
    if (jnp.shape(y_bar), jnp.result_type(y_bar)) != (aval.shape, aval.dtype):
        raise ShapeError(
            f"y_bar, output {i}: got {jnp.result_type(y_bar)}{list(jnp.shape(y_bar))}, expected "
            f"{aval.dtype}{list(aval.shape)}, the output's own shape and dtype"
        )
    return jnp.asarray(y_bar)


def _dense(x_bar: Any, aval: Any) -> Any:
    if not differentiable(aval):
        return _jax.float0(aval)
    return _jax.zeros(aval) if x_bar is None else x_bar
