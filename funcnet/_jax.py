"""Everything that differs between JAX versions, and every use of JAX beyond its public functions.

The engine reads jaxprs: the programs, as data, that JAX's tracing makes of Python functions. Their
vocabulary is stable, their spelling is not. Equations, parameters and sub-programs get one spelling
here, so that no other file asks which JAX it runs on.
"""

import contextlib
import functools
import inspect
import itertools
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import jaxtyping
import numpy as np
from jax._src import config, distributed  # of these seven there are no public ones
from jax._src.core import eval_trace
from jax._src.interpreters.ad import NullAccum, ValAccum
from jax._src.interpreters.partial_eval import trace_to_jaxpr_dynamic
from jax._src.state.discharge import discharge_state
from jax.custom_derivatives import SymbolicZero
from jax.extend import core, linear_util, source_info_util
from jax.interpreters import ad

from funcnet._errors import RuleError

if TYPE_CHECKING:  # their annotations leave out the shape and dtype of an abstract value
    Equation: TypeAlias = Any
    Jaxpr: TypeAlias = Any
    Var: TypeAlias = Any
else:
    Equation, Jaxpr, Var = core.JaxprEqn, core.Jaxpr, core.Var


Zero, UndefinedPrimal = ad.Zero, ad.UndefinedPrimal
"""In the rules of primitives: a tangent or cotangent that is zero, and the operand a transpose is for."""


_ad = jax.ad  # pyright: ignore[reportPrivateImportUsage]
DontWant, NOT_WANTED, IN_REF = _ad.DontWant, _ad.DidntWant(), _ad.GradRef()
"""What a pullback with refs is told, and returns, for a gradient that nobody wants or that a ref has got."""


class Transparent(core.Primitive):
    """A primitive of funcnet's own programs: where they run it is a function, and leaves no equation."""

    multiple_results = True
    run: Callable[..., list[Any]]

    def bind(self, *operands: Any, **params: Any) -> list[Any]:
        return self.run(*operands, **params)


class Mark(core.Primitive):
    """A primitive of funcnet's own programs that hands its operand on, and stays there as an equation."""

    def __init__(self, name: str):
        super().__init__(name)
        self.def_impl(lambda x, **params: x)
        self.def_abstract_eval(lambda x, **params: x)


_PACKAGE, _JAX = Path(__file__).parent, Path(jax.__file__).parent
_NOT_THE_USERS = [
    _PACKAGE / "backprop",
    _PACKAGE / "rules",
    _PACKAGE / "nonfinite",
    _PACKAGE / "kept",
    _PACKAGE / "nn/_gate.py",
    _PACKAGE / "_jax.py",
    Path(jaxtyping.__file__).parent,
]
for _place in _NOT_THE_USERS:  # a source line is never one of these: they only pass on what the user wrote
    source_info_util.register_exclusion(str(_place))

# Parameters that say where a value lives or how it is laid out, never what it is.
_PLACEMENT = frozenset({"sharding", "out_sharding", "accuracy", "dtype_sharding"})


def type_of(x: Any) -> Any:
    """The type of an array or a number; a type is its own."""
    return x if isinstance(x, jax.core.AbstractValue) else jax.typeof(x)


def function_info(f: Callable) -> str:
    """Name and place of a function, for JAX's messages."""
    code = getattr(inspect.unwrap(f), "__code__", None)
    return f"{f.__name__} at {code.co_filename}:{code.co_firstlineno}" if code else repr(f)


def current_trace() -> Any:
    """Where operations are run now: evaluated, or recorded by a transformation."""
    with core.take_current_trace() as trace:
        return trace


set_current_trace = core.set_current_trace


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


def writes(trace: Any) -> bool:
    """Whether operations that come to this trace are written into a program."""
    return hasattr(trace, "emit_eqn")


def is_writing() -> bool:
    """Whether what runs now is written into a program, calls of jitted functions as calls."""
    return writes(core.find_top_trace(())) and not config.disable_jit.value


def call(function: Any, *operands: Any) -> Any:
    """Call a function, which JAX may have wrapped."""
    return getattr(function, "call_wrapped", function)(*operands)


def repeatable(function: Any) -> Callable[..., Any]:
    """A function that JAX has wrapped, which may be called more than once."""

    def run(*operands: Any) -> Any:
        for store in function.stores:
            if store is not None:
                store.reset()
        return function.call_wrapped(*operands)

    return run


def like(wrapped: Any, function: Callable) -> Any:
    """A function in the place of one that JAX may have wrapped."""
    if hasattr(wrapped, "debug_info"):
        return linear_util.wrap_init(function, debug_info=wrapped.debug_info)
    return function


def mapped(function: Callable, outs: Any) -> Any:
    """A function of each of the results that JAX's own code returns, in a list or in a tree of its own."""
    return outs.map(function) if hasattr(outs, "map") else list(map(function, outs))


def has_effects(primitive: Any, params: dict[str, Any]) -> bool:
    """Whether to run an operation twice is not to run it once: it allocates a ref, or has other effects."""
    programs = core.jaxprs_in_params(params)
    return primitive.ref_allocating or primitive.name == "io_callback" or any(p.effects for p in programs)


def is_literal(atom: Any) -> bool:
    """Whether an operand of an equation is a constant written into the program."""
    return isinstance(atom, core.Literal)


def variables(atoms: Iterable[Any]) -> list[Any]:
    """Those operands that are no constants."""
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def rule_name(primitive: Any, params: Mapping[str, Any]) -> str:
    """Under which name to look for the rule of an operation: its primitive's, if that is JAX's own.

    For an operation of hijax without a rule in the table it is the name of its class.
    """
    if is_foreign(primitive):
        return f"{primitive.name} of {author_of(primitive)}"
    kind = type(params["_prim"]).__name__ if primitive.name == "call_hi_primitive" else "Ldexp"
    return primitive.name if kind == "Ldexp" else kind


NAMED_CALLS = frozenset({"jit", "custom_jvp_call"})
"""Primitives that call a function of which it is known where that is defined."""


def called_function(primitive: Any, params: Mapping[str, Any]) -> str:
    """Where in JAX, or here, the function of a call is defined, `nn.functions.relu`; empty for all else."""
    if primitive.name not in NAMED_CALLS:
        return ""
    return defined_in(called_by(params)[0].debug_info.func_src_info)


@functools.lru_cache(maxsize=4096)
def defined_in(place: str | None) -> str:
    """The module and the name of a function of JAX's or of ours, from JAX's word for where a function is."""
    name, _, line = (place or "").partition(" at ")
    path = Path(line.rpartition(":")[0])
    for home, package in ((_JAX, ()), (_PACKAGE, ("funcnet",))):
        if path.is_relative_to(home):
            module = path.relative_to(home).with_suffix("").parts
            return ".".join([*package, *module[module[0] == "_src" :], name])
    return ""


def is_of_jax(eqn: Equation) -> bool:
    """Whether an equation calls a function of JAX's own, which may have been traced for another call."""
    names = ("jaxpr", "call_jaxpr")
    infos = [open_jaxpr(eqn.params[name])[0].debug_info for name in names if name in eqn.params]
    places = [defined_in(info.func_src_info) for info in infos]
    return any(place and not place.startswith("funcnet.") for place in places)


def nameless(eqn: Equation) -> Equation:
    """The same call of a function, of which it is no longer known where that is defined."""

    def without_place(jaxpr: Jaxpr, consts: Sequence[Any]) -> Any:
        info = jaxpr.debug_info._replace(func_src_info=None)
        return core.ClosedJaxpr(jaxpr.replace(debug_info=info), consts)

    return with_programs(eqn, without_place)


def with_shape(aval: Any, shape: tuple[int, ...]) -> Any:
    """The type of arrays of this shape of the same numbers, on no device in particular."""
    return jax.core.ShapedArray(shape, aval.dtype, aval.weak_type)


def bools(aval: Any) -> Any:
    """The type of arrays of bools of the shape of this type, where it lies."""
    return aval.update(dtype=np.dtype(bool), weak_type=False)


def uses_a_ref(eqn: Equation) -> bool:
    """Whether an equation reads or writes a mutable array (`jax.new_ref`)."""
    return bool(eqn.effects) and any(hasattr(v.aval, "inner_aval") for v in (*eqn.invars, *eqn.outvars))


def open_jaxpr(program: Any) -> tuple[Jaxpr, Sequence[Any]]:
    """A sub-program as (jaxpr, the values of its constvars), whether JAX keeps it open or closed."""
    if hasattr(program, "consts") and hasattr(program, "jaxpr"):
        return program.jaxpr, program.consts
    return program, ()


def without_constants(jaxpr: Jaxpr) -> Jaxpr:
    """The same program with its constants as inputs, after the others."""
    return jaxpr.replace(constvars=(), invars=(*jaxpr.invars, *jaxpr.constvars))


def parameters(eqn: Equation) -> dict[str, Any]:
    """The parameters of an equation that its rule sees: what to compute, not where."""
    return {name: value for name, value in eqn.params.items() if name not in _PLACEMENT}


class Ready:
    """An equation made ready to be run again.

    Where a program is being traced, and the inputs have the types that the equation was traced with, it is
    written there as it stands: its types need not be inferred, nor its own programs traced, again.
    """

    __slots__ = ("eqn", "ins", "outs", "stands")

    def __init__(self, eqn: Equation):
        self.eqn = eqn
        self.ins = [None if is_literal(atom) else atom.aval for atom in eqn.invars]
        self.outs = [v.aval for v in eqn.outvars]
        self.stands = not (eqn.effects or isinstance(eqn.primitive, Transparent) or is_high(eqn))

    def bind(self, inputs: Sequence[Any]) -> list[Any]:
        """Its outputs for new inputs."""
        trace = core.find_top_trace(inputs)
        if self.fits(trace, inputs):
            return self.written(trace, inputs, source_info_util.current(), None)
        return self.run(inputs)

    def again(self, inputs: Sequence[Any]) -> list[Any]:
        """Its outputs for new inputs, run as it was: with its source line, named scopes and settings."""
        trace = core.find_top_trace(inputs)
        if self.fits(trace, inputs):
            info, names = self.eqn.source_info, source_info_util.current_name_stack()
            info = info.replace(name_stack=names + info.name_stack) if names.stack else info
            return self.written(trace, inputs, info, self.eqn.ctx)
        with context_of(self.eqn):
            return self.run(inputs)

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """Its outputs, whatever the inputs are."""
        primitive = self.eqn.primitive
        outputs = primitive.bind(*inputs, **primitive.get_bind_params(self.eqn.params))
        return list(outputs) if primitive.multiple_results else [outputs]

    def fits(self, trace: Any, inputs: Sequence[Any]) -> bool:
        """Whether it can be written as it stands."""
        if not (self.stands and writes(trace)):
            return False
        traced = False
        for x, expected in zip(inputs, self.ins, strict=True):
            if expected is not None:
                aval = getattr(x, "aval", None)
                if aval is not expected and aval != expected:
                    return False
                traced = traced or getattr(x, "_trace", None) is trace
        return traced

    def written(self, trace: Any, inputs: Sequence[Any], info: Any, ctx: Any) -> list[Any]:
        """Its outputs once it is written."""
        eqn = self.eqn
        tracers = [
            x if getattr(x, "_trace", None) is trace else trace.to_jaxpr_tracer(x, source_info=info)
            for x in inputs
        ]
        return trace.emit_eqn(
            tracers, self.outs, eqn.primitive, eqn.params, eqn.effects, source_info=info, ctx=ctx
        )


def is_in_float64() -> bool:
    """Whether Python's numbers are float64 here, which each thread may have set for itself."""
    return jax.dtypes.result_type(float) == np.float64


def bind(eqn: Equation, inputs: Sequence[Any]) -> list[Any]:
    """Run one equation on new inputs; its outputs as a list."""
    return Ready(eqn).bind(inputs)


def again(eqn: Equation, inputs: Sequence[Any]) -> list[Any]:
    """Run one equation on new inputs as it was run."""
    return Ready(eqn).again(inputs)


def is_high(eqn: Equation) -> bool:
    """Whether an equation must be written out before a program is compiled (newer JAX has such)."""
    ask = eqn.primitive.is_high
    if getattr(ask, "__func__", None) is core.Primitive.is_high:
        return ask(**eqn.params)  # for which the types do not matter
    return ask(*[v.aval for v in eqn.invars], **eqn.params)


@contextlib.contextmanager
def context_of(eqn: Equation) -> Iterator[None]:
    """Whatever is bound inside carries the source line, named scopes and settings of `eqn`."""
    info = eqn.source_info
    names = source_info_util.current_name_stack() + info.name_stack
    with source_info_util.user_context(info.traceback, name_stack=names), eqn.ctx.manager:
        yield


@contextlib.contextmanager
def planning(eqn: Equation) -> Iterator[None]:
    """What is traced inside belongs to `eqn`, or, where JAX's own code wrote that, to the call around it.

    It has no named scopes of its surroundings: where it is replayed it gets those there.
    """
    info = eqn.source_info if source_line(eqn) else source_info_util.current()
    names = source_info_util.new_name_stack()
    with source_info_util.user_context(info.traceback, name_stack=names), eqn.ctx.manager:
        yield


def blamed_line(eqn: Equation) -> str:
    """The user's line of an equation, or of the call that is planned around it if JAX's own code wrote it."""
    return source_line(eqn) or _readable(source_info_util.current())


def source_line(eqn: Equation) -> str:
    """Where the user's code wrote this equation: `file:line:column (function)`."""
    return _readable(eqn.source_info)


def _readable(info: Any) -> str:
    return readable(source_info_util.summarize(info))


def readable(line: str) -> str:
    """A source line; a notebook's cell, which is a file that nobody knows, is called that."""
    return re.sub(r"^.*[/\\]ipykernel_\d+[/\\]\d+\.py", "notebook cell", line)


def scope(eqn: Equation) -> str:
    """The `jax.named_scope` names around an equation, joined by slashes."""
    return str(eqn.source_info.name_stack)


def function_name(eqn: Equation) -> str:
    """The Python name of the function that an equation calls; empty where there is none."""
    if "name" in eqn.params:
        return str(eqn.params["name"])
    if not any(name in eqn.params for name in ("jaxpr", "call_jaxpr")) or "length" in eqn.params:
        return ""
    return called(eqn)[0].debug_info.func_name.strip("<>")


def backward_function(eqn: Equation) -> Callable:
    """The Python function that the user of a custom_vjp wrote for its way back."""
    function = eqn.params["bwd"].f
    while isinstance(function, functools.partial):
        function = function.func
    return function


def backward_parameters(eqn: Equation) -> dict[str, Any]:
    """The keyword arguments that are bound to that function."""
    function, bound = eqn.params["bwd"].f, {}
    while isinstance(function, functools.partial):
        function, bound = function.func, {**function.keywords, **bound}
    return bound


def is_gate(eqn: Equation) -> bool:
    """Whether an equation calls a gate: a function whose backward has a formula on record."""
    return eqn.primitive.name == "custom_vjp_call" and hasattr(backward_function(eqn), "gate")


def is_scoped(eqn: Equation) -> bool:
    """Whether there is a `jax.named_scope` around an equation."""
    return bool(eqn.source_info.name_stack.stack)


def trace_context() -> tuple[Any, ...]:
    """The settings that change what tracing a function gives, beside the arguments' types."""
    return config.trace_context()


def under_jit() -> bool:
    """Whether what runs now is being staged out into a program instead of being computed."""
    return core.unsafe_am_i_under_a_jit_DO_NOT_USE()  # pyright: ignore[reportPrivateImportUsage]


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


def called(eqn: Equation) -> tuple[Jaxpr, Sequence[Any]]:
    """The program that a call runs on its inputs."""
    return called_by(eqn.params)


def called_by(params: Mapping[str, Any]) -> tuple[Jaxpr, Sequence[Any]]:
    """The program among the parameters of a call."""
    name = next(name for name in ("jaxpr", "call_jaxpr", "call", "callee") if name in params)
    return open_jaxpr(params[name])


def is_ref(x: Any) -> bool:
    """Whether this is a mutable array."""
    return hasattr(getattr(x, "aval", None) or getattr(x, "_aval", None), "inner_aval")


def is_value(x: Any) -> bool:
    """Whether this is an array to JAX, a number, or a value of a type that JAX was told of; a ref is none."""
    try:
        return not hasattr(jax.typeof(x), "inner_aval")
    except TypeError:
        return False


def as_value(x: Any) -> Any:
    """A number as an array."""
    return x if isinstance(x, jax.Array) or hasattr(jax.typeof(x), "vspace_zero") else jnp.asarray(x)


def is_of_numbers(aval: Any) -> bool:
    """Whether this is the type of arrays of numbers, and not one that says itself how to add its values."""
    return isinstance(aval, jax.core.ShapedArray) and isinstance(aval.dtype, np.dtype)


def has_own_tangents(aval: Any) -> bool:
    """Whether this is a type that is none of numbers, but has tangents: of hijax, or of an extended dtype."""
    if isinstance(aval, jax.core.ShapedArray):
        return not is_of_numbers(aval) and aval.to_tangent_aval().dtype != jax.dtypes.float0
    return hasattr(aval, "vspace_zero")


def add(x: Any, y: Any) -> Any:
    """The sum, as the type of the two defines it."""
    if not is_of_numbers(jax.typeof(x)):
        return ad.add_jaxvals(x, y)
    trace = core.find_top_trace((x, y))
    traced = getattr(x, "_trace", None) is trace and getattr(y, "_trace", None) is trace
    if not (traced and writes(trace) and x.aval == y.aval):
        return jax.lax.add(x, y)
    info = source_info_util.current()
    return trace.emit_eqn([x, y], [x.aval], jax.lax.add_p, {}, core.no_effects, source_info=info)[0]


def zeros(aval: Any) -> Any:
    """Zeros of this type, varying over the same mesh axes."""
    if not is_of_numbers(aval):
        return ad.zeros_like_aval(aval.to_ct_aval())
    array = jax.lax.full(aval.shape, 0, aval.dtype)
    array = weak(array) if aval.weak_type else array
    axes = tuple(getattr(aval, "vma", ()))
    return jax.lax.pcast(array, axes, to="varying") if axes else array


def varies_like(x: Any, other: Any) -> bool:
    """Whether one array varies over all mesh axes over which another does."""
    over, also = (getattr(getattr(jax.typeof(one), "mat", None), "varying", ()) for one in (other, x))
    return set(over) <= set(also)


def weak(x: Any) -> Any:
    """The same number as weakly typed as a Python scalar: it does not widen what it is combined with."""
    if jax.typeof(x).weak_type:
        return x
    convert = core.primitives.convert_element_type_p
    return convert.bind(x, new_dtype=x.dtype, weak_type=True, sharding=None)


def float0(aval: Any) -> Any:
    """JAX's cotangent of an integer, a bool or a key: an array of nothing."""
    return np.zeros(aval.shape, jax.dtypes.float0)


def transposed_call(eqn: Equation, constant: Sequence[Any], y_bars: Sequence[Any]) -> list[Any]:
    """Call the transpose of a linear_call, whose own transpose is the call itself."""
    callee, n = eqn.params["callee"], eqn.params["num_callee_consts"]
    transpose, consts = eqn.params["transpose_thunk"]()
    return eqn.primitive.bind(
        *consts,
        *constant[n:],
        *y_bars,
        callee=transpose,
        transpose_thunk=lambda: (callee, constant[:n]),
        num_callee_consts=len(consts),
        num_res=eqn.params["num_res"],
    )


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


def closed(jaxpr: Jaxpr, consts: Sequence[Any]) -> Any:
    """A program with the values of its constants."""
    return core.ClosedJaxpr(jaxpr, consts)


def is_placed(eqn: Equation) -> bool:
    """Whether a jitted call says where its arguments or results lie."""
    names = ("in_shardings", "out_shardings", "in_layouts", "out_layouts")
    places = [place for name in names for place in eqn.params.get(name, ())]
    return any(place is not None and type(place).__name__ != "UnspecifiedValue" for place in places)


def checkpointed(
    inputs: Sequence[Var],
    eqns: Sequence[Equation],
    results: Sequence[Any],
    fenced: Sequence[bool],
    policy: Callable | None,
) -> Callable[..., list[Any]]:
    """A program as a function that `jax.checkpoint` has differentiated already.

    Args:
        inputs: its inputs.
        eqns: its equations.
        results: its results.
        fenced: which inputs stand behind a barrier to XLA's search for common subexpressions.
        policy: what a derivative of it may save.
    """
    info = core.DebugInfo("checkpoint", "the second run of a checkpoint", None, None)
    effects = frozenset().union(*(eqn.effects for eqn in eqns))
    jaxpr = core.Jaxpr((), inputs, results, eqns, effects, info, any(map(is_high, eqns)))
    params = {"jaxpr": jaxpr, "prevent_cse": tuple(fenced), "differentiated": True, "policy": policy}
    return functools.partial(core.primitives.remat_p.bind, **params)


def saves(decision: Any) -> bool:
    """Whether a policy of `jax.checkpoint` decided to keep a value, here or in another memory."""
    return decision is not False and type(decision).__name__ != "RecomputeType"


def residuals(made: Sequence[Any], xs: Sequence[Any], out_trees: Callable) -> tuple[list[Any], list[Any]]:
    """What a custom_vjp puts aside, and its results, from what its forward has returned for `xs`."""
    _, tree, forwarded = out_trees()
    n = tree.num_leaves - sum(place is not None for place in forwarded)
    fresh = iter(made[:n])
    return [next(fresh) if place is None else xs[place] for place in forwarded], list(made[n:])


def holds_a_rule(operation: Any) -> bool:
    """Whether an operation of hijax brings the derivative of whoever wrote it: JAX's own are programs."""
    kind = type(operation)
    holding = kind.__name__ in ("CustomVJPTraced", "CustomJVPTraced", "VmapOf")
    return holding or not kind.__module__.startswith("jax.")


def expanded(operation: Any) -> Callable[..., list[Any]]:
    """An operation of hijax as a function of flat arguments."""
    return lambda *xs: jax.tree.leaves(operation.expand(*operation.in_tree.unflatten(xs)))


def hijax_forward(
    primitive: Any, xs: Sequence[Any], active: Sequence[bool]
) -> tuple[list[Any], list[Any], Callable]:
    """The forward of an operation of hijax: its results, what it puts aside, and its backward."""
    nonzero, args = primitive.in_tree.unflatten(active), primitive.in_tree.unflatten(xs)
    ys, residuals, *_ = primitive.vjp_fwd(nonzero, *args)
    leaves, tree = jax.tree.flatten(residuals)

    def backward(*operands: Any) -> list[Any]:
        aside, bars = tree.unflatten(operands[: len(leaves)]), operands[len(leaves) :]
        kinds = zip(primitive.in_avals_flat, active, strict=True)
        sums = [(ValAccum if one else NullAccum)(aval.to_ct_aval()) for aval, one in kinds]
        primitive.vjp_bwd(aside, primitive.out_tree.unflatten(bars), *primitive.in_tree.unflatten(sums))
        return [total.freeze() if one else None for total, one in zip(sums, active, strict=True)]

    return jax.tree.leaves(ys), leaves, backward


def call_backward(bwd: Any, *operands: Any) -> Sequence[Any]:
    """What the backward of a custom_vjp returns for its residuals and cotangents."""
    answer = bwd.call_wrapped(*operands)
    return answer[0] if isinstance(answer, tuple) else answer  # newer JAX: (x_bars, log)


def as_cotangent(x_bar: Any, aval: Any) -> Any:
    """A user's gradient for an input of this type as an array of its dtype; None for a zero."""
    if (
        x_bar is None
        or isinstance(x_bar, (SymbolicZero, Zero))
        or getattr(x_bar, "dtype", None) == jax.dtypes.float0
    ):
        return None
    if not is_of_numbers(aval):
        return x_bar
    if jnp.iscomplexobj(x_bar) and not jnp.issubdtype(aval.dtype, jnp.complexfloating):
        raise RuleError(
            f"the backward of a custom_vjp returned {jnp.result_type(x_bar)} for an input of {aval.dtype}, "
            f"expected a real gradient; take its real part"
        )
    return in_dtype(x_bar, aval)


def in_dtype(x: Any, aval: Any) -> Any:
    """An array or a number as an array of this type's dtype, as weak as it was if it had that."""
    x = jnp.asarray(x)
    return x if x.dtype == aval.dtype else x.astype(aval.dtype)


def symbolic_zero(aval: Any) -> Any:
    """What JAX hands to rules that want to know which tangents and cotangents are zero."""
    return SymbolicZero(aval.to_tangent_aval())


def internal_zero(aval: Any) -> Any:
    """What the rules of primitives get for a tangent or cotangent that is zero."""
    return Zero(aval.to_tangent_aval())


def registered(primitive: Any) -> tuple[Callable | None, Callable | None]:
    """The tangent rule and the transpose that others have registered with JAX for a primitive of theirs."""
    if not is_foreign(primitive):
        return None, None
    return ad.primitive_jvps.get(primitive), ad.primitive_transposes.get(primitive)


def foreign_primitives() -> dict[str, list[str]]:
    """The primitives that others have registered with JAX so far, and the modules that had a hand in each."""
    rules = (ad.primitive_jvps, ad.primitive_transposes)
    primitives = {primitive for table in rules for primitive in table if is_foreign(primitive)}
    parts = {p: (p.abstract_eval, p.impl, *(table.get(p) for table in rules)) for p in primitives}
    return {primitive.name: list(dict.fromkeys(_authors(of))) for primitive, of in parts.items()}


@functools.lru_cache(maxsize=1024)
def is_foreign(primitive: Any) -> bool:
    """Whether a primitive is not JAX's own: somebody else says what it computes."""
    return bool(author_of(primitive))


def author_of(primitive: Any) -> str:
    """The module that says what a primitive computes; empty for JAX's own."""
    return next(_authors((primitive.abstract_eval, primitive.impl)), "")


def _authors(function: Any) -> Iterator[str]:
    """The modules of the functions, of this and what it is made of, that are not JAX's or ours."""
    pending, seen = [function], set()
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, functools.partial):
            pending += [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, (tuple, list)):
            pending += part
        elif isinstance(part, types.MethodType):
            pending.append(part.__func__)
        elif isinstance(part, types.FunctionType):
            if not re.match(r"(jax|jaxlib|functools|funcnet)\b", part.__module__):
                yield part.__module__
            pending += [cell.cell_contents for cell in part.__closure__ or () if _is_full(cell)]


def _is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def zero_tangent(aval: Any) -> Any:
    """Zeros of the type of this type's tangents."""
    is_float = not is_of_numbers(aval) or jnp.issubdtype(aval.dtype, jnp.inexact)
    return zeros(aval) if is_float else float0(aval)


def name_of(function: Any) -> str:
    """How a function that JAX has wrapped is called."""
    return function.debug_info.func_name


def emit(trace: Any, primitive: Any, operands: Sequence[Any], outs: Sequence[Any], params: dict) -> list[Any]:
    """Write an equation with results of these types into the program that is being traced."""
    info = source_info_util.current()
    tracers = [trace.to_jaxpr_tracer(canonical(x), source_info=info) for x in operands]
    return trace.emit_eqn(tracers, outs, primitive, params, core.no_effects, source_info=info)


def canonical(x: Any) -> Any:
    """A number or an array of NumPy's as an array of JAX's, whatever is being traced."""
    with set_current_trace(eval_trace):
        return as_value(x)


def evaluates(trace: Any) -> bool:
    """Whether operations that come to this trace are computed, with no transformation around."""
    return trace is eval_trace


def put_word(key: str, word: str) -> None:
    """Leave a word with the service at which the processes of `jax.distributed` have met."""
    client: Any = distributed.global_state.client
    client.key_value_set(key, word, allow_overwrite=True)


def words_under(folder: str) -> dict[str, str]:
    """The words that processes have left there, by what follows the folder in their keys."""
    client: Any = distributed.global_state.client
    return {key.rpartition("/")[2]: word for key, word in client.key_value_dir_get(folder)}


def transposed_solve(eqn: Equation, consts: Sequence[Any], x_bars: Sequence[Any]) -> list[Any]:
    """Solve Aᵀ·b̄ = x̄ with the solver that a custom_linear_solve brings for it."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    ends = [0, *itertools.accumulate(lengths)]
    matvec, vecmat, solve, transpose = (consts[a:b] for a, b in itertools.pairwise(ends))
    operands = [*vecmat, *matvec, *transpose, *solve, *x_bars]
    return eqn.primitive.bind(*operands, const_lengths=lengths.transpose(), jaxprs=jaxprs.transpose())


def scan_counts(eqn: Equation) -> tuple[int, int]:
    """How many of a scan's operands are constants, and how many are carried."""
    return scan_counts_of(eqn.params)


def scan_counts_of(params: Mapping[str, Any]) -> tuple[int, int]:
    """The same, by the parameters of the scan."""
    if "ft_in" in params:
        consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())
        return consts, carry
    return params["num_consts"], params["num_carry"]


def programs(eqn: Equation) -> list[tuple[Jaxpr, Sequence[Any]]]:
    """The programs that an equation calls: a jitted function, branches, a loop's condition and body."""
    return [open_jaxpr(program) for program in core.jaxprs_in_params(eqn.params)]


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
