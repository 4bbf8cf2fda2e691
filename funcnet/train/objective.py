"""The classifier of the lecture over the loop: what a `Config` means as loss, parameters, batches, optimizer.

A step takes a batch and differentiates

    total loss = mean data loss + λ Σ R(w)         (CS231n 2019, lecture 4, slide 6)

Here the weights are carried as [out, in]: their gradient is then ȳᵀ x, which XLA multiplies on a CPU in 0.4
of the time that it needs for xᵀ ȳ. A finished `Net` has them as [in, out].
"""

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from funcnet import nn
from funcnet._types import Params
from funcnet.data import Dataset, standardize
from funcnet.train import checkpoint
from funcnet.train.batches import Batches, in_memory
from funcnet.train.config import Config
from funcnet.train.loop import Hook, fit
from funcnet.train.net import Net, evaluate, initial, precision
from funcnet.train.optimizers import optimizer
from funcnet.train.run import finished


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
    >>> value, metrics = loss(params, batches(step=0))
    >>> sorted(metrics)
    ['accuracy', 'loss']
    """
    batches = in_memory(tuple(dataset.train), config.batch_size)
    key = jax.random.key(config.seed)
    params = initial(config, dataset.train.x.shape[1], len(dataset.classes), key)
    return _loss(config), transposed(params), batches, optimizer(config, config.epochs * batches.per_epoch)


@functools.lru_cache(64)  # one loss for one configuration, so that its steps are compiled once
def _loss(config: Config) -> Callable:
    return functools.partial(objective, config)


def objective(config: Config, turned: Params, batch: Any) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The total loss of a batch, data loss + λ Σ R(w), and its metrics; takes `transposed` parameters."""
    loss, accuracy = evaluate(config, transposed(turned), *batch)
    return loss + penalty(config, turned), {"loss": loss.astype(jnp.float32), "accuracy": accuracy}


def penalty(config: Config, params: Params) -> Float[Array, ""] | float:
    """λ Σ R(w) over the weight matrices; biases are free.

    With AdamW it is no part of the loss: the optimizer itself lets the weights decay.
    """
    if config.regularization == 0 or config.optimizer == "adamw":
        return 0.0
    return config.regularization * sum(nn.REGULARIZERS[config.regularizer](w) for w in nn.weights(params))


def transposed(params: Params) -> Params:
    """Parameters with the axes of each array reversed: weights [in, out] become [out, in], biases stay."""
    return jax.tree.map(jnp.transpose, params)


def fit_classifier(
    config: Config,
    dataset: Dataset,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    start_from: str | Path | None = None,
    hook: Hook | None = None,
    save_every: float = 5.0,
    progress: bool = False,
) -> Net:
    """Trains a net on a data set in raw units.

    Args:
        config: the settings. A run is resumed with the same, but for epochs and learning_rate.
        dataset: its inputs are standardized here, by mean and standard deviation of the training part.
        folder: as for any other loss, see `fit`.
        resume: the same.
        start_from: the folder of a finished run whose weights are taken where names and shapes fit.
        hook: as for any other loss.
        save_every: the same.
        progress: the same.

    Raises:
        ParameterError: `resume` without a folder.
        CheckpointError: as in `fit`; `start_from` holds no finished run, or nothing that fits.
        NonFiniteError: loss or parameters became infinite or NaN; the last checkpoint is kept.
        Interrupted: as in `fit`.

    >>> from funcnet.data import load
    >>> run = fit(Config(data="ring", hidden=(20,), epochs=100), load("ring"))
    >>> run.history[-1].train_accuracy > 0.8
    True
    """
    with precision(config):
        standardized, standardization = standardize(dataset)
        loss, params, batches, update = classifier(config, standardized)
        if start_from is not None:
            path = finished(Path(start_from))
            params = transposed(checkpoint.fitting(transposed(params), checkpoint.read(path)[0], path))
        validation = [jnp.asarray(array) for array in standardized.validation]

        def result(params: Params, history: Any, optimizer_state: Any) -> Net:
            return Net(
                params=transposed(params),
                history=history,
                optimizer_state=optimizer_state,
                config=config,
                standardization=standardization,
                classes=dataset.classes,
                image_shape=dataset.image_shape,
            )

        run = fit(
            loss,
            params,
            batches,
            optimizer=update,
            steps=config.epochs * batches.per_epoch,
            seed=config.seed,
            evaluate=lambda params: evaluate(config, transposed(params), *validation)._asdict(),
            hook=hook,
            folder=folder,
            resume=resume,
            settings=asdict(config),
            save_every=save_every,
            progress=progress,
            result=result,
        )
        assert isinstance(run, Net)
        return run


fit.register(fit_classifier)
