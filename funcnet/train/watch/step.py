"""Watching a step: how large every gradient and every named value is, measured inside the jitted step.

    value, gradients, seen = watched(funcnet.value_and_grad)(loss)(params, batch)

It is the gradient of the same loss with probes in it (`funcnet.train.watch.probes`), so it works with any
engine, in a scan over steps and under vmap, and costs a pass over what is measured. Vanishing and exploding
gradients are seen in the norms by layer (Glorot and Bengio 2010, figures 6 and 7).
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool

from funcnet import _jax
from funcnet.backprop import value_and_grad
from funcnet.train.checkpoint import named_leaves
from funcnet.train.loss import is_of_the_whole
from funcnet.train.watch.probes import Label, Probed
from funcnet.train.watch.sizes import ROW, Statistics, packed, unpacked, whole

KINDS = ("parameter", "activation", "gradient")
"""What is measured: gradients of the parameters, named values, and the gradients of these."""


class Place(NamedTuple):
    """What rows of statistics are of; a value in scans has a row for each of their steps."""

    kind: str
    name: str
    lengths: tuple[int, ...] = ()


@functools.partial(jax.tree_util.register_dataclass, data_fields=["numbers"], meta_fields=["places"])
@dataclass(frozen=True)
class Seen:
    """What was measured in a step, in the order of the forward pass; a scan's by step of the scan.

    Attributes:
        numbers: rows of statistics, of shape (*steps, rows, 17).
        places: what they are of.
    """

    numbers: Any  # while JAX maps over it, whatever it makes of arrays
    places: tuple[Place, ...]

    @property
    def parameters(self) -> dict[str, Statistics]:
        """The gradients of the parameters, by name."""
        return self._of("parameter")

    @property
    def activations(self) -> dict[str, Statistics]:
        """The named values that a gradient reaches, by name."""
        return self._of("activation")

    @property
    def gradients(self) -> dict[str, Statistics]:
        """The gradients of these, by name."""
        return self._of("gradient")

    def _of(self, kind: str) -> dict[str, Statistics]:
        stops = np.cumsum([np.prod(place.lengths, dtype=int) for place in self.places])[:-1]
        parts = [self.numbers[..., rows, :] for rows in np.split(np.arange(self.numbers.shape[-2]), stops)]
        around = self.numbers.shape[:-2]
        return {
            place.name: unpacked(part.reshape(*around, *place.lengths, ROW))
            for place, part in zip(self.places, parts, strict=True)
            if place.kind == kind
        }


def watched(
    grad: Callable = value_and_grad, *, full: Bool[Array, ""] | bool = True
) -> Callable[..., Callable[..., tuple[Any, Any, Seen]]]:
    """Makes what `grad` makes, a function to value and gradients, that returns what was seen beside them.

    Args:
        grad: `funcnet.value_and_grad`, `jax.value_and_grad`, or one with options. Of one that changes
            gradients, or has one for each example, those of the parameters are measured alone.
        full: whether more is measured than norms; under jit it may be a value, as `step % 100 == 0`, and
            there are two programs then, of which one runs.

    Returns:
        `watched(grad)(loss, has_aux=False)(params, *args)` is `(value, gradients, seen)`.

    >>> loss = lambda params, x: jnp.sum(jnp.tanh(x @ params["first"]["w"]) ** 2)
    >>> value, gradients, seen = watched()(loss)({"first": {"w": jnp.ones((2, 3))}}, jnp.ones((1, 2)))
    >>> list(seen.parameters), list(seen.activations), round(float(seen.activations["first"].norm), 3)
    (['first/w'], ['first'], 3.464)
    """

    def of(loss: Callable, has_aux: bool = False) -> Callable:
        def of_parameters(params: Any, *args: Any) -> tuple[Any, Any, Seen]:
            value, gradients = grad(loss, has_aux=has_aux)(params, *args)
            rows = [
                jnp.where(full, whole(packed(g, True)), whole(packed(g, False)))
                for g in jax.tree.leaves(gradients)
            ]
            places = tuple(Place("parameter", name) for name in _named(gradients))
            return value, gradients, Seen(jnp.stack(rows), places)

        def measured(params: Any, *args: Any) -> tuple[Any, Any, Seen]:
            leaves, tree = jax.tree.flatten((params, *args))
            names = [*_named(params), *[""] * len(jax.tree.leaves(args))]
            closed, shapes = jax.make_jaxpr(lambda *xs: loss(*tree.unflatten(xs)), return_shape=True)(*leaves)
            probed = Probed.of(*_jax.open_jaxpr(closed), names)

            def with_rows(both: Any, *args: Any) -> Any:
                params, rows = both
                ys = probed(jax.tree.leaves((params, *args)), rows)
                return jax.tree.unflatten(jax.tree.structure(shapes), ys)

            def run(full: bool) -> tuple[Any, Any, Array]:
                width = ROW if full else 1
                rows = [(jnp.zeros((*lengths, width), jnp.float32),) * 2 for _, lengths in probed.places]
                value, (gradients, sizes) = grad(with_rows, has_aux=has_aux)((params, rows), *args)
                found = [packed(g, full) for g in jax.tree.leaves(gradients)]
                found += [of_value for of_value, _ in sizes] + [of_gradient for _, of_gradient in sizes]
                return value, gradients, whole(jnp.concatenate([each.reshape(-1, width) for each in found]))

            value, gradients, numbers = (
                run(full) if isinstance(full, bool) else lax.cond(full, lambda: run(True), lambda: run(False))
            )
            labels = list(_unique([label for label, _ in probed.places]))
            lengths = [lengths for _, lengths in probed.places]
            places = [Place("parameter", name) for name in _named(gradients)]
            for kind in ("activation", "gradient"):
                places += map(Place, [kind] * len(labels), labels, lengths)
            return value, gradients, Seen(numbers, tuple(places))

        return measured if is_of_the_whole(grad) else of_parameters

    return of


def _named(params: Any) -> list[str]:
    """The names of parameters, without the `value` of all of flax's nnx; of one that is alone, `params`."""
    names = [name or "params" for name in named_leaves(params)]
    return [n.removesuffix("/value") for n in names] if all(n.endswith("/value") for n in names) else names


def _unique(labels: Sequence[Label]) -> Iterator[str]:
    """Names of which none is there twice: `blocks/0/attention`, or `attention`, `attention 2`."""
    shared = Counter(name for name, layer in {*labels} if layer)
    seen: Counter[str] = Counter()
    for name, layer in labels:
        if shared[name] > 1 and layer:
            name = f"{layer}/{name.rpartition('/')[2]}"
        seen[name] += 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}"


def columns(seen: Seen) -> dict[str, Array | np.ndarray]:
    """What was measured of many steps as columns of a table: `gradient/layer1/w/norm`; histograms are none.

    A value in a scan has a column for each step of the scan: `activation/cell[3]/norm`.
    """
    kinds = zip(KINDS, (seen.parameters, seen.activations, seen.gradients), strict=True)
    return {
        f"{kind}/{name}/{what}": column
        for kind, statistics in kinds
        for what in ("norm", "maximum", "zeros")
        for name, column in rows(statistics, what).items()
    }


def rows(statistics: Mapping[str, Statistics], what: str) -> dict[str, Array | np.ndarray]:
    """One statistic of many steps, by name; for what is in a scan, by name and step of the scan."""
    return {
        name + "".join(f"[{k}]" for k in place): getattr(one, what)[(slice(None), *place)]
        for name, one in statistics.items()
        for place in np.ndindex(np.shape(one.norm)[1:])
    }
