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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Integer, Key

from funcnet import nn
from funcnet._errors import NonFiniteError, ParameterError
from funcnet._types import Params
from funcnet.data import Dataset, Split, Standardization, standardize
from funcnet.train.config import Config
from funcnet.train.nonfinite import all_finite
from funcnet.train.optimizers import OPTIMIZERS, schedule
from funcnet.train.run import Run
from funcnet.train.state import Metrics, State, batch, evaluate, penalty, precision, steps_per_epoch

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
        standardization, classes, image_shape: as in `Run`.
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

    def run(self, *index: int | np.integer) -> Run:
        """One run of the grid, as `fit` would return it, but without history.

        Args:
            index: its place along each axis, as in the arrays: `np.unravel_index` of an argmax fits.

        Raises:
            ParameterError: another number of indices, or one out of range.
            NonFiniteError: the run diverged.
        """
        if len(index) != len(self.shape) or not all(
            0 <= i < n for i, n in zip(index, self.shape, strict=True)
        ):
            raise ParameterError(
                f"run{index}: no such run; expected an index from 0 for each of {', '.join(AXES)}, below "
                f"{self.shape}"
            )
        settings = {name: values[i] for (name, values), i in zip(self.axes.items(), index, strict=True)}
        config = replace(self.config, **settings)
        sizes = len(self.standardization.mean), *config.hidden, len(self.classes)
        with precision(config):
            params = {
                f"layer{n}": {
                    "w": jnp.asarray(self.params[f"layer{n}"]["w"][index][:fan_in, :fan_out]),
                    "b": jnp.asarray(self.params[f"layer{n}"]["b"][index][:fan_out]),
                }
                for n, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1)
            }
            finite = all_finite(params)
        if not finite:
            raise NonFiniteError(
                f"run{index}: it diverged, its parameters are infinite or NaN. Lower learning_rate (it is "
                f"{config.rate:g}), or train it with fit, which says where it broke: {settings}"
            )
        return Run(config, params, self.standardization, self.classes, self.image_shape, history=())


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
            different number, or maxout.

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
    with precision(config):
        standardized, standardization = standardize(dataset)
        trained = _train(
            replace(config, regularization=1.0, seed=0),  # these two vary without compiling anew
            axes["hidden"],
            axes["activation"],
            len(dataset.classes),
            jnp.stack([jax.random.key(seed) for seed in axes["seed"]]),
            jnp.asarray(axes["regularization"], float),
            (standardized.train, standardized.validation, standardized.test),
        )
    params, (train, validation, test) = jax.device_get(trained)
    return Sweep(
        config, axes, train, validation, test, params, standardization, dataset.classes, dataset.image_shape
    )


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
    if "maxout" in checked["activation"]:
        raise ParameterError(
            "sweep: activation 'maxout' has layers of another shape; expected elementwise activations. Train "
            "it with fit."
        )
    return checked


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _train(
    config: Config,
    hidden: tuple[tuple[int, ...], ...],
    activations: tuple[str, ...],
    classes: int,
    keys: Key[Array, " seeds"],
    regularization: Float[Array, " lambdas"],
    parts: tuple[Split, Split, Split],
) -> tuple[Params, list[Metrics]]:
    """Padded parameters, and the metrics on each part; the penalty of `config` is the one of λ = 1."""
    x, _ = parts[0]

    def initial(key):
        sizes = [(x.shape[1], *widths, classes) for widths in hidden]
        dtype = jnp.promote_types(config.dtype, jnp.float32)
        nets = [nn.init_mlp(key, size, init=config.init, dtype=dtype) for size in sizes]
        masks = [jax.tree.map(jnp.ones_like, net) for net in nets]
        return jax.tree.map(_padded, *nets), jax.tree.map(_padded, *masks)

    def order(key, epoch):  # what funcnet.train.state.order draws, for a key that is traced
        return jax.random.permutation(jax.random.fold_in(key, epoch), len(x))

    def with_activation(index):
        branches = [functools.partial(evaluate, replace(config, activation=name)) for name in activations]
        train_one = functools.partial(
            _train_one, config, functools.partial(lax.switch, index, branches), parts
        )
        for_each_lambda = jax.vmap(train_one, (None, None, None, 0))
        for_each_width = jax.vmap(for_each_lambda, (0, 0, None, None))
        for_each_seed = jax.vmap(for_each_width, (0, None, 0, None))
        return for_each_seed(params, alive, orders, regularization)

    init_keys, order_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    params, alive = jax.vmap(initial, out_axes=(0, None))(init_keys)
    orders = jax.vmap(jax.vmap(order, (None, 0)), (0, None))(order_keys, jnp.arange(config.epochs))
    by_activation = lax.map(with_activation, jnp.arange(len(activations)))
    return jax.tree.map(lambda array: jnp.moveaxis(array, 0, AXES.index("activation")), by_activation)


def _train_one(
    config: Config,
    measure: Callable[..., Metrics],
    parts: tuple[Split, Split, Split],
    params: Params,
    alive: Params,
    orders: Integer[Array, "epochs examples"],
    regularization: Float[Array, ""],
) -> tuple[Params, list[Metrics]]:
    """One run, as `funcnet.train.state.advance` makes it, with a mask on the gradients."""
    x, y = map(jnp.asarray, parts[0])
    per_epoch = steps_per_epoch(config, len(x))
    rate = schedule(config, config.epochs * per_epoch)
    decay: Any = 2 * regularization
    optimizer = OPTIMIZERS[config.optimizer](rate, decay)

    def objective(params, x, y):
        return measure(params, x, y).loss + regularization * penalty(config, params)

    def one_epoch(state, order):
        def one_step(state, _):
            rows = batch(config, state.step, order)
            gradients = jax.grad(objective)(state.params, x[rows], y[rows])
            gradients = jax.tree.map(jnp.multiply, gradients, alive)
            updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, state.params)
            params: Any = optax.apply_updates(state.params, updates)
            return State(params, optimizer_state, state.step + 1), None

        return lax.scan(one_step, state, length=per_epoch)

    begun = State(params, optimizer.init(params), jnp.int32(0))
    (params, _, _), _ = lax.scan(one_epoch, begun, orders)
    return params, [_marked(measure(params, *part)) for part in parts]


def _padded(*arrays: Array) -> Array:
    """Arrays of different sizes, padded with zeros to the largest and stacked."""
    largest = np.max([array.shape for array in arrays], axis=0)
    return jnp.stack([jnp.pad(array, [(0, n) for n in largest - np.array(array.shape)]) for array in arrays])


def _marked(metrics: Metrics) -> Metrics:
    """NaN where a run diverged: which of its scores is highest means nothing."""
    finite = jnp.isfinite(metrics.loss)
    return Metrics(*(jnp.where(finite, metric, jnp.nan) for metric in metrics))
