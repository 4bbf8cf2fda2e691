"""Watching a step: how large every gradient and every named value is, measured inside the jitted step.

    value, gradients, seen = watched(funcnet.value_and_grad)(loss)(params, batch)

It is the gradient of the same loss with probes in it (`funcnet.train.probes`), so it works with any engine,
in a scan over steps and under vmap, and costs a pass over what is measured. Vanishing and exploding gradients
are seen in the norms by layer (Glorot and Bengio 2010, figures 6 and 7).
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from funcnet import _jax
from funcnet.backprop import value_and_grad
from funcnet.train.checkpoint import named_leaves
from funcnet.train.probes import Probed
from funcnet.train.sizes import ROW, Statistics, statistics, unpacked


class Seen(NamedTuple):
    """What was measured in a step, by name, in the order of the forward pass; a scan's by step of the scan.

    Attributes:
        parameters: the gradients of the parameters.
        activations: the named values that a gradient reaches.
        gradients: the gradients of these.
    """

    parameters: Mapping[str, Statistics]
    activations: Mapping[str, Statistics]
    gradients: Mapping[str, Statistics]


def watched(
    grad: Callable = value_and_grad, *, full: Bool[Array, ""] | bool = True
) -> Callable[..., Callable[..., tuple[Any, Any, Seen]]]:
    """Makes what `grad` makes, a function to value and gradients, that returns what was seen beside them.

    Args:
        grad: `funcnet.value_and_grad`, `jax.value_and_grad`, or one with options.
        full: whether more is measured than norms; under jit it may be a value, as `step % 100 == 0`.

    Returns:
        `watched(grad)(loss, has_aux=False)(params, *args)` is `(value, gradients, seen)`.

    >>> loss = lambda params, x: jnp.sum(jnp.tanh(x @ params["first"]["w"]) ** 2)
    >>> value, gradients, seen = watched()(loss)({"first": {"w": jnp.ones((2, 3))}}, jnp.ones((1, 2)))
    >>> list(seen.parameters), list(seen.activations), round(float(seen.activations["first"].norm), 3)
    (['first/w'], ['first'], 3.464)
    """

    def of(loss: Callable, has_aux: bool = False) -> Callable:
        def measured(params: Any, *args: Any) -> tuple[Any, Any, Seen]:
            leaves, tree = jax.tree.flatten((params, *args))
            names = [*named_leaves(params), *[""] * len(jax.tree.leaves(args))]
            closed, shapes = jax.make_jaxpr(lambda *xs: loss(*tree.unflatten(xs)), return_shape=True)(*leaves)
            probed = Probed.of(*_jax.open_jaxpr(closed), names)
            rows = [jnp.zeros((*lengths, 2, ROW), jnp.float32) for _, lengths in probed.places]

            def with_rows(both: Any) -> Any:
                params, rows = both
                ys = probed(jax.tree.leaves((params, *args)), rows, jnp.asarray(full))
                return jax.tree.unflatten(jax.tree.structure(shapes), ys)

            value, (gradients, sizes) = grad(with_rows, has_aux=has_aux)((params, rows))
            of_parameters = [(name, statistics(g, full)) for name, g in named_leaves(gradients).items()]
            labels = list(_unique([label for label, _ in probed.places]))
            activations, upstream = (
                [(label, unpacked(size[..., k, :])) for label, size in zip(labels, sizes, strict=True)]
                for k in (0, 1)
            )
            return value, gradients, Seen(*map(OrderedDict, (of_parameters, activations, upstream)))

        return measured

    return of


def _unique(labels: Sequence[str]) -> Iterator[str]:
    """Names of which none is there twice: `attention`, `attention 2`."""
    seen: Counter[str] = Counter()
    for label in labels:
        seen[label] += 1
        yield label if seen[label] == 1 else f"{label} {seen[label]}"


def columns(seen: Seen) -> dict[str, Array | np.ndarray]:
    """What was measured of many steps as columns of a table: `gradient/layer1/w/norm`; histograms are none.

    A value in a scan has a column for each step of the scan: `activation/cell[3]/norm`.
    """
    return {
        f"{kind}/{name}/{what}": column
        for kind, statistics in zip(("parameter", "activation", "gradient"), seen, strict=True)
        for what in ("norm", "maximum", "zeros")
        for name, column in rows(statistics, what).items()
    }


def rows(statistics: Mapping[str, Statistics], what: str) -> dict[str, Array | np.ndarray]:
    """One statistic of many steps, by name; for what is in a scan, by name and step of the scan."""
    return {
        name + "".join(f"[{k}]" for k in place): getattr(one, what)[(slice(None), *place)]
        for name, one in statistics.items()
        for place in np.ndindex(jnp.shape(one.norm)[1:])
    }
