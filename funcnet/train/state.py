"""One step of training any pure loss, as a pure function of a State.

The step number decides everything: the batch (`funcnet.train.batches`), the key, the schedule (optax counts
steps as well). A State is therefore all that a run needs to go on.

What is infinite or NaN in the parameters or the averages of an optimizer stays so, since updates are added:
one look at the state and the losses after many steps tells whether all were good (`is_sound`). So a step pays
nothing for it. `step` and `advance` look after each one, and do not take it if it is bad.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Integer, Key

from funcnet._errors import FuncnetError, ParameterError, came
from funcnet.backprop import value_and_grad
from funcnet.train.batches import Seed
from funcnet.train.checkpoint import named_leaves
from funcnet.train.devices.canonical import in_one_order
from funcnet.train.devices.mesh import Devices, check_mesh, in_one_order_on, rows_spread
from funcnet.train.gradients import Measured, checked
from funcnet.train.limits import check_run
from funcnet.train.loss import Loss, Metrics, completed, entries, evaluated, floats, hashable, replaced
from funcnet.train.nonfinite import finite
from funcnet.train.update import check_lookahead, forgives, updated
from funcnet.train.watch.step import watched

WATCHED = "watched"

FEW = 100
"""Python's numbers among parameters, each an array to the compiler."""


class State(NamedTuple):
    """A run between two steps."""

    params: Any
    optimizer_state: Any
    step: Integer[Array, ""]


class Way(NamedTuple):
    """How a step is taken; `stays` if one that is not finite is not taken."""

    loss: Loss
    optimizer: Any
    grad: Callable
    devices: Devices = Devices()
    stays: bool = False


def init(params: Any, optimizer: optax.GradientTransformation, steps: int = 0) -> State:
    """The state before the first of so many steps, in arrays of its own.

    Raises:
        ParameterError: a parameter is no array, the optimizer is none of optax's, or there is less memory
            than they need.

    >>> init({"w": jnp.zeros(3)}, optax.sgd(0.1)).step
    Array(0, dtype=int32)
    """
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        advice = ". Take its tx" if hasattr(optimizer, "tx") else ""  # flax's TrainState, nnx.Optimizer
        raise ParameterError(
            f"the optimizer is {came(optimizer)}; expected one of optax's, as optax.adam(1e-3){advice}"
        )
    if isinstance(params, State) or hasattr(params, "tx"):
        raise ParameterError(f"params is {came(params)}; expected a pytree of arrays. Take its params")
    _check_arrays(named_leaves(params))
    params = jax.tree.map(lambda leaf: leaf if hasattr(leaf, "shape") else jnp.asarray(leaf), params)
    try:
        check_run(floats(params), optimizer, steps)
        begun = State(params, optimizer.init(floats(params)), jnp.int32(0))
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FuncnetError):
            raise
        raise ParameterError(
            f"the optimizer does not begin with these parameters, {', '.join(entries(params))}: {error} Give "
            f"it labels and masks of their names."
        ) from error
    check_lookahead(params, begun.optimizer_state)
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.asarray(leaf).dtype), begun)  # copies, never weak


def _check_arrays(params: dict[str, Any]) -> None:
    """Nothing, if parameters are arrays, or a few numbers, that are still there."""
    if not params:
        raise ParameterError("there are no parameters; expected a pytree of arrays, which the loss is handed")
    numbers = 0
    for name, leaf in params.items():
        numbers += (number := isinstance(leaf, int | float | complex) and not hasattr(leaf, "dtype"))
        if not number and hasattr(leaf, "params"):  # a Run, or a module that holds them
            raise ParameterError(f"{name or 'params'} is {came(leaf)}; expected arrays. Take its params")
        if not number and not hasattr(leaf, "dtype"):
            raise ParameterError(
                f"the parameter {name or 'params'!r} is {came(leaf)}; expected arrays. Split off what is not "
                f"trained (equinox.partition, nnx.split), and let the loss close over it."
            )
        if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer) and leaf.is_deleted():
            raise ParameterError(
                f"the parameter {name!r} has been deleted, as what is donated to a jitted function is; "
                f"expected what that function returned, or a copy from before"
            )
    if numbers > FEW:
        raise ParameterError(
            f"there are {numbers} numbers of Python's among the parameters, each an array of its own; "
            f"expected arrays. Take jax.numpy.asarray of each list."
        )


def step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    grad: Callable = value_and_grad,
    seed: Seed = 0,
    mesh: Mesh | None = None,
    reproducible: bool | None = None,
) -> Callable[[State, Any], tuple[State, Metrics]]:
    """A pure function from a state and a batch to the next state and the step's metrics.

    Args:
        loss: see `funcnet.train.loss`.
        optimizer: any of optax's.
        grad: makes loss and gradients: `funcnet.value_and_grad`, `jax.value_and_grad`, or one with options.
            It is called as `grad(loss, has_aux=True)(params, batch, key)`, so one of your own may have a
            gradient for each example, as `optax.contrib.dpsgd` takes them.
        seed: decides the key of each step.
        mesh: devices over whose axis "data" the batch is spread; wherever the arrays are if None.
        reproducible: whether gradients are added in one order, on 1, 2, 4 and 8 devices to the same bits
            (`funcnet.train.devices.canonical`): the loss is then the mean of those of 8 chunks of the batch.
            By default it is so on a mesh of so many.

    Returns:
        The function. Its metrics are those of the loss, and the scalar as `loss` if they have no such name.
        If that or what the state would be is not finite (`is_sound`), it stays as it is, its step number too.

    >>> take = step(lambda w, x: jnp.mean((x - w) ** 2), optax.sgd(0.5))
    >>> state, metrics = jax.jit(take)(init(jnp.array(1.0), optax.sgd(0.5)), jnp.array([2.0, 4.0]))
    >>> float(metrics["loss"]), float(state.params)
    (5.0, 3.0)
    """
    key, way = step_key(seed), way_over(mesh, reproducible, loss, optimizer, grad)

    def stepped(state: State, batch: Any) -> tuple[State, Metrics]:
        state, total, metrics = taken(way, state, batch, key)
        return state, {"loss": total, **metrics}

    return stepped


def step_key(seed: Seed) -> Key[Array, ""]:
    """What the keys of the steps are made of; initial parameters and batches have others."""
    return jax.random.fold_in(jax.random.key(seed), 2)


def way_over(mesh: Mesh | None, reproducible: bool | None, loss: Loss, optimizer: Any, grad: Callable) -> Way:
    """How `step` and `advance` take a step on a mesh of devices, or wherever the arrays are."""
    if mesh is not None:
        check_mesh(mesh)
    devices = Devices(mesh, reproducible=in_one_order_on(mesh, True, reproducible))
    return Way(hashable(loss), optimizer, grad, devices, stays=True)


def taken(
    way: Way, state: State, batch: Any, key: Key[Array, ""], full: bool | None = None
) -> tuple[State, Array, Metrics]:
    """The next state, the loss and the metrics, among them what `watched` has seen, unless `full` is None."""
    if not isinstance(state, State):
        raise ParameterError(f"the state is {came(state)}; expected what init(params, optimizer) makes")
    loss, optimizer, grad, devices, stays = way
    key = jax.random.fold_in(key, state.step)
    if devices.mesh:
        batch = rows_spread(batch, devices.mesh)

    def measured(params: Any, rows: Any, key: Key[Array, ""]) -> Measured:
        def whole(trained: Any, rows: Any, key: Key[Array, ""]) -> tuple[Array, tuple[Metrics, Mapping]]:
            return evaluated(loss, completed(trained, params), rows, key)

        trained = floats(params)
        if full is None:
            return checked(grad(whole, has_aux=True)(trained, rows, key), trained)
        value, gradients, seen = watched(grad, full=full)(whole, has_aux=True)(trained, rows, key)
        (total, (metrics, kept)), gradients = checked((value, gradients), trained)
        return (total, ({**metrics, WATCHED: seen}, kept)), gradients

    measure = in_one_order(measured, devices.mesh) if devices.reproducible else measured

    def at(trained: Any) -> Measured:
        return measure(completed(trained, state.params), batch, key)

    def value(trained: Any) -> Array:
        if devices.reproducible:
            return at(trained)[0][0]
        return evaluated(loss, completed(trained, state.params), batch, key)[0]

    trained = floats(state.params)
    (total, (metrics, kept)), gradients = measure(state.params, batch, key)
    trained, optimizer_state = updated(
        optimizer, gradients, state.optimizer_state, trained, total, value, lambda trained: at(trained)[1]
    )
    params = replaced(completed(trained, state.params), kept)
    after = State(params, optimizer_state, state.step + 1)
    if stays:
        after = jax.tree.map(functools.partial(jnp.where, is_sound(after, total)), after, state)
    return devices.stay(after), total, metrics


def is_sound(state: State, losses: Array) -> Bool[Array, ""]:
    """Whether the losses of steps and the state after them are finite.

    An optimizer's own scalars may be infinite (the best loss before the first step), and the losses too where
    it `forgives`. A gradient counts as far as its optimizer lets it through.
    """
    by_parameter = [leaf for leaf in jax.tree.leaves(state.optimizer_state) if jnp.ndim(leaf)]
    return finite(state.params, by_parameter, () if forgives(state.optimizer_state) else losses)
