"""The Neural Turing Machine that a `Config` describes, over the loop: what `objective` is to a classifier."""

import functools
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import optax
from jaxtyping import Array, Key

from funcnet import nn
from funcnet._errors import ParameterError
from funcnet._types import Params
from funcnet.data.procedural import PROCEDURAL, Episode, copy, repeat_copy
from funcnet.train.batches import Batches, procedural
from funcnet.train.loop import fit
from funcnet.train.models.config import Config, read_config
from funcnet.train.models.memory_plot import memory_use
from funcnet.train.models.net import load_run
from funcnet.train.models.sequences import rmsprop, sequence_errors, sequence_loss
from funcnet.train.run import Run

CONTROLLERS = {"ntm": "feedforward", "ntm_lstm": "lstm"}

USED = {"dtype": "float32", "optimizer": "rmsprop", "schedule": "cosine"}
"""Settings that have one value here."""

EPOCH = 1000
"""Steps that are called an epoch: what is drawn has no end."""

LONGER: dict[str, dict[str, Callable[[Key[Array, ""]], Episode]]] = {
    "copy": {f"length {n}": functools.partial(copy, lengths=(n, n)) for n in (40, 80, 120)},
    "repeat_copy": {
        "length 20": functools.partial(repeat_copy, lengths=(20, 20), repeats=(10, 10)),
        "20 repeats": functools.partial(repeat_copy, lengths=(10, 10), repeats=(20, 20)),
    },
    "associative_recall": {
        f"{n} items": functools.partial(PROCEDURAL["associative_recall"], items=(n, n)) for n in (10, 15, 20)
    },
}
"""Of each task sequences that are longer than those of training (Graves et al. 2014, §4.1 to 4.3)."""


def task(config: Config) -> Callable[[Key[Array, ""]], Episode]:
    """What makes a sequence of a key.

    Raises:
        ParameterError: the data are no task of sequences.
    """
    if config.data not in PROCEDURAL:
        raise ParameterError(
            f"data is {config.data!r} with net {config.net!r}; expected one of {', '.join(PROCEDURAL)}"
        )
    return PROCEDURAL[config.data]


def machine(config: Config) -> tuple[Callable, Params, Batches, optax.GradientTransformation]:
    """Loss, parameters, batches and optimizer of a Neural Turing Machine: what `fit` and `advance` take.

    Raises:
        ParameterError: the data are no task of sequences, or it is trained with something else.

    >>> from funcnet.train.models.presets import PRESETS
    >>> _, params, _, _ = machine(PRESETS["ntm"])
    >>> sum(p.size for p in jax.tree.leaves(params))
    13536
    """
    for name, expected in USED.items():
        if (value := getattr(config, name)) != expected:
            raise ParameterError(f"{name} is {value!r} with net {config.net!r}; expected {expected!r}")
    draw = task(config)
    key, _ = jax.random.split(jax.random.key(config.seed))
    episode, (units,) = jax.eval_shape(draw, key), config.hidden
    params = nn.init_ntm(
        key,
        episode.inputs.shape[1],
        episode.targets.shape[1],
        controller=CONTROLLERS[config.net],
        units=units,
        read_heads=config.heads,
        write_heads=config.heads,
    )
    batches = procedural(
        draw if config.batch_size == 1 else functools.partial(_many, draw, config.batch_size)
    )
    return sequence_loss, params, batches, rmsprop(config.rate, EPOCH * config.epochs)


def _many(draw: Callable, number: int, key: Array) -> Episode:
    return jax.vmap(draw)(jax.random.split(key, number))


def fit_machine(config: Config, **options: Any) -> Run:
    """Trains the Neural Turing Machine that a configuration names.

    Args:
        config: the settings. A run is resumed with the same, but for epochs and learning_rate.
        **options: folder, resume, start_from, hook, watch, save_every and progress, as of `fit`.

    Raises:
        ParameterError: as in `machine`.
        CheckpointError: as in `fit`; so are NonFiniteError and Interrupted.
    """
    loss, params, batches, update = machine(config)
    return fit(
        loss,
        params,
        batches,
        optimizer=update,
        steps=EPOCH * config.epochs,
        seed=config.seed,
        settings=asdict(config),
        **options,
    )


def errors(config: Config, params: Params, number: int = 100) -> dict[str, dict[str, float]]:
    """What sequences cost in bits, and their wrong bits, as in training and longer: means of so many each."""
    key = jax.random.key(config.seed + 1)
    each = {"as in training": task(config), **LONGER[config.data]}
    return {
        name: {metric: float(value) for metric, value in sequence_errors(params, draw, key, number).items()}
        for name, draw in each.items()
    }


def figure(config: Config, params: Params) -> Any:
    """What the machine does with its memory on one of the longest sequences of training."""
    draw, keys = task(config), jax.random.split(jax.random.key(config.seed + 2), 32)
    episodes = jax.vmap(draw)(keys)
    episode = jax.tree.map(lambda array: array[episodes.length.argmax()], episodes)
    return memory_use(nn.ntm_trace(params, episode.inputs), episode)


def read_machine(folder: str | Path) -> tuple[Config, Params]:
    """Settings and parameters of the finished run in a folder.

    Raises:
        CheckpointError: the folder holds no run, an unfinished or a damaged one.
    """
    config = read_config(folder)
    shapes = jax.eval_shape(lambda: machine(config)[1])
    return config, load_run(folder, like=shapes).params
