"""Programs: the jaxprs that JAX's tracing makes of Python functions, and those inside of their equations.

A program is open, with variables for its constants, or closed, with their values; which of the two stands
among an equation's parameters, and whether constants are inputs, depends on the operation and on the
version of JAX. Here it is always (jaxpr, the values of its constants).
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.core
from jax._src.interpreters.partial_eval import trace_to_jaxpr_dynamic  # there is no public one
from jax._src.state.discharge import discharge_state  # nor of this
from jax.extend import core, linear_util

if TYPE_CHECKING:  # their annotations leave out the shape and dtype of an abstract value
    Equation: TypeAlias = Any
    Jaxpr: TypeAlias = Any
    Var: TypeAlias = Any
else:
    Equation, Jaxpr, Var = core.JaxprEqn, core.Jaxpr, core.Var


is_literal: Callable[[Any], bool] = core.Literal.__instancecheck__
"""Whether an operand of an equation is a constant written into the program; asked most of all questions."""


def variable(aval: Any) -> Var:
    """A new variable of a type."""
    return core.Var(aval)


def variables(atoms: Iterable[Any]) -> list[Any]:
    """Those operands that are no constants."""
    return [atom for atom in atoms if not is_literal(atom)]


def is_high(eqn: Equation) -> bool:
    """Whether an equation must be written out before a program is compiled (newer JAX has such)."""
    ask = eqn.primitive.is_high
    if getattr(ask, "__func__", None) is core.Primitive.is_high:
        return ask(**eqn.params)  # for which the types do not matter
    return ask(*[v.aval for v in eqn.invars], **eqn.params)


def open_jaxpr(program: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A sub-program as (jaxpr, the values of its constvars), whether JAX keeps it open or closed."""
    if hasattr(program, "consts") and hasattr(program, "jaxpr"):
        return program.jaxpr, program.consts
    return program, ()


def closed(jaxpr: Jaxpr, consts: Sequence[Any]) -> Any:
    """A program with the values of its constants."""
    return core.ClosedJaxpr(jaxpr, consts)


def called(eqn: Equation) -> tuple[Jaxpr, Sequence[Any]]:
    """The program that a call runs on its inputs."""
    return called_by(eqn.params)


def called_by(params: Mapping[str, Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """The program among the parameters of a call."""
    name = next(filter(params.__contains__, ("jaxpr", "call_jaxpr", "call", "callee")))
    return open_jaxpr(params[name])


def programs(eqn: Equation) -> list[tuple[Jaxpr, Sequence[Any]]]:
    """The programs that an equation calls: a jitted function, branches, a loop's condition and body."""
    return [open_jaxpr(program) for program in core.jaxprs_in_params(eqn.params)]


def all_equations(jaxpr: Jaxpr) -> Iterator[Equation]:
    """The equations of a program and of the programs in it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for program, _ in programs(eqn):
            yield from all_equations(program)


def with_programs(eqn: Equation, rewrite: Callable[[Jaxpr, Sequence[Any]], Any]) -> Equation:
    """The equation with each program that it calls replaced by `rewrite(jaxpr, consts)`, of the same types.

    A program that JAX keeps open, without constants, must stay so.
    """

    def rewritten(value: Any) -> Any:
        if isinstance(value, (core.Jaxpr, core.ClosedJaxpr)):
            closed = rewrite(*open_jaxpr(value))
            return closed if isinstance(value, type(closed)) else open_jaxpr(closed)[0]
        if isinstance(value, tuple):
            parts = map(rewritten, value)
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        return value

    return eqn.replace(params={name: rewritten(value) for name, value in eqn.params.items()})


def staged(
    function: Callable[..., Sequence[Any]], avals: Sequence[Any], name: str
) -> tuple[Jaxpr, Sequence[Any]]:
    """The program of a function of arrays of these types to a list of arrays, and its constants.

    It is what `jax.make_jaxpr` gives, in a fifth of its time.
    """
    leading = jax.__version_info__ >= (0, 11)  # constants are the first inputs there until they have values
    if leading and not hasattr(core.Jaxpr, "with_consts"):
        return open_jaxpr(jax.make_jaxpr(function)(*avals))
    info = core.DebugInfo("funcnet", name, None, None)
    jaxpr, _, consts = trace_to_jaxpr_dynamic(linear_util.wrap_init(function, debug_info=info), avals)
    return jaxpr.with_consts(consts) if leading else jaxpr, consts


def part(eqns: Sequence[Equation], inputs: Sequence[Var], results: Sequence[Var], name: str) -> Jaxpr:
    """A run of equations of a program as a program by itself.

    Args:
        eqns: the equations.
        inputs: all variables that they read of others.
        results: variables of theirs.
        name: how it is called where JAX asks.
    """
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    info = core.DebugInfo("funcnet", name, None, None)
    return core.Jaxpr((), inputs, results, eqns, effects, info, any(map(is_high, eqns)))


def without_constants(jaxpr: Jaxpr) -> Jaxpr:
    """The same program with its constants as inputs, after the others."""
    return jaxpr.replace(constvars=(), invars=(*jaxpr.invars, *jaxpr.constvars))


def with_constants(jaxpr: Jaxpr, n: int, eqns: Sequence[Equation], consts: Sequence[Any]) -> Jaxpr:
    """A program of these equations whose first n inputs are constants too, before those that it has.

    Args:
        jaxpr: a program with the same inputs and results.
        n: how many.
        eqns: its equations.
        consts: the values of all constants.
    """
    constvars, invars = (*jaxpr.invars[:n], *jaxpr.constvars), jaxpr.invars[n:]
    info = core.DebugInfo("funcnet", jaxpr.debug_info.func_name, None, None)
    rest = jaxpr.outvars, eqns, jaxpr.effects, info, jaxpr.is_high
    if hasattr(jaxpr, "with_consts"):  # newer JAX: constants are inputs that have values
        program: Any = core.Jaxpr((), (*constvars, *invars), *rest)
        return program.with_consts(consts)
    return core.Jaxpr(constvars, invars, *rest)


def without_refs(function: Callable, avals: Sequence[Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """The program of a function of these types with a value in the place of each ref.

    After its results it returns the new values of the refs among its arguments.
    """
    return open_jaxpr(discharge_state(jax.make_jaxpr(function)(*avals), lower=False))


@functools.lru_cache(maxsize=512)
def without_local_refs(jaxpr: Jaxpr) -> Jaxpr:
    """The same program without the refs that it makes for itself."""
    if not any(eqn.primitive.ref_allocating for eqn in jaxpr.eqns):
        return jaxpr
    given = [not hasattr(v.aval, "inner_aval") for v in (*jaxpr.invars, *jaxpr.constvars)]
    closed = core.ClosedJaxpr(without_constants(jaxpr), ())
    discharged, consts = open_jaxpr(discharge_state(closed, should_discharge=given, lower=False))
    assert not consts
    n = len(jaxpr.invars)
    values = {"consts": jaxpr.consts} if hasattr(jaxpr, "consts") else {}  # in newer JAX
    return discharged.replace(invars=discharged.invars[:n], constvars=discharged.invars[n:], **values)


def scan_counts(eqn: Equation) -> tuple[int, int]:
    """How many of a scan's operands are constants, and how many are carried."""
    return scan_counts_of(eqn.params)


def scan_counts_of(params: Mapping[str, Any]) -> tuple[int, int]:
    """The same, by the parameters of the scan."""
    if "ft_in" in params:
        consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())
        return consts, carry
    return params["num_consts"], params["num_carry"]


def is_placed(eqn: Equation) -> bool:
    """Whether a jitted call says where its arguments or results lie."""
    names = ("in_shardings", "out_shardings", "in_layouts", "out_layouts")
    places = [place for name in names for place in eqn.params.get(name, ())]
    return any(place is not None and type(place).__name__ != "UnspecifiedValue" for place in places)
