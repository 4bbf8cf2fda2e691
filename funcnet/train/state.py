"""One step of training and its repetition, as pure functions of a State.

A step takes a batch, differentiates

    total loss = mean data loss + λ Σ R(w)         (CS231n 2019, lecture 4, slide 6)

and lets the optimizer change the parameters. Which examples make the batch follows from the seed and
the step number alone: epoch e visits the training part in the order `order(seed, examples, e)`, and
its s-th step takes the s-th slice of that. A State is therefore all that a run needs to go on.

Many steps run in one jitted call (`advance`), a `lax.scan` that Python does not enter and that waits
for no decision of the host. An update under a loss that is not finite is not taken, nor is any after
it: the parameters that produced the loss are still there to be looked at. In the scan the weights are
carried as [out, in]: their gradient is then ȳᵀ x, which XLA multiplies on a CPU in 0.4 of the time
that it needs for xᵀ ȳ.

Forward and backward compute in `config.dtype`. Parameters and the optimizer's state are kept in
float32 at least, since an update is often smaller than the last digit of a half-precision weight
(Micikevicius et al. 2018). For dtype float64, call all of this under `precision(config)`.
"""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Integer

from funcnet import nn
from funcnet._types import Params
from funcnet.train.config import Config
from funcnet.train.optimizers import optimizer

Inputs = Float[Array | np.ndarray, "examples features"]
Labels = Integer[Array | np.ndarray, " examples"]
Scalar = Integer[Array, ""] | int


class State(NamedTuple):
    """A run between two steps."""

    params: Params
    optimizer_state: Any
    step: Integer[Array, ""]


class Metrics(NamedTuple):
    """Mean data loss, without the penalty, and the part of the examples that are classified right."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def init(config: Config, features: int, classes: int) -> State:
    """The state before the first step, for inputs of so many features and so many classes.

    >>> state = init(Config(hidden=(5,)), 4, 3)
    >>> state.params["layer2"]["w"].shape
    (5, 3)
    """
    key, _ = _keys(config.seed)
    params = nn.init_mlp(
        key,
        (features, *config.hidden, classes),
        init=config.init,
        pieces=2 if config.activation == "maxout" else None,
        dtype=jnp.promote_types(config.dtype, jnp.float32),
    )
    return State(params, optimizer(config, steps=1).init(params), jnp.int32(0))


def step(config: Config, state: State, x: Inputs, y: Labels) -> tuple[State, Metrics]:
    """One step on a batch out of the training part x, y.

    If the loss is not finite, parameters and step number stay as they are. The state passed in is
    donated: use the one that comes back.

    >>> from funcnet.data import load
    >>> x, y = load("spiral").train
    >>> config = Config(batch_size=300, schedule="cosine")
    >>> state, before = step(config, init(config, 2, 3), x, y)
    >>> state, after = step(config, state, x, y)
    >>> bool(after.loss < before.loss)
    True
    """
    return _advance_by(config, state, x, y, steps=1)


def epoch(config: Config, state: State, x: Inputs, y: Labels) -> tuple[State, Metrics]:
    """The steps to the end of the running epoch, and the means of their metrics; see `step`."""
    per_epoch = steps_per_epoch(config, len(x))
    return _advance_by(config, state, x, y, steps=per_epoch - int(state.step) % per_epoch)


def _advance_by(config: Config, state: State, x: Inputs, y: Labels, steps: int) -> tuple[State, Metrics]:
    start = int(state.step)
    visit = order(config.seed, len(x), start // steps_per_epoch(config, len(x)))
    return advance(config, state, x, y, visit, start + steps, steps)


@functools.partial(jax.jit, static_argnums=0)
def evaluate(config: Config, params: Params, x: Inputs, y: Labels) -> Metrics:
    """The metrics of a net on a batch or a part of the data; the loss is in float64 if the net is."""
    scores = nn.mlp(*in_dtype(config, params, x), activation=nn.ACTIVATIONS[config.activation])
    loss = jnp.mean(nn.LOSSES[config.loss](scores, y))
    return Metrics(loss, jnp.mean(jnp.argmax(scores, axis=-1) == y, dtype=jnp.float32))


@functools.partial(jax.jit, static_argnums=(0, 6), donate_argnums=1)
def advance(
    config: Config,
    state: State,
    x: Inputs,
    y: Labels,
    visit: Integer[Array, " examples"],
    stop: Scalar,
    turns: int,
) -> tuple[State, Metrics]:
    """Steps until `state.step` is `stop`, within one epoch, or until a loss is not finite.

    Args:
        config: the settings.
        state: donated.
        x: the inputs of the whole training part.
        y: its labels.
        visit: the running epoch's `order`.
        stop: the step number to stop at.
        turns: of the compiled loop; those after `stop` change nothing.

    Returns:
        The state, and the means of the metrics over the steps.
    """
    update = optimizer(config, config.epochs * steps_per_epoch(config, len(x))).update

    def one_step(carry, _):
        state, sums = carry
        rows = batch(config, state.step, visit)
        (total, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(
            state.params, config, x[rows], y[rows]
        )
        updates, optimizer_state = update(gradients, state.optimizer_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        after = State(params, optimizer_state, state.step + 1)
        wanted = state.step < stop
        sums = jax.tree.map(lambda total, metric: total + jnp.where(wanted, metric, 0), sums, metrics)
        return (_where(wanted & jnp.isfinite(total), after, state), sums), None

    start, zero = state.step, Metrics(jnp.float32(0), jnp.float32(0))
    (state, sums), _ = lax.scan(one_step, (transposed(state), zero), length=turns)
    return transposed(state), jax.tree.map(lambda total: total / (stop - start), sums)


def objective(turned: Params, config: Config, x: Inputs, y: Labels) -> tuple[Float[Array, ""], Metrics]:
    """The total loss of a batch, data loss + λ Σ R(w), and its metrics; takes `transposed` parameters."""
    loss, accuracy = evaluate(config, transposed(turned), x, y)
    return loss + penalty(config, turned), Metrics(loss.astype(jnp.float32), accuracy)


def penalty(config: Config, params: Params) -> Float[Array, ""] | float:
    """λ Σ R(w) over the weight matrices; biases are free.

    With AdamW it is no part of the loss: the optimizer itself lets the weights decay.
    """
    if config.regularization == 0 or config.optimizer == "adamw":
        return 0.0
    return config.regularization * sum(nn.REGULARIZERS[config.regularizer](w) for w in nn.weights(params))


def transposed(tree: Any) -> Any:
    """The arrays of a tree with their axes reversed: weights [in, out] become [out, in], biases stay."""
    return jax.tree.map(jnp.transpose, tree)


def _where(condition: Bool[Array, ""], then: State, otherwise: State) -> State:
    return jax.tree.map(functools.partial(jnp.where, condition), then, otherwise)


def in_dtype(config: Config, params: Params, x: Inputs) -> tuple[Any, Array]:
    """Parameters and inputs in the dtype that the net computes in."""
    return jax.tree.map(lambda p: jnp.asarray(p, config.dtype), params), jnp.asarray(x, config.dtype)


def batch(config: Config, step: Scalar, visit: Integer[Array, " examples"]) -> Array:
    """The rows of the training part that a step takes, given its epoch's `order`."""
    size = min(config.batch_size, len(visit))
    return lax.dynamic_slice_in_dim(visit, step % steps_per_epoch(config, len(visit)) * size, size)


def steps_per_epoch(config: Config, examples: int) -> int:
    """Full batches in a pass over so many examples; one if there are fewer than a batch."""
    return max(1, examples // config.batch_size)


@functools.partial(jax.jit, static_argnums=(0, 1))
def order(seed: int, examples: int, epoch: Scalar) -> Integer[Array, " {examples}"]:
    """The order in which an epoch visits the examples: a permutation of their rows."""
    _, key = _keys(seed)
    return jax.random.permutation(jax.random.fold_in(key, epoch), examples)


def precision(config: Config) -> AbstractContextManager:
    """Float64 switched on for a block, if the configuration computes in it."""
    return jax.enable_x64(True) if config.dtype == "float64" else nullcontext()


def _keys(seed: int) -> Array:
    """Two keys: for the initial parameters, for the order of the examples."""
    return jax.random.split(jax.random.key(seed))
