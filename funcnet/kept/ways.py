"""A function and its way back as one program, as under `jax.jit`, and what crosses from one to the other.

    x ──forward──▶ y
          │ kept
    x̄ ◀──backward── ȳ

The pullback is traced where the forward pass has been: what it reads of that are the places which both have
in common. They are exactly what must be there until the way back comes. What no rule reads is not among them,
nor what only a gradient would need that nobody has asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core
from jax import lax

from funcnet import _jax
from funcnet._errors import GradientError
from funcnet.backprop import argument_names
from funcnet.backprop.activity import differentiable
from funcnet.backprop.arguments import differentiated
from funcnet.backprop.budget import Budget
from funcnet.backprop.checks import check_arrays, traced_without_values, where
from funcnet.backprop.program import program
from funcnet.backprop.sweep import Engine
from funcnet.backprop.tape import record
from funcnet.backprop.user_rules import ruled
from funcnet.kept.held import BACK, FORWARD
from funcnet.kept.straight import Operation, Place, Straight


@dataclass(frozen=True, eq=False)
class Ways:
    """Both ways of a function, written out.

    Attributes:
        forward: the operations of the forward pass.
        backward: those of the way back.
        arguments: the places of the arguments, with their names.
        constants: the places of what the function closes over.
        results: the places of the results and of the gradients.
    """

    forward: Sequence[Operation]
    backward: Sequence[Operation]
    arguments: Mapping[Place, str]
    constants: Sequence[Place]
    results: set[Place]

    @property
    def kept(self) -> list[Place]:
        """What the way back reads of arguments and of the forward pass, in the order in which it is made.

        A constant that no rule reads is a table of a loop's own way back.
        """
        read = {place for one in self.backward for place in one.ins}
        made = [place for one in self.forward for place in one.outs]
        constants = [place for place in self.constants if place.readers]
        return [place for place in (*self.arguments, *constants, *made) if place in read]


class Question:
    """What is asked: of which function, for which of its arguments, of what types.

    Arrays are operands, as under `jax.jit`. Whatever else is among the arguments (flags, functions, Python's
    numbers) is what it is, unless its gradient is asked for.

    Attributes:
        types: the types of the operands.
        names: how they are called.

    Raises:
        GradientError: an argument whose gradient is asked for is no array.
    """

    def __init__(
        self,
        f: Callable,
        argnums: int | Sequence[int],
        has_aux: bool,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        budget: Budget = None,
    ):
        self.f, self.argnums, self.has_aux, self.budget = f, argnums, has_aux, budget
        paths, self.tree = jax.tree_util.tree_flatten_with_path((tuple(args), dict(kwargs)))
        self.leaves = [leaf for _, leaf in paths]
        _, asked, _ = differentiated(f, argnums, tuple(args), {})
        check_arrays("stash", f, jax.tree.map(lambda x: 0.0 if is_type(x) else x, asked))
        wanted = {id(leaf) for leaf in jax.tree.leaves(asked)}
        self.places = [i for i, x in enumerate(self.leaves) if id(x) in wanted or is_array(x)]
        self.types = [type_of(self.leaves[i]) for i in self.places]
        self.names = argument_names(f, [paths[i][0] for i in self.places])
        if not any(map(differentiable, map(type_of, jax.tree.leaves(asked)))):
            came = ", ".join(type_of(x).str_short() for x in jax.tree.leaves(asked)) or "nothing"
            raise GradientError(
                f"stash of {where(f)}: the gradient is asked for of {came}, expected floats; argnums says "
                f"which arguments are differentiated"
            )

    def gradient(self, xs: Sequence[Any], engine: Engine) -> tuple[Any, Any, Any]:
        """The results, the stash, and the gradients for upstream gradients of 1.

        Of a user's rule the stash is what it has put aside, of mere data too.
        """
        leaves = list(self.leaves)
        for i, x in zip(self.places, xs, strict=True):
            leaves[i] = x
        args, kwargs = self.tree.unflatten(leaves)
        of_arguments, primals, _ = differentiated(self.f, self.argnums, args, kwargs)
        tape = record(of_arguments, primals, self.has_aux, engine, where(self.f), self.budget)
        with jax.named_scope(FORWARD):
            y, aux, stash = tape.forward(primals)
        data = [eqn.params["rule"].aside for eqn in tape.plan.jaxpr.eqns if eqn.primitive is ruled]
        y_bar = jax.tree.map(lambda y: lax.full_like(y, 1) if differentiable(jax.typeof(y)) else None, y)
        with jax.named_scope(BACK):
            x_bars = jax.tree.leaves(tape.pull(stash, y_bar))
        values = list(filter(_jax.is_value, jax.tree.leaves((y, aux))))
        return values, (stash, data), [bar for bar in x_bars if bar.dtype != jax.dtypes.float0]

    def ways(self, engine: Engine) -> Ways:
        """Both ways, by the rules of this engine."""
        sizes: list[int] = []

        def both(*xs: Any) -> list[list[Any]]:
            parts = [list(filter(_jax.is_value, jax.tree.leaves(part))) for part in self.gradient(xs, engine)]
            sizes[:] = map(len, parts)
            return parts

        with traced_without_values():
            whole, _ = program(both, *self.types)
        results, stash, gradients = sizes
        ahead = whole.only([True] * (results + stash) + [False] * gradients)
        whole = whole.only([True] * results + [False] * stash + [True] * gradients)
        first = set(map(id, ahead.eqns))
        straight = Straight()
        arguments = {Place(v.aval): name for v, name in zip(whole.inputs, self.names, strict=True)}
        constants = [Place(v.aval) for v in whole.consts]
        straight.bind([*whole.inputs, *whole.consts], [(place, None) for place in (*arguments, *constants)])
        straight.write(eqn for eqn in whole.eqns if id(eqn) in first)
        n = len(straight.operations)
        straight.write(eqn for eqn in whole.eqns if id(eqn) not in first)
        ends = {straight.place(atom) for atom in whole.results if atom is not None}
        forward, backward = straight.operations[:n], straight.operations[n:]
        return Ways(forward, backward, arguments, constants, {place for place in ends if place})

    def compiled(self, engine: Engine) -> Any:
        """The value and the gradient, compiled."""
        run = jax.jit(lambda *xs: self.gradient(xs, engine)[::2])
        types = [jax.ShapeDtypeStruct(t.shape, t.dtype, weak_type=t.weak_type) for t in self.types]
        with traced_without_values():
            return run.lower(*types).compile()


def is_array(x: Any) -> bool:
    """Whether a leaf of the arguments is an array of any kind, or stands for one."""
    return is_type(x) or (hasattr(x, "dtype") and _jax.is_value(x))


def is_type(x: Any) -> bool:
    """Whether this stands for an array."""
    return isinstance(x, jax.ShapeDtypeStruct)


def type_of(x: Any) -> Any:
    """The type of an array, or of what one stands for."""
    return jax.core.ShapedArray(x.shape, x.dtype, bool(x.weak_type)) if is_type(x) else _jax.type_of(x)
