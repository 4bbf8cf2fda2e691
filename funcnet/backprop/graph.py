"""The computational graph of a function: what a jaxpr says, for people.

CS231n 2019, lecture 4, slides 56 to 98: a function is a graph of simple operations; the forward pass
gives every node its value, and the backward pass gives every node its gradient.

    f, args ──trace──▶ Graph ──forward──▶ values ──backward──▶ gradients

Every value of the graph has a number: the inputs first, then what the function closes over, then the
outputs of the nodes in the order in which they run. `values[n]` and `gradients[n]` belong to value n.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from funcnet import _jax
from funcnet._errors import ShapeError
from funcnet.backprop.activity import differentiable
from funcnet.backprop.alive import Alive, Lives
from funcnet.backprop.composed import with_calls
from funcnet.backprop.engine import engine
from funcnet.backprop.program import read, step
from funcnet.backprop.tape import cotangents
from funcnet.rules import RULES, Table, rule_name


@dataclass(frozen=True)
class Value:
    """A place in the graph where an array stands.

    Attributes:
        number: its place in the results of `Graph.forward` and `Graph.backward`.
        shape: the array's shape.
        dtype: the array's dtype.
        name: how the argument is called, `x` or `params['w']`; empty for what a node computes.
    """

    number: int
    shape: tuple[int, ...]
    dtype: Any
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name or f'%{self.number}'}: {self.dtype}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Constant:
    """A number written into the program."""

    value: Any

    def __str__(self) -> str:
        return f"{self.value}"


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of the graph.

    Attributes:
        primitive: the name of its primitive: `mul`, `dot_general`, `jit`.
        name: the function that it calls if that has a name, `relu`, else its primitive.
        inputs: values of the graph, and constants.
        outputs: the values that it computes.
        parameters: what else its primitive needs to know.
        line: where the user's code wrote it: file, line, column and function.
        scope: the `jax.named_scope` names around it, joined by slashes.
        graphs: the graphs that it calls: a jitted function, the branches of a cond, the body of a loop.
    """

    primitive: str
    name: str
    inputs: tuple[Value | Constant, ...]
    outputs: tuple[Value, ...]
    parameters: Mapping[str, Any]
    line: str
    scope: str
    graphs: tuple["Graph", ...]

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.outputs))} = {self.name}({', '.join(map(str, self.inputs))})"


@dataclass(frozen=True, eq=False)
class Graph:
    """The computational graph of a function for arguments of certain shapes; `trace` makes one.

    Attributes:
        jaxpr: JAX's own form of the program.
        consts: the values that the function closes over.
        names: the names of the inputs.
        in_tree: the structure of `(args, kwargs)`.
        out_tree: the structure of the result.
    """

    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    names: Sequence[str]
    in_tree: Any
    out_tree: Any

    @functools.cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The operations, in the order in which they run."""
        return tuple(
            Node(
                eqn.primitive.name,
                _jax.function_name(eqn) or eqn.primitive.name,
                tuple(map(self._operand, eqn.invars)),
                tuple(self._values[v] for v in eqn.outvars),
                dict(eqn.params),
                _jax.source_line(eqn),
                _jax.scope(eqn),
                tuple(_graph_of(eqn, *program) for program in _jax.programs(eqn)),
            )
            for eqn in self.jaxpr.eqns
        )

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The leaves of the arguments."""
        return tuple(self._values[v] for v in self.jaxpr.invars)

    @property
    def constants(self) -> tuple[Value, ...]:
        """What the function closes over."""
        return tuple(self._values[v] for v in self.jaxpr.constvars)

    @property
    def outputs(self) -> tuple[Value | Constant, ...]:
        """The leaves of the result."""
        return tuple(map(self._operand, self.jaxpr.outvars))

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The value at every place of the graph.

        Args:
            *args: arguments of the shapes that the graph was traced for.
            **kwargs: likewise.

        Returns:
            By number, the inputs, the constants and the outputs of all nodes.

        Raises:
            ShapeError: the arguments are not of the traced structure, shapes and dtypes.

        Example:
            >>> import funcnet
            >>> graph = funcnet.trace(lambda x, y: (x + y) * x)(2.0, 3.0)
            >>> [float(value) for value in graph.forward(2.0, 3.0)]
            [2.0, 3.0, 5.0, 10.0]
        """
        leaves, tree = jax.tree.flatten((args, kwargs))
        came = [jnp.result_type(x).name + str(list(jnp.shape(x))) for x in leaves]
        expected = [v.aval.dtype.name + str(list(v.aval.shape)) for v in self.jaxpr.invars]
        if tree != self.in_tree or came != expected:
            raise ShapeError(
                f"forward: got {', '.join(came)} in {tree}, expected {', '.join(expected)} in "
                f"{self.in_tree}; trace the function again for these arguments"
            )
        values = dict(zip([*self.jaxpr.invars, *self.jaxpr.constvars], [*leaves, *self.consts], strict=True))
        for eqn in self.jaxpr.eqns:
            step(values, eqn)
        return tuple(values[v] for v in self._values)

    def backward(self, values: Sequence[Any], y_bar: Any, *, rules: Table = RULES) -> tuple[Any, ...]:
        """The gradient at every place of the graph.

        Args:
            values: what `forward` returned.
            y_bar: the upstream gradient, of the result's structure, shapes and dtypes; None in it for zero.
            rules: the table of rules.

        Returns:
            By number, the gradient of Σ y_bar · y, or None where none flows: to integers, and to what is
            made of integers and literals alone. An operation with a program of its own (a loop, a jitted
            function) runs forward once more for what its way back needs.

        Raises:
            ShapeError: y_bar does not have the result's structure, shapes and dtypes, or values are missing.
            MissingRuleError: an operation on the way back has no rule.

        Example:
            >>> import funcnet
            >>> graph = funcnet.trace(lambda x, y: (x + y) * x)(2.0, 3.0)
            >>> [float(g) for g in graph.backward(graph.forward(2.0, 3.0), 1.0)]
            [7.0, 2.0, 2.0, 1.0]
        """
        return self.backward_by_use(values, y_bar, rules=rules)[0]

    def backward_by_use(
        self, values: Sequence[Any], y_bar: Any, *, rules: Table = RULES
    ) -> tuple[tuple[Any, ...], tuple[tuple[Any, ...], ...]]:
        """The gradient at every place of the graph, and its summands: what each use of a value sends back.

        Args:
            values: as for `backward`.
            y_bar: as for `backward`.
            rules: as for `backward`.

        Returns:
            What `backward` returns, and for each node, in the order of `nodes`, the gradient that it sends
            back to each of its inputs, or None. The gradient at a value is the sum of what its uses send
            back, and of y_bar where it is a result (slide 88).

        Raises:
            ShapeError: as `backward`.
            MissingRuleError: as `backward`.

        Example:
            >>> import funcnet
            >>> graph = funcnet.trace(lambda x, y: (x + y) * x)(2.0, 3.0)
            >>> _, sent = graph.backward_by_use(graph.forward(2.0, 3.0), 1.0)
            >>> [[float(x_bar) for x_bar in x_bars] for x_bars in sent]
            [[2.0, 2.0], [2.0, 5.0]]
        """
        y_bars = self.cotangents(y_bar)
        bars, sent, _ = self.masked_backward(values, y_bars, [None] * len(y_bars), rules)
        return tuple(x_bar for x_bar, _ in bars), sent

    def cotangents(self, y_bar: Any) -> list[Any]:
        """The leaves of an upstream gradient of the result: None for zero, and for what is no float.

        Raises:
            ShapeError: y_bar does not have the result's structure, shapes and dtypes.
        """
        return cotangents(y_bar, self.out_tree, [v.aval for v in self.jaxpr.outvars])

    def masked_backward(
        self, values: Sequence[Any], y_bars: Sequence[Any], lives: Lives, rules: Table
    ) -> tuple[Sequence[tuple[Any, Alive | None]], tuple[tuple[Any, ...], ...], tuple[tuple[Any, ...], ...]]:
        """What `backward_by_use` returns, where each gradient is alive, and what each node keeps.

        Args:
            values: as for `backward`.
            y_bars: the upstream gradients of the leaves of the result; None for zero.
            lives: where these are alive.
            rules: as for `backward`.
        """
        if len(values) != len(self._values):
            raise ShapeError(
                f"backward: got {len(values)} values, expected {len(self._values)}, all that forward returned"
            )
        jaxpr = _jax.without_constants(self.jaxpr)
        asked = tuple(differentiable(v.aval) for v in jaxpr.invars)
        given = tuple(y is not None for y in y_bars)
        plan = engine(rules).plan(jaxpr, asked, given, as_written=True)
        known = dict(zip(self._values, values, strict=True))
        stashes = []
        for i, pullback in plan.pullbacks.items():
            eqn = jaxpr.eqns[i]
            if pullback.forward is None:
                stashes.append(plan.stash(i, known))
            else:
                stashes.append(pullback.forward([read(known, atom) for atom in eqn.invars])[1])
        bars = plan.start(y_bars, lives)
        sent = dict(plan.steps(stashes, bars))
        kept = {i: tuple(jax.tree.leaves(stash)) for i, stash in zip(plan.pullbacks, stashes, strict=True)}
        nothing = [(None,) * len(eqn.invars) for eqn in jaxpr.eqns]
        return (
            [bars.get(v, (None, None)) for v in self._values],
            tuple(tuple(sent.get(i, none)) for i, none in enumerate(nothing)),
            tuple(kept.get(i, ()) for i in range(len(jaxpr.eqns))),
        )

    @functools.cached_property
    def _values(self) -> dict[_jax.Var, Value]:
        """Every variable's place, in the order of the numbers."""
        named = dict(zip(self.jaxpr.invars, self.names, strict=True))
        computed = [v for eqn in self.jaxpr.eqns for v in eqn.outvars]
        places = enumerate([*self.jaxpr.invars, *self.jaxpr.constvars, *computed])
        return {v: Value(i, v.aval.shape, v.aval.dtype, named.get(v, "")) for i, v in places}

    def _operand(self, atom: Any) -> Value | Constant:
        return Constant(atom.val) if _jax.is_literal(atom) else self._values[atom]

    def __str__(self) -> str:
        lines = [f"{node}    {node.line}" for node in self.nodes]
        return "\n".join([", ".join(map(str, self.inputs)), *lines, ", ".join(map(str, self.outputs))])


def _graph_of(eqn: _jax.Equation, jaxpr: _jax.Jaxpr, consts: Sequence[Any]) -> Graph:
    """The graph of a program inside a graph."""
    has_rule = rule_name(eqn.primitive, eqn.params, RULES) in RULES
    jaxpr = jaxpr if has_rule else with_calls(jaxpr, RULES)
    ins, outs = ([None] * len(variables) for variables in (jaxpr.invars, jaxpr.outvars))
    in_tree = jax.tree.structure((tuple(ins), {}), is_leaf=lambda x: x is None)
    out_tree = jax.tree.structure(outs, is_leaf=lambda x: x is None)
    return Graph(jaxpr, consts, [""] * len(ins), in_tree, out_tree)
