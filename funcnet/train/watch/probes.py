"""A program with probes at its named values, which measure on the way forward and on the way back.

A probe is the identity with a backward of its own: it puts the statistics of the value aside, adds those of
the upstream gradient when that comes, and sends both as the "gradient" of an array of zeros that comes with
the parameters. So any engine measures. The zeros of a probe in a scan are scanned with the other arrays, one
for each step; in a checkpoint the second run measures.

Names are, of the value that leaves it, the innermost `jax.named_scope` (flax and equinox open one for each
module); a `checkpoint_name`; a gate of `funcnet.nn`; and a product with a parameter has the name of the
place of that: what reads params["layer1"]["w"] is layer1. A scope that several layers share, as equinox names
one by the module's class, has the layer before it that it reads: layers/0/eqx.nn.Linear.
"""

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax import lax
from jaxtyping import Array

from funcnet import _jax
from funcnet.backprop.activity import differentiable
from funcnet.backprop.program import evaluate, read, step
from funcnet.train.watch.sizes import ROW, packed

PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})
"""What has the name of the parameter that it reads."""

CARRIERS = frozenset({"transpose", "convert_element_type", "reshape", "copy", "squeeze"})
"""Through what a parameter stays that parameter."""


class Label(NamedTuple):
    """What a value is called, and the layer whose parameters are read in its scope, if there is one."""

    name: str
    layer: str = ""


@dataclass(frozen=True, eq=False)
class Probed:
    """A program with probes at its named values.

    Attributes:
        jaxpr: the program.
        consts: the values of its constvars.
        labels: the name of what an equation computes, by the number of the equation.
        inner: the bodies of scans and checkpoints that have names, likewise.
    """

    jaxpr: _jax.Jaxpr
    consts: Sequence[Any]
    labels: Mapping[int, Label]
    inner: Mapping[int, "Probed"]

    @classmethod
    def of(cls, jaxpr: _jax.Jaxpr, consts: Sequence[Any], names: Sequence[str], scope: str = "") -> "Probed":
        """The probes of a program in a scope, whose operands have these names."""
        opened = jax.make_jaxpr(lambda *xs: evaluate(jaxpr, consts, xs, _opening))
        jaxpr, consts = _jax.open_jaxpr(opened(*(v.aval for v in jaxpr.invars)))
        named = {v: name for v, name in zip(jaxpr.invars, names, strict=True) if name}
        scopes = [_scope(eqn, scope) for eqn in jaxpr.eqns]
        labels, inner, layer, within = {}, {}, "", ("", "")
        for i, (eqn, here, after) in enumerate(zip(jaxpr.eqns, scopes, [*scopes, scope][1:], strict=True)):
            read = [named[v] for v in eqn.invars if not _jax.is_literal(v) and v in named]
            layer = _layer(read[0]) if read else layer
            within = here, layer if read else within[1] if here == within[0] else ""
            if eqn.primitive.name in CARRIERS and read:
                named[eqn.outvars[0]] = read[0]
            elif eqn.primitive.name in BODIES:
                own = [named.get(v, "") if not _jax.is_literal(v) else "" for v in eqn.invars]
                inner[i] = cls.of(*_jax.called(eqn), own, here)
            elif len(eqn.outvars) != 1 or not differentiable(eqn.outvars[0].aval):
                continue
            elif eqn.primitive.name == "name":
                labels[i] = Label(_joined(here, eqn.params["name"]))
            elif _jax.is_gate(eqn):
                labels[i] = Label(_joined(here or layer, _jax.function_name(eqn)))
            elif here != scope and not f"{after}/".startswith(f"{here}/"):
                labels[i] = Label(here, within[1])
            elif here == scope and read and eqn.primitive.name in PRODUCTS:
                labels[i] = Label(_joined(here, layer))
        return cls(jaxpr, consts, labels, {i: body for i, body in inner.items() if body.places})

    @functools.cached_property
    def places(self) -> list[tuple[Label, tuple[int, ...]]]:
        """Where the probes are, in the order in which they run, and the lengths of the scans around each."""
        found = []
        for i, eqn in enumerate(self.jaxpr.eqns):
            around = (eqn.params["length"],) if eqn.primitive.name == "scan" else ()
            found += [(self.labels[i], ())] if i in self.labels else []
            found += (
                [(label, (*around, *lengths)) for label, lengths in self.inner[i].places]
                if i in self.inner
                else []
            )
        return found

    def __call__(self, xs: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
        """The results of the program, whose named values go through probes of these rows."""
        values = dict(zip([*self.jaxpr.constvars, *self.jaxpr.invars], [*self.consts, *xs], strict=True))
        left = iter(rows)
        for i, eqn in enumerate(self.jaxpr.eqns):
            if i in self.inner:
                body = self.inner[i]
                own = list(itertools.islice(left, len(body.places)))
                operands = [read(values, atom) for atom in eqn.invars]
                ys = BODIES[eqn.primitive.name](eqn, body, operands, own)
                values.update(zip(eqn.outvars, ys, strict=True))
                continue
            step(values, eqn)
            if i in self.labels:
                values[eqn.outvars[0]] = probe(values[eqn.outvars[0]], next(left))
        return [read(values, atom) for atom in self.jaxpr.outvars]


def _probed_scan(eqn: Any, body: Probed, xs: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
    n, c = _jax.scan_counts(eqn)

    def one(carry: Any, step: Any) -> Any:
        slices, rows = step
        ys = body([*xs[:n], *carry, *slices], rows)
        return ys[:c], ys[c:]

    options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}
    carry, ys = lax.scan(one, list(xs[n : n + c]), (list(xs[n + c :]), list(rows)), **options)
    return [*carry, *ys]


def _probed_checkpoint(eqn: Any, body: Probed, xs: Sequence[Any], rows: Sequence[Any]) -> list[Any]:
    prevented = eqn.params["prevent_cse"]
    prevented = any(prevented) if isinstance(prevented, tuple) else prevented
    return jax.checkpoint(body, policy=eqn.params["policy"], prevent_cse=prevented)(list(xs), list(rows))


BODIES = {"scan": _probed_scan, "remat2": _probed_checkpoint, "checkpoint": _probed_checkpoint}
"""How a program inside an equation runs with probes in it, by the name of the primitive."""


def _opening(eqn: _jax.Equation, xs: Sequence[Any]) -> Sequence[Any]:
    """Run an equation; a jitted function of the user's own, equation by equation."""
    if eqn.primitive.name in ("jit", "closed_call") and not _jax.is_of_jax(eqn):
        return evaluate(*_jax.called(eqn), xs, _opening)
    return _jax.bind(eqn, xs)


def _scope(eqn: _jax.Equation, around: str) -> str:
    """The named scopes around an equation, without what JAX's transformations make of them: `vmap(net)`."""
    own = [re.sub(r"^(\w+\()+|\)+$", "", part) for part in _jax.scope(eqn).split("/")]
    return _joined(around, *own)


def _layer(name: str) -> str:
    """What a parameter belongs to: layer1 of layer1/w, and of layer1/w/value, as flax's nnx has it."""
    return name.removesuffix("/value").rpartition("/")[0] or name


def _joined(*parts: str) -> str:
    return "/".join(filter(None, parts))


@jax.custom_vjp
def probe(x: Array, sizes: tuple[Array, Array]) -> Array:
    """The identity, whose gradients for `sizes` are the statistics of x and of x̄, as many as these have."""
    return x


def _forward(x: Array, sizes: tuple[Array, Array]) -> tuple[Array, Array]:
    return x, packed(x, sizes[0].shape[-1] == ROW)


def _backward(of_value: Array, x_bar: Array) -> tuple[Array, tuple[Array, Array]]:
    return x_bar, (of_value, packed(x_bar, of_value.shape[-1] == ROW))


probe.defvjp(_forward, _backward)
