"""Equations: running one again, with its line and its settings, or writing it into a program."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax.extend import core, source_info_util

from funcnet._jax.jaxprs import Equation, is_high, is_literal
from funcnet._jax.lines import source_line
from funcnet._jax.tracing import writes
from funcnet._jax.values import canonical


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


# Parameters that say where a value lives or how it is laid out, never what it is.
_PLACEMENT = frozenset({"sharding", "out_sharding", "accuracy", "dtype_sharding"})


def parameters(eqn: Equation) -> dict[str, Any]:
    """The parameters of an equation that its rule sees: what to compute, not where."""
    return {name: value for name, value in eqn.params.items() if name not in _PLACEMENT}


def has_effects(primitive: Any, params: dict[str, Any]) -> bool:
    """Whether to run an operation twice is not to run it once: it allocates a ref, or has other effects."""
    programs = core.jaxprs_in_params(params)
    return primitive.ref_allocating or primitive.name == "io_callback" or any(p.effects for p in programs)


def uses_a_ref(eqn: Equation) -> bool:
    """Whether an equation reads or writes a mutable array (`jax.new_ref`)."""
    return bool(eqn.effects) and any(hasattr(v.aval, "inner_aval") for v in (*eqn.invars, *eqn.outvars))


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


def bind(eqn: Equation, inputs: Sequence[Any]) -> list[Any]:
    """Run one equation on new inputs; its outputs as a list."""
    return Ready(eqn).bind(inputs)


def again(eqn: Equation, inputs: Sequence[Any]) -> list[Any]:
    """Run one equation on new inputs as it was run."""
    return Ready(eqn).again(inputs)


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


def emit(trace: Any, primitive: Any, operands: Sequence[Any], outs: Sequence[Any], params: dict) -> list[Any]:
    """Write an equation with results of these types into the program that is being traced."""
    info = source_info_util.current()
    tracers = [trace.to_jaxpr_tracer(canonical(x), source_info=info) for x in operands]
    return trace.emit_eqn(tracers, outs, primitive, params, core.no_effects, source_info=info)
