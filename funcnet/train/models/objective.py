"""The classifier of the lecture over the loop: what a `Config` means as loss, parameters, batches, optimizer.

A step takes a batch and differentiates

    total loss = mean data loss + λ Σ R(w)         (CS231n 2019, lecture 4, slide 6)

Here the matrices are carried as [out, in]: their gradient is then ȳᵀ x, which XLA multiplies on a CPU in 0.4
of the time that it needs for xᵀ ȳ. A finished `Net` has them as [in, out].

Update rules and step sizes are of optax: momentum, Polyak 1964; RMSProp, Tieleman and Hinton 2012; Adam,
Kingma and Ba 2015; AdamW and the cosine schedule, Loshchilov and Hutter 2019 and 2017; warm-up, Goyal et al.
2017.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from funcnet import nn
from funcnet._errors import ParameterError, came
from funcnet._types import Params
from funcnet.data import Dataset, standardize
from funcnet.train import checkpoint
from funcnet.train.batches import Batches, in_memory
from funcnet.train.loop import fit
from funcnet.train.models.config import Config
from funcnet.train.models.net import (
    Net,
    check_labels,
    evaluate_in_chunks,
    forward,
    initial,
    metrics,
    precision,
)
from funcnet.train.models.nets import NETS, example_shape
from funcnet.train.models.size import check_size
from funcnet.train.run import finished

SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda rate, steps: optax.constant_schedule(rate),
    "linear": lambda rate, steps: optax.linear_schedule(rate, 0.0, steps),
    "cosine": lambda rate, steps: optax.cosine_decay_schedule(rate, steps),
    "warmup_cosine": lambda rate, steps: optax.warmup_cosine_decay_schedule(0.0, rate, steps // 20, steps),
    "exponential": lambda rate, steps: optax.exponential_decay(rate, steps, decay_rate=0.01),
}

OPTIMIZERS: dict[str, Callable[[optax.Schedule, float], optax.GradientTransformation]] = {
    "sgd": lambda rate, decay: optax.sgd(rate),
    "momentum": lambda rate, decay: optax.sgd(rate, momentum=0.9),
    "adam": lambda rate, decay: optax.adam(rate),
    "adamw": lambda rate, decay: optax.adamw(rate, weight_decay=decay, mask=_is_weight),
    "rmsprop": lambda rate, decay: optax.rmsprop(rate),
}


WEIGHTS = "w", "depthwise"
"""Names of the parameters that are regularized."""


def classifier(
    config: Config, dataset: Dataset
) -> tuple[Callable, Params, Batches, optax.GradientTransformation]:
    """Loss, parameters, batches and optimizer of a classifier: what `fit` and `advance` take.

    Args:
        config: the settings; for dtype float64, call this under `precision(config)`.
        dataset: in standard units, as `funcnet.data.standardize` gives it.

    Returns:
        `(loss, params, batches, optimizer)`; the parameters are `transposed`.

    >>> from funcnet.data import load
    >>> dataset, _ = standardize(load("spiral"))
    >>> loss, params, batches, update = classifier(Config("spiral", epochs=2), dataset)
    >>> value, measured, kept = loss(params, batches(step=0))
    >>> sorted(measured)
    ['accuracy', 'loss']
    """
    shape = example_shape(config, dataset.train.x.shape[1], dataset.image_shape)
    x, y = dataset.train
    batches = in_memory((x.reshape(-1, *shape), y), config.batch_size)
    params = initial(config, shape, len(dataset.classes), jax.random.key(config.seed))
    return _loss(config), transposed(params), batches, optimizer(config, config.epochs * batches.per_epoch)


@functools.lru_cache(64)  # one loss for one configuration, so that its steps are compiled once
def _loss(config: Config) -> Callable:
    return functools.partial(objective, config)


def objective(
    config: Config, turned: Params, batch: Any, key: Key[Array, ""] | None = None
) -> tuple[Float[Array, ""], dict[str, Array], Mapping[str, Any]]:
    """The total loss of a batch, data loss + λ Σ R(w), its metrics and what is kept.

    Takes `transposed` parameters, and in training the step's key.
    """
    x, y = batch
    scores, kept = forward(config, transposed(turned), x, key)
    loss, accuracy = metrics(config, scores, y)
    total = loss + penalty(config, turned)
    return total, {"loss": loss.astype(jnp.float32), "accuracy": accuracy}, kept


def penalty(config: Config, params: Params) -> Float[Array, ""] | float:
    """λ Σ R(w) over the weights; biases are free, and so is what scales or shifts.

    With AdamW it is no part of the loss: the optimizer itself lets the weights decay.
    """
    if config.regularization == 0 or config.optimizer == "adamw":
        return 0.0
    leaves = jax.tree.leaves_with_path(params)
    weights = [leaf for path, leaf in leaves if path[-1].key in WEIGHTS]
    return config.regularization * sum(nn.REGULARIZERS[config.regularizer](w) for w in weights)


def schedule(config: Config, steps: int) -> optax.Schedule:
    """The learning rate as a function of the step number, for a run of so many steps.

    >>> rate = schedule(Config(learning_rate=0.5, schedule="linear"), 10)
    >>> float(rate(0)), float(rate(5))
    (0.5, 0.25)
    """
    return SCHEDULES[config.schedule](config.rate, steps)


def optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """The update rule of a run of so many steps."""
    return OPTIMIZERS[config.optimizer](schedule(config, steps), 2 * config.regularization)


def _is_weight(params: dict) -> dict:
    """True at the weights, False elsewhere: what AdamW lets decay."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key in WEIGHTS, params)


def transposed(params: Params) -> Params:
    """Parameters with each matrix [in, out] as [out, in], maxout's [in, pieces, out] reversed likewise."""

    def turned(path: Any, p: Array) -> Array:
        return jnp.transpose(p) if path[-1].key == "w" and p.ndim in (2, 3) else p

    return jax.tree.map_with_path(turned, params)


def check_trainable(config: Config, dataset: Dataset, nets: int = 1) -> None:
    """Nothing, if so many nets can be trained together on a data set here.

    Raises:
        ParameterError: they need more memory than there is.
        DataError: a label is none of the classes.
    """
    for part in (dataset.train, dataset.validation):
        check_labels(part.y, dataset.classes)
    features, classes = dataset.train.x.shape[1], len(dataset.classes)
    check_size(config, features, classes, len(dataset.train.y), len(dataset.validation.y), nets=nets)


def fit_classifier(
    config: Config, dataset: Dataset, *, start_from: str | Path | None = None, **options: Any
) -> Net:
    """Trains the net that a configuration names on a data set in raw units.

    Args:
        config: the settings. A run is resumed with the same, but for epochs and learning_rate.
        dataset: its inputs are standardized here, by mean and standard deviation of the training part.
        start_from: the folder of a finished run whose weights are taken where names and shapes fit.
        **options: folder, resume, hook, watch, save_every, progress, mesh, layout and reproducible, as of
            `fit`.

    Raises:
        ParameterError: `resume` without a folder, or the net needs more memory than there is.
        DataError: a label is none of the classes.
        CheckpointError: as in `fit`; `start_from` holds no finished run, or nothing that fits.
        NonFiniteError: loss or parameters became infinite or NaN; the last checkpoint is kept.
        Interrupted: as in `fit`.

    >>> from funcnet.data import load
    >>> run = fit(Config(data="ring", hidden=(20,), epochs=100), load("ring"))
    >>> run.history[-1].train_accuracy > 0.8
    True
    """
    if not isinstance(dataset, Dataset):
        raise ParameterError(
            f"the data set is {came(dataset)}; expected what funcnet.data.load makes of that"
        )
    if config.net not in NETS:
        raise ParameterError(f"net is {config.net!r}, which is trained on sequences; take `fit_machine`")
    check_trainable(config, dataset)
    with precision(config):
        standardized, standardization = standardize(dataset)
        loss, params, batches, update = classifier(config, standardized)
        if start_from is not None:
            path = finished(Path(start_from))
            params = transposed(checkpoint.fitting(transposed(params), checkpoint.read(path)[0], path))
        shape = example_shape(config, standardized.train.x.shape[1], dataset.image_shape)
        x, y = standardized.validation
        validation = jnp.asarray(x.reshape(-1, *shape)), jnp.asarray(y)

        run = fit(
            loss,
            params,
            batches,
            optimizer=update,
            steps=config.epochs * batches.per_epoch,
            seed=config.seed,
            evaluate=lambda params: evaluate_in_chunks(config, transposed(params), *validation)._asdict(),
            settings=asdict(config),
            result=lambda params, *rest: Net(
                transposed(params),
                *rest,
                config=config,
                standardization=standardization,
                classes=dataset.classes,
                image_shape=dataset.image_shape,
            ),
            **options,
        )
        assert isinstance(run, Net)
        return run


fit.register(fit_classifier)
