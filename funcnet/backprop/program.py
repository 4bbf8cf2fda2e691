"""A program: the equations that lead from given inputs to wanted results, and nothing beside them."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import jax

from funcnet import _jax

CALLS = frozenset(
    (
        "jit",
        "closed_call",
        "core_call",
        "call",
        "composite",
        "custom_vmap_call",
        "eval_jaxpr",
        "remat2",
        "compute_on",
        "program_order",
        "xla_metadata_call",
        "custom_jvp_call",
        "custom_vjp_call",
    )
)
"""Primitives that run one program once, on all their operands."""


FEW = 4
"""Up to so many equations a program costs less to trace inlined than as a call."""


def read(values: Mapping[_jax.Var, Any], atom: Any) -> Any:
    """The value of an operand."""
    return atom.val if _jax.is_literal(atom) else values[atom]


Run = Callable[[_jax.Equation, Sequence[Any]], Sequence[Any]]
"""How an equation is run: on its inputs, to its outputs."""


def step(values: dict[_jax.Var, Any], eqn: _jax.Equation, run: Run = _jax.again) -> None:
    """Run one equation on the values that there are, and put its outputs among them."""
    outputs = run(eqn, [read(values, atom) for atom in eqn.invars])
    values.update(zip(eqn.outvars, outputs, strict=True))


def evaluate(
    jaxpr: _jax.Jaxpr, consts: Sequence[Any], xs: Sequence[Any], run: Run | None = None
) -> list[Any]:
    """The outputs of a program."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *xs], strict=True))
    for eqn in jaxpr.eqns:
        if run is None:
            step(values, eqn)
        else:
            with _jax.context_of(eqn):
                step(values, eqn, run)
    return [read(values, atom) for atom in jaxpr.outvars]


def all_values(jaxpr: _jax.Jaxpr, run: Run = _jax.again) -> Callable[..., dict[_jax.Var, Any]]:
    """The value of every variable of a program, `(consts, xs) -> values`, which is compiled as a whole."""
    start = [*jaxpr.constvars, *jaxpr.invars]

    @jax.jit
    def computed(given: Sequence[Any]) -> list[list[Any]]:
        values = dict(zip(start, given, strict=True))
        for eqn in jaxpr.eqns:
            step(values, eqn, run)
        return [[values[v] for v in eqn.outvars] for eqn in jaxpr.eqns]

    def values(consts: Sequence[Any], xs: Sequence[Any]) -> dict[_jax.Var, Any]:
        given = [*consts, *xs]
        found = dict(zip(start, given, strict=True))
        for eqn, ys in zip(jaxpr.eqns, computed(given), strict=True):
            found.update(zip(eqn.outvars, ys, strict=True))
        return found

    return values


@dataclass(frozen=True, eq=False)
class Program:
    """A straight run of equations without dead ones.

    Attributes:
        inputs: the variables that a call binds.
        consts: the variables whose values are known, with those values.
        eqns: the live equations, in order.
        results: variables and literals; None for a result that nobody wants.
        reads: which inputs it reads.
    """

    inputs: Sequence[_jax.Var]
    consts: Mapping[_jax.Var, Any]
    eqns: Sequence[_jax.Equation]
    results: Sequence[Any]
    reads: tuple[bool, ...]

    def __call__(self, inputs: Iterable[Any]) -> list[Any]:
        """The results for these inputs; what it does not read may be None."""
        values = {**self.consts, **dict(zip(self.inputs, inputs, strict=True))}
        for eqn, atoms, run in self._steps:
            outputs = run([atom.val if known else values[atom] for known, atom in atoms])
            values.update(zip(eqn.outvars, outputs, strict=True))
        return [None if atom is None else read(values, atom) for atom in self.results]

    @functools.cached_property
    def _steps(self) -> list[tuple[_jax.Equation, list[tuple[bool, Any]], Callable]]:
        """For each equation: its operands, and whether they are known already; how it is run."""
        steps = []
        for eqn in self.eqns:
            ready = _jax.Ready(eqn)
            atoms = [(_jax.is_literal(atom), atom) for atom in eqn.invars]
            steps.append((eqn, atoms, ready.again if _jax.is_scoped(eqn) else ready.bind))
        return steps

    def as_call(self, inputs: Sequence[Any]) -> list[Any]:
        """The results; where a program is being traced, it is one equation there, if it is long: a call."""
        if len(self.eqns) <= FEW or self.consts or not _jax.is_writing():
            return self(inputs)
        outputs = iter(self._call.bind(list(compress(inputs, self.reads))))
        return [None if atom is None else next(outputs) for atom in self.results]

    @functools.cached_property
    def _call(self) -> _jax.Ready:
        """The program as a jitted function of the inputs that it reads."""

        def run(*read: Any) -> list[Any]:
            given = iter(read)
            results = self([next(given) if one else None for one in self.reads])
            return [x for x in results if x is not None]

        avals = [v.aval for v in compress(self.inputs, self.reads)]
        jaxpr, consts = _jax.staged(jax.jit(run), avals, "a rule")
        assert not consts
        return _jax.Ready(*jaxpr.eqns)

    def only(self, wanted: Sequence[bool]) -> "Program":
        """The part that leads to these of its results; the others become None."""
        results = [atom if keep else None for atom, keep in zip(self.results, wanted, strict=True)]
        return _without_dead_equations(self.inputs, self.consts, self.eqns, results)


def program(function: Callable, *avals: Any) -> tuple[Program, Any]:
    """Trace a function into a program over the leaves of its arguments; beside it, its result as types.

    A mutable array among its results is one of its arguments.
    """
    leaves, in_tree = jax.tree.flatten(avals)
    found: list[Any] = []

    def flat(*xs: Any) -> list[Any]:
        ys, out_tree = jax.tree.flatten(function(*in_tree.unflatten(xs)))
        refs = {i: next(j for j, x in enumerate(xs) if x is y) for i, y in enumerate(ys) if _jax.is_ref(y)}
        found.extend((out_tree, refs))
        return [y for i, y in enumerate(ys) if i not in refs]

    jaxpr, consts = _jax.staged(flat, list(map(_jax.type_of, leaves)), "a rule")
    known = dict(zip(jaxpr.constvars, consts, strict=True))
    out_tree, refs = found
    arrays = iter(jaxpr.outvars)
    results = [jaxpr.invars[refs[i]] if i in refs else next(arrays) for i in range(out_tree.num_leaves)]
    types = out_tree.unflatten([atom.aval for atom in results])
    return _without_dead_equations(jaxpr.invars, known, jaxpr.eqns, results), types


def live(eqns: Sequence[_jax.Equation], wanted: Iterable[Any]) -> tuple[list[_jax.Equation], set[_jax.Var]]:
    """The equations that lead to the wanted variables or have effects, and every variable they need."""
    needed = {atom for atom in wanted if atom is not None and not _jax.is_literal(atom)}
    kept = []
    for eqn in reversed(eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            kept.append(eqn)
            needed.update(_jax.variables(eqn.invars))
    return kept[::-1], needed


def _without_dead_equations(inputs, consts, eqns, results) -> Program:
    kept, needed = live(eqns, results)
    consts = {v: value for v, value in consts.items() if v in needed}
    return Program(inputs, consts, kept, results, tuple(v in needed for v in inputs))
