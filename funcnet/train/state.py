"""One step of training any pure loss, and many of them in one call, as pure functions of a State.

The step number decides everything: the batch (`funcnet.train.batches`), the key, the schedule (optax counts
steps as well). A State is therefore all that a run needs to go on.

Where the loss, a gradient or a parameter is not finite, the parameters after the step are not: those whose
gradients are not finite become NaN, all of them if the loss is. Since an update is added, none of these is
finite ever again, and one look at the parameters after many steps tells whether all were good. So nothing is
read or kept for it in a step. `step` and `advance` look after each one, and do not take it if it is bad.

Many steps are one loop of XLA's, which Python does not enter. XLA for CPUs computes a convolution inside of a
loop ten times slower than outside of one (JAX's issue 12868), so there steps with convolutions are dispatched
one by one.
"""

import functools
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh
from jaxtyping import Array, Integer, Key

from funcnet._errors import NonFiniteError, ParameterError
from funcnet.backprop import value_and_grad
from funcnet.train.batches import Batches, Seed, as_batches, is_traced
from funcnet.train.canonical import in_one_order
from funcnet.train.checkpoint import named_leaves
from funcnet.train.limits import check_run
from funcnet.train.loss import Loss, Metrics, evaluated, takes_key
from funcnet.train.mesh import Devices, check_mesh, in_one_order_on, rows_spread
from funcnet.train.nonfinite import finite, marked, why
from funcnet.train.watch import watched

WATCHED = "watched"


class State(NamedTuple):
    """A run between two steps."""

    params: Any
    optimizer_state: Any
    step: Integer[Array, ""]


class Task(NamedTuple):
    """What steps depend on beside the State."""

    loss: Loss
    optimizer: optax.GradientTransformation
    batches: Batches
    grad: Callable
    seed: Seed
    watch: int = 0
    devices: Devices = Devices()
    stays: bool = False
    """Whether a step that is not finite is not taken."""


def init(params: Any, optimizer: optax.GradientTransformation, steps: int = 0) -> State:
    """The state before the first of so many steps, in arrays of its own.

    Raises:
        ParameterError: a parameter is no array of floats, the optimizer is none of optax's, or there is less
            memory than they need.

    >>> init({"w": jnp.zeros(3)}, optax.sgd(0.1)).step
    Array(0, dtype=int32)
    """
    if not callable(getattr(optimizer, "update", None)):
        raise ParameterError(f"the optimizer is {optimizer!r}; expected one of optax's, as optax.adam(1e-3)")
    for name, leaf in named_leaves(params).items():
        dtype = getattr(leaf, "dtype", type(leaf))
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ParameterError(
                f"the parameter {name!r} is of type {dtype}; expected floats. Split off what is not trained "
                f"(equinox.partition, nnx.split), and let the loss close over it."
            )
    params = jax.tree.map(lambda leaf: leaf if hasattr(leaf, "shape") else jnp.asarray(leaf), params)
    check_run(params, optimizer, steps)
    begun = State(params, optimizer.init(params), jnp.int32(0))
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.asarray(leaf).dtype), begun)  # copies, never weak


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
        seed: decides the key of each step.
        mesh: devices over whose axis "data" the batch is spread; wherever the arrays are if None.
        reproducible: whether gradients are added in one order, on 1, 2, 4 and 8 devices to the same bits
            (`funcnet.train.canonical`): the loss is then the mean of those of 8 chunks of the batch. By
            default it is so on a mesh of so many.

    Returns:
        The function. Its metrics are those of the loss, and the scalar as `loss` if they have no such name.
        If it, a gradient or a parameter is not finite, the state stays as it is, its step number too.

    >>> take = step(lambda w, x: jnp.mean((x - w) ** 2), optax.sgd(0.5))
    >>> state, metrics = jax.jit(take)(init(jnp.array(1.0), optax.sgd(0.5)), jnp.array([2.0, 4.0]))
    >>> float(metrics["loss"]), float(state.params)
    (5.0, 3.0)
    """
    key = step_key(seed)
    devices = _over(mesh, reproducible)
    return lambda state, batch: _step(loss, optimizer, grad, state, batch, key, None, devices, stays=True)


def advance(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    batches: Batches | Callable,
    *,
    grad: Callable = value_and_grad,
    seed: Seed = 0,
    mesh: Mesh | None = None,
    reproducible: bool | None = None,
) -> Callable[[State, int], tuple[State, Metrics]]:
    """A function from a state and a number n to the state n steps later, and the metrics of each step.

    Args:
        loss: as for `step`.
        optimizer: as for `step`.
        batches: from `funcnet.train.batches`, or a jittable function of a key.
        grad: as for `step`.
        seed: decides batches and keys.
        mesh: as for `step`.
        reproducible: as for `step`.

    Returns:
        The function; metrics are stacked by step. The state passed in is donated: use what comes back.

    >>> draw = lambda key: jax.random.normal(key, (8,)) + 3.0
    >>> go = advance(lambda w, x: jnp.mean((x - w) ** 2), optax.sgd(0.1), draw)
    >>> state, metrics = go(init(jnp.array(0.0), optax.sgd(0.1)), 50)
    >>> metrics["loss"].shape, round(float(state.params))
    ((50,), 3)
    """
    task = Task(
        loss, optimizer, as_batches(batches), grad, seed, devices=_over(mesh, reproducible), stays=True
    )

    def steps(state: State, n: int) -> tuple[State, Metrics]:
        return take_steps(task, state, task.batches.load(seed, state.step, n), state.step + n, n)

    return steps


def take_steps(
    task: Task, state: State, data: Any, stop: Integer[Array, ""] | int, turns: int
) -> tuple[State, Metrics]:
    """Steps until `state.step` is `stop`, at most so many, on what was loaded for them; the state is donated.

    A watched step in which more is measured than norms is a program of its own.
    """
    parts = task.loss, task.optimizer, task.batches.take, task.grad, task.devices, task.stays
    keys = step_key(task.seed), jax.random.key(task.seed)
    leaves, structure = jax.tree.flatten((state, data, keys))
    if is_traced(leaves):
        return _loop(parts, turns, None, state, data, keys, turns)
    turns = 1 if _slow_in_a_loop(parts, structure, *map(_type, leaves)) else turns
    done = []
    for full, count in _spans(task.watch, int(state.step), int(stop), turns):
        most = 1 if full else turns
        state, metrics = _jitted_loop(parts, most, full, state, data, keys, count)
        done.append(metrics if count == most else jax.tree.map(operator.itemgetter(slice(count)), metrics))
    return state, jax.tree.map(lambda *each: jnp.concatenate(each), *done)


def _spans(watch: int, begin: int, stop: int, most: int) -> Iterator[tuple[bool | None, int]]:
    """How many steps are taken at once, and whether all is measured in them; None if nothing is."""
    while begin < stop:
        full = begin % watch == 0 if watch else None
        count = 1 if full else min(stop - begin, most, watch - begin % watch if watch else most)
        yield full, count
        begin += count


def last_finite(task: Task, state: State, data: Any, stop: int, turns: int) -> State:
    """The state that has no finite next step, of those from one that is finite to `stop`, which is not.

    The program that was run is run again on halves of them, so its bits are those of the run.
    """
    while (step := int(state.step)) + 1 < stop:
        middle = (step + stop) // 2
        after, _ = take_steps(task, copied(state), data, middle, turns)
        if all_finite(after.params):
            state = after
        else:
            stop = middle
    return state


copied = jax.jit(lambda state: jax.tree.map(jnp.copy, state))
"""The same state in arrays of its own."""

all_finite = jax.jit(finite)
"""`finite`, compiled."""


def broken(task: Task, state: State) -> NonFiniteError:
    """The error that says why a state has no finite next step."""
    step = int(state.step)
    batch, key = task.batches(step, task.seed), jax.random.fold_in(step_key(task.seed), step)
    return why(task.loss, task.optimizer, state, batch, **({"key": key} if takes_key(task.loss) else {}))


def step_key(seed: Seed) -> Key[Array, ""]:
    """What the keys of the steps are made of; initial parameters and batches have others."""
    return jax.random.fold_in(jax.random.key(seed), 2)


def _loop(
    parts: tuple, turns: int, full: bool | None, state: State, data: Any, keys: Any, count: Any
) -> tuple[State, Metrics]:
    """So many steps, of at most so many turns, in a loop; one turn is no loop."""
    loss, optimizer, take, grad, devices, stays = parts

    def taken(state: State) -> tuple[State, Metrics]:
        batch = take(data, keys[1], state.step)
        return _step(loss, optimizer, grad, state, batch, keys[0], full, devices, stays)

    state = devices.stay(state)
    if turns == 1:
        state, metrics = taken(state)
        return state, jax.tree.map(lambda x: x[None], metrics)
    rows = jax.tree.map(lambda x: jnp.zeros((turns, *x.shape), x.dtype), jax.eval_shape(taken, state)[1])

    def turn(k: Array, both: tuple[State, Metrics]) -> tuple[State, Metrics]:
        state, metrics = taken(both[0])
        return state, jax.tree.map(lambda row, x: row.at[k].set(x), both[1], metrics)

    state, metrics = lax.fori_loop(0, count, turn, (state, rows))
    return devices.stay(state), metrics


_jitted_loop = jax.jit(_loop, static_argnums=(0, 1, 2), donate_argnums=3)


def _over(mesh: Mesh | None, reproducible: bool | None) -> Devices:
    if mesh is not None:
        check_mesh(mesh)
    return Devices(mesh, reproducible=in_one_order_on(mesh, True, reproducible))


def _step(
    loss: Loss,
    optimizer: Any,
    grad: Callable,
    state: State,
    batch: Any,
    key: Key[Array, ""],
    full: bool | None,
    devices: Devices,
    stays: bool,
) -> tuple[State, Metrics]:
    """The next state, or the same one if the next is not finite and the run `stays` then; and the metrics.

    Among these is what `watched` has seen, unless `full` is None.
    """
    key = jax.random.fold_in(key, state.step)
    if devices.mesh:
        batch = rows_spread(batch, devices.mesh)

    def measured(params: Any, rows: Any, key: Key[Array, ""]) -> tuple[tuple[Array, tuple], Any]:
        def whole(params: Any) -> tuple[Array, tuple[Metrics, Mapping]]:
            return evaluated(loss, params, rows, key)

        if full is None:
            return grad(whole, has_aux=True)(params)
        (total, (metrics, kept)), gradients, seen = watched(grad, full=full)(whole, has_aux=True)(params)
        return (total, ({**metrics, WATCHED: seen}, kept)), gradients

    def value(params: Any) -> Array:
        return (
            measure(params, batch, key)[0][0]
            if devices.reproducible
            else evaluated(loss, params, batch, key)[0]
        )

    measure = in_one_order(measured, devices.mesh) if devices.reproducible else measured
    (total, (metrics, kept)), gradients = measure(state.params, batch, key)
    updates, optimizer_state = optax.with_extra_args_support(optimizer).update(
        gradients,
        state.optimizer_state,
        state.params,
        value=total,
        grad=gradients,
        value_fn=value,
    )
    params: Any = optax.apply_updates(state.params, updates)
    params = marked(params, gradients, finite(total, kept))
    after = State({**params, **kept} if kept else params, optimizer_state, state.step + 1)
    if stays:
        after = jax.tree.map(functools.partial(jnp.where, finite(after.params)), after, state)
    return devices.stay(after), {"loss": total, **metrics}


@functools.lru_cache(64)
def _slow_in_a_loop(parts: tuple, structure: Any, *types: jax.ShapeDtypeStruct) -> bool:
    """Whether steps on arrays of these types have convolutions and run on a CPU."""
    platforms = {device.platform for type_ in types for device in type_.sharding.device_set}
    program = _jitted_loop.trace(parts, 1, None, *structure.unflatten(types), 1).jaxpr
    return platforms == {"cpu"} and "conv_general_dilated" in str(program)


def _type(leaf: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
