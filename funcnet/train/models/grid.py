"""A grid of runs trained together: seeds × widths × λ × activations in one jitted call.

A run of a small net leaves a processor idle between its small operations, and every new setting is compiled
anew. Here settings are axes of arrays and all runs are one program:

    seed            under `jax.vmap`: initial weights, and the order in which examples are visited
    hidden          under `jax.vmap`: each net is padded with zeros to the widest, and its gradients are
                    multiplied by `alive`, 1 where the net has a parameter and 0 where it is padded. A dead
                    unit reaches the next layer with weights of zero and stays dead.
    regularization  under `jax.vmap`: λ is an argument
    activation      under `lax.map`, as the branch of a `lax.switch`; under `vmap` each run would compute
                    every branch and select one

Each run is the one that `funcnet.train.fit` makes of the same configuration, up to rounding. It costs as
much as the widest net, and all runs are in memory at once.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Integer

from funcnet._errors import NonFiniteError, ParameterError
from funcnet._types import Params
from funcnet.data import Dataset, Split, Standardization, standardize
from funcnet.train.batches import in_memory
from funcnet.train.models.config import Config
from funcnet.train.models.net import Metrics, Net, evaluate, initial, precision
from funcnet.train.models.objective import OPTIMIZERS, check_trainable, penalty, schedule
from funcnet.train.state import init
from funcnet.train.steps import advance

AXES = "seed", "hidden", "regularization", "activation"
"""The axes of a sweep in the order of its arrays' axes, named as the fields of `Config` that they vary."""


@dataclass(frozen=True)
class Sweep:
    """A trained grid of runs; its arrays have the axes [seed, hidden, regularization, activation].

    Attributes:
        config: the settings that all runs share.
        axes: the values along each axis: {"seed": (0, 1, 2), "hidden": ((3,), (6,)), …}.
        train, validation, test: data loss and accuracy at the end on each part, arrays [*axes]; NaN for a
            run that diverged.
        params: of all runs, [*axes, in, out] and [*axes, out], padded with zeros to the widest net.
        standardization, classes, image_shape: as in `Net`.
    """

    config: Config
    axes: dict[str, tuple[Any, ...]]
    train: Metrics
    validation: Metrics
    test: Metrics
    params: dict[str, dict[str, np.ndarray]]
    standardization: Standardization
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values along each axis."""
        return tuple(len(values) for values in self.axes.values())

    def run(self, *index: int | np.integer) -> Net:
        """One run of the grid, as `fit` would return it, but without history.

        Args:
            index: its place along each axis, as in the arrays: `np.unravel_index` of an argmax fits.

        Raises:
            ParameterError: another number of indices, or one out of range.
            NonFiniteError: the run diverged.
        """
        within = [0 <= i < n for i, n in zip(index, self.shape, strict=False)]
        if len(index) != len(self.shape) or not all(within):
            raise ParameterError(
                f"run{index}: no such run; expected an index from 0 for each of {', '.join(AXES)}, below "
                f"{self.shape}"
            )
        settings = {name: values[i] for (name, values), i in zip(self.axes.items(), index, strict=True)}
        config = replace(self.config, **settings)
        if np.isnan(self.train.loss[index]):
            raise NonFiniteError(
                f"run{index}: it diverged, its loss became infinite or NaN. Lower learning_rate (it is "
                f"{config.rate:g}), or train it with fit, which says where it broke: {settings}"
            )
        sizes = len(self.standardization.mean), *config.hidden, len(self.classes)
        params = {}
        with precision(config):
            for n, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1):
                w, b = (self.params[f"layer{n}"][name][index] for name in ("w", "b"))
                params[f"layer{n}"] = {"w": jnp.asarray(w[:fan_in, :fan_out]), "b": jnp.asarray(b[:fan_out])}
        return Net(
            params=params,
            config=config,
            standardization=self.standardization,
            classes=self.classes,
            image_shape=self.image_shape,
        )


def sweep(
    config: Config,
    dataset: Dataset,
    *,
    seed: Sequence[int] | None = None,
    hidden: Sequence[tuple[int, ...]] | None = None,
    regularization: Sequence[float] | None = None,
    activation: Sequence[str] | None = None,
) -> Sweep:
    """Trains a net for each combination of the values given, all in one jitted call.

    Args:
        config: the settings that all runs share; what has no values below is the same in all.
        dataset: in raw units, standardized here as in `fit`; small, since all runs are in memory at once.
        seed: decides initial weights and batches.
        hidden: units of the hidden layers, the same number of layers in each.
        regularization: λ.
        activation: any but maxout, whose layers have another shape.

    Raises:
        ParameterError: an axis without values, a value outside the domain of its setting, hidden layers of
            different number, maxout, or more memory needed than there is.
        DataError: a label is none of the classes.

    >>> from funcnet.data import load
    >>> config = Config(data="moons", batch_size=200, epochs=100, optimizer="adam", learning_rate=0.03)
    >>> runs = sweep(config, load("moons"), seed=(0, 1, 2), hidden=((1,), (20,)))
    >>> runs.test.accuracy.shape
    (3, 2, 1, 1)
    >>> of_1_unit, of_20_units = runs.test.accuracy.mean(axis=(0, 2, 3))
    >>> bool(of_1_unit < 0.9 < of_20_units)
    True
    >>> runs.run(2, 1, 0, 0).config.hidden
    (20,)
    """
    axes = _checked(config, seed=seed, hidden=hidden, regularization=regularization, activation=activation)
    widest = replace(config, hidden=max(axes["hidden"], key=sum))
    check_trainable(widest, dataset, nets=math.prod(map(len, axes.values())))
    with precision(config):
        standardized, standardization = standardize(dataset)
        trained = _train(
            replace(config, regularization=1.0, seed=0),  # these two vary without compiling anew
            axes["hidden"],
            axes["activation"],
            len(dataset.classes),
            jnp.asarray(axes["seed"], jnp.uint32),
            jnp.asarray(axes["regularization"], float),
            (standardized.train, standardized.validation, standardized.test),
        )
    params, (train, validation, test) = jax.device_get(trained)
    names, shape = dataset.classes, dataset.image_shape
    return Sweep(config, axes, train, validation, test, params, standardization, names, shape)


def _checked(config: Config, **axes: Sequence[Any] | None) -> dict[str, tuple[Any, ...]]:
    """The values along each axis: those given, or the configuration's own."""
    checked = {
        name: (getattr(config, name),) if values is None else tuple(values) for name, values in axes.items()
    }
    for name, values in checked.items():
        if not values:
            raise ParameterError(
                f"sweep: {name} has no values; expected one or more, or None for config's own"
            )
        for value in values:
            replace(config, **{name: value})  # Config says what is wrong
    if len({len(widths) for widths in checked["hidden"]}) > 1:
        raise ParameterError(
            f"sweep: hidden is {checked['hidden']}; expected the same number of layers in each. Sweep over "
            f"nets of one depth, then over those of the next."
        )
    if config.net != "mlp":
        raise ParameterError(f"sweep: net is {config.net!r}; expected 'mlp'. Train it with fit.")
    if "maxout" in checked["activation"]:
        raise ParameterError(
            "sweep: 'maxout' has layers of another shape; expected elementwise ones. Train it with fit."
        )
    return checked


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _train(
    config: Config,
    hidden: tuple[tuple[int, ...], ...],
    activations: tuple[str, ...],
    classes: int,
    seeds: Integer[Array, " seeds"],
    regularization: Float[Array, " lambdas"],
    parts: tuple[Split, Split, Split],
) -> tuple[Params, list[Metrics]]:
    """Padded parameters, and the metrics on each part; the penalty of `config` is the one of λ = 1."""

    def start(seed):
        settings, key = [replace(config, hidden=widths) for widths in hidden], jax.random.key(seed)
        nets = [initial(each, parts[0].x.shape[1:], classes, key) for each in settings]
        masks = [jax.tree.map(jnp.ones_like, net) for net in nets]
        return jax.tree.map(_padded, *nets), jax.tree.map(_padded, *masks)

    def with_activation(index):
        branches = [functools.partial(evaluate, replace(config, activation=name)) for name in activations]
        train_one = functools.partial(
            _train_one, config, functools.partial(lax.switch, index, branches), parts
        )
        for_each_lambda = jax.vmap(train_one, (None, None, None, 0))
        for_each_width = jax.vmap(for_each_lambda, (0, 0, None, None))
        return jax.vmap(for_each_width, (0, None, 0, None))(params, alive, seeds, regularization)

    params, alive = jax.vmap(start, out_axes=(0, None))(seeds)
    by_activation = lax.map(with_activation, jnp.arange(len(activations)))
    return jax.tree.map(lambda array: jnp.moveaxis(array, 0, AXES.index("activation")), by_activation)


def _train_one(
    config: Config,
    measure: Callable[..., Metrics],
    parts: tuple[Split, Split, Split],
    params: Params,
    alive: Params,
    seed: Integer[Array, ""],
    regularization: Float[Array, ""],
) -> tuple[Params, list[Metrics]]:
    """One run over the loop's own steps, with a mask on the gradients; NaN where it diverged."""
    batches = in_memory(tuple(parts[0]), config.batch_size)
    steps = config.epochs * batches.per_epoch
    masked = optax.stateless(lambda gradients, _: jax.tree.map(jnp.multiply, gradients, alive))
    decay: Any = 2 * regularization
    update = optax.chain(masked, OPTIMIZERS[config.optimizer](schedule(config, steps), decay))

    def loss(params, batch):
        return measure(params, *batch).loss + regularization * penalty(config, params)

    state, _ = advance(loss, update, batches, seed=seed)(init(params, update), steps)
    measured = [measure(state.params, *part) for part in parts]
    well = (state.step == steps) & jnp.isfinite(measured[0].loss)
    return jax.tree.map(lambda array: jnp.where(well, array, jnp.nan), (state.params, measured))


def _padded(*arrays: Array) -> Array:
    """Arrays of different sizes, padded with zeros to the largest and stacked."""
    largest = np.max([array.shape for array in arrays], axis=0)
    return jnp.stack([jnp.pad(array, [(0, n) for n in largest - np.array(array.shape)]) for array in arrays])
