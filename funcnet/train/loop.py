"""A training run: chunks of steps, and between them what the user sees and what must not be lost.

A chunk is up to 100 steps in one call (`funcnet.train.steps`). Where chunks end follows from the step number,
and all that a run knows is its State and its Log, so going on from a checkpoint of the two gives the same
parameters, bit for bit, as a run that was never stopped.
"""

import contextlib
import functools
import itertools
import math
import operator
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from funcnet._errors import CheckpointError, NonFiniteError, ParameterError, came
from funcnet.backprop import value_and_grad
from funcnet.train import checkpoint
from funcnet.train.batches import Batches, is_traced
from funcnet.train.devices.mesh import Layout, on_one_device, on_the_host, spread_state
from funcnet.train.devices.processes import Peers, peers
from funcnet.train.folder import opened
from funcnet.train.limits import check_options
from funcnet.train.loss import Loss, hashable
from funcnet.train.run import WEIGHTS_FILE, Log, Run, finished
from funcnet.train.source import read_ahead
from funcnet.train.state import WATCHED, State, Way, init
from funcnet.train.steps import Task, broken, check_trains, last_finite, take_chunk
from funcnet.train.watch.log import WatchLog

Hook = Callable[[State, Mapping[str, Any]], None]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM during a run in a folder: the run was saved and can be resumed."""


class StopTraining(Exception):  # noqa: N818 — no error: the run ends well, only sooner
    """Raised by a hook: the run ends here, as if it had no more steps to take."""


@functools.singledispatch
def fit(
    loss: Loss,
    params: Any,
    batches: Batches | Callable,
    *,
    optimizer: optax.GradientTransformation,
    steps: int,
    seed: int = 0,
    grad: Callable = value_and_grad,
    evaluate: Callable[[Any], Mapping[str, Any]] | None = None,
    hook: Hook | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    start_from: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    watch: int = 0,
    save_every: float = 5.0,
    progress: bool = False,
    mesh: Mesh | None = None,
    layout: Layout | None = None,
    reproducible: bool | None = None,
    result: Callable[[Any, Any, Any], Run] = Run,
) -> Run:
    """Trains parameters by a loss; `fit(config, dataset)` trains the classifier that a `Config` describes.

    Args:
        loss: `loss(params, batch)` or `loss(params, batch, key)`, see `funcnet.train.state`.
        params: any pytree of floats; it is copied.
        batches: from `in_memory`, `procedural` or `from_source`, or a jittable function of a key.
        optimizer: any of optax's; schedules, clipping, accumulation, averaging and masks are part of it.
        steps: the step number to stop at.
        seed: decides batches and keys; the parameters are what was given.
        grad: makes loss and gradients: `funcnet.value_and_grad` or `jax.value_and_grad`.
        evaluate: at the end of each epoch, from the parameters to scalars by name; rows of metrics have them
            as validation_….
        hook: called with state and metrics after each chunk, before it is saved: up to 100 steps of an epoch.
            Metrics are arrays by step; at the end of an epoch those of `evaluate` are there too, as
            validation_…. It may raise `StopTraining`.
        folder: where the run is written, see `funcnet.train.folder`; nowhere if None. A state that is spread
            over devices is written in parts, if orbax is installed (`pip install 'funcnet[distributed]'`).
        resume: go on with the run in the folder.
        start_from: the folder of a finished run, or the file of `Run.save`, whose arrays are taken for the
            parameters of the same names and shapes.
        settings: what JSON can hold, to be kept in config.json; a run is resumed with the same, but for
            epochs and learning_rate.
        watch: if not 0, the norm of each parameter's gradient, of each named value and of its gradient is
            measured in each step, and more in each so many-th: `metrics["watched"]`, a `Seen` by step. The
            folder has them by step in watch.csv, and the norms as a heat map in watch.png.
        save_every: seconds between checkpoints.
        progress: show a bar, if standard error is a terminal.
        mesh: devices, of all processes, over whose axis "data" each batch is spread; the parameters that are
            returned, and that `evaluate` gets, are whole on one of them, the optimizer's state on the host.
            None for wherever the arrays are.
        layout: where parameters and the optimizer's state are on the mesh, "replicated", "zero1" or "zero3"
            (`funcnet.train.devices.mesh`); by default where the parameters are, on each device if not on
            the mesh.
        reproducible: gradients are added in one order, so that 1, 2, 4 and 8 devices train to the same bits
            (`funcnet.train.devices.canonical`); by default on a mesh, where that can be, unless a run is
            watched.
        result: makes the run that is returned, of parameters, history and the optimizer's state.

    Returns:
        The run, which is also kept in the folder: `load_run` reads it.

    Raises:
        ParameterError: `resume` without a folder; parameters, batches, optimizer or loss of another kind;
            more memory needed than there is, or more steps than can be counted.
        CheckpointError: another process trains in the folder, it is not empty, or not the same for all
            processes of the run; to resume: it holds no run, or one of other settings, data or parameters;
            `start_from` holds no finished run, or nothing that fits.
        NonFiniteError: loss or parameters became infinite or NaN; the last checkpoint is kept.
        GradientError: the loss is no scalar, or does not depend on the parameters.
        Interrupted: Ctrl-C or SIGTERM in a run with a folder, after the running chunk was finished and saved.
            A second Ctrl-C does not wait for that.

    >>> import jax, jax.numpy as jnp, optax
    >>> from funcnet import train
    >>> def loss(w, batch):
    ...     x, y = batch
    ...     return jnp.mean((x @ w - y) ** 2)
    >>> x = jax.random.normal(jax.random.key(0), (1000, 2))
    >>> batches = train.in_memory((x, x @ jnp.array([2.0, -1.0])), 50)
    >>> run = train.fit(loss, jnp.zeros(2), batches, optimizer=optax.sgd(0.1), steps=100)
    >>> run.params.round(2).tolist(), run.history[-1].epoch
    ([2.0, -1.0], 5)
    """
    check_options(
        steps=steps,
        seed=seed,
        grad=grad,
        evaluate=evaluate,
        hook=hook,
        folder=folder,
        resume=resume,
        start_from=start_from,
        settings=settings,
        watch=watch,
        save_every=save_every,
    )
    if resume and folder is None:
        raise ParameterError("resume is True without a folder; give the folder of the run to go on with")
    if resume and folder is not None and not Path(folder).is_dir():
        raise CheckpointError(f"{folder} holds no run: there is no such folder. Start a new one there.")
    if start_from is not None:
        path = finished(Path(start_from))
        params = checkpoint.fitting(params, checkpoint.read(path)[0], path)
    state, devices = spread_state(init(params, optimizer, steps), mesh, layout, reproducible, watch)
    if is_traced(state):
        raise ParameterError("fit was called within jit or vmap, where only train.advance trains")
    task = Task.of(Way(hashable(loss), optimizer, grad, devices), batches, seed, watch)
    if folder is None and task.batches.rows is None:
        task.batches.describe()  # which tells what draws other batches of one key
    log, disk, interrupted, record = Log(), None, bool, None
    with contextlib.ExitStack() as stack:
        others = stack.enter_context(peers())
        if folder is not None:
            kept, path = {"seed": seed, **(settings or {})}, Path(folder).absolute()
            disk = stack.enter_context(opened(path, kept, task.batches.describe(), others.index == 0))
            disk.check_shared(others)
            interrupted = stack.enter_context(_ending_noted())
            state, log = disk.restore(state) if resume else disk.start(state)
            if not resume:  # a loss that cannot be traced leaves no run in the way of the mended one
                stack.push(lambda _, error, __: disk.discard() if _is_early(error, log) else None)
        if int(state.step) > steps:
            raise ParameterError(
                f"steps is {steps}, and {folder} is at step {state.step} already. Give more."
            )
        if disk and disk.mine and watch:
            record = WatchLog(disk.path, int(state.step))
            stack.callback(record.close)
        bar = tqdm(total=steps, initial=int(state.step), unit="step", disable=None if progress else True)
        stack.enter_context(bar)
        saved = time.monotonic()
        by_epoch = bool(evaluate or hook) or others.count > 1  # of whose processes one alone may have a hook
        spans = task.batches.spans(int(state.step), steps, by_epoch)
        chunks = _chunks(task, spans, steps, evaluate, record, others, state, log)
        for step, state, log, metrics in chunks:
            stopping = _stops(hook, state, metrics)
            ended, due = others.agree(interrupted(), time.monotonic() - saved >= save_every)
            if not bar.disable:
                bar.set_postfix(_means(metrics), refresh=False)
            bar.update(step - bar.n)
            over = ended or stopping or step == steps
            if disk and (over or due):
                if record:
                    record.save()  # first: it may have more rows than the checkpoint has steps, never fewer
                with others.saving():
                    disk.save(state, log)
                saved = time.monotonic()
            if ended:
                raise Interrupted(f"stopped at step {step} of {steps}; the run is saved in {folder}")
            if stopping:
                break
        trained, optimizer_state = state.params, state.optimizer_state
        if mesh:
            trained, optimizer_state = on_one_device(trained), on_the_host(optimizer_state)
        run = result(trained, log.history, optimizer_state)
        if disk and disk.mine:
            run.save(disk.path / WEIGHTS_FILE)
        return run


def _is_early(error: BaseException | None, log: Log) -> bool:
    """Whether an error has come of a run's own functions before their first steps were taken."""
    return log == Log() and isinstance(error, Exception) and not isinstance(error, NonFiniteError)


def _chunks(
    task: Task,
    spans: Iterator[tuple[int, int]],
    steps: int,
    evaluate: Callable | None,
    record: WatchLog | None,
    others: Peers,
    state: State,
    log: Log,
) -> Iterator[tuple[int, State, Log, dict[str, Any]]]:
    """Step number, state, log and metrics after each chunk to the end of the run.

    Raises:
        NonFiniteError: a state has no finite next step.
        GradientError: the loss does not depend on the parameters.
    """
    started = int(state.step)
    for begin, stop, data in _loaded(task, spans):
        began = time.perf_counter()
        with others.waiting():
            after, losses, metrics, good = take_chunk(task, state, data, begin, stop - begin)
        if good and begin == started:
            check_trains(task, state, after)
        state = after if good else last_finite(task, state, data, begin, stop, losses)
        if record:  # of the first bad step as well
            reached = slice(min(int(state.step) + 1, stop) - begin)
            record.add(jax.tree.map(operator.itemgetter(reached), metrics[WATCHED]), begin)
        if not good:
            raise broken(task, state)
        seconds, per_epoch = (time.perf_counter() - began) / (stop - begin), task.batches.per_epoch
        for first, last in _epochs(begin, stop, per_epoch):
            log = log.add(_of_steps(metrics, slice(first - begin, last - begin)), last - first, seconds)
            if last % per_epoch == 0 or last == steps:
                validation = {}
                if evaluate:  # and then a chunk is of one epoch
                    params = on_one_device(state.params) if task.way.devices.mesh else state.params
                    validation = _validation(evaluate(params))
                log = log.close(math.ceil(last / per_epoch), last, validation)
                metrics |= jax.tree.map(np.float64, validation)  # which have .mean(), as the arrays have
        yield stop, state, log, metrics


def _epochs(begin: int, stop: int, per_epoch: int) -> Iterator[tuple[int, int]]:
    """The parts of so many steps that are of one epoch each."""
    while begin < stop:
        last = min(stop, (begin // per_epoch + 1) * per_epoch)
        yield begin, last
        begin = last


def _of_steps(metrics: Mapping[str, Any], steps: slice) -> dict[str, np.ndarray]:
    return {name: each[steps] for name, each in metrics.items() if isinstance(each, np.ndarray)}


def _validation(values: Any) -> dict[str, float]:
    """What `evaluate` has measured, by the names of columns."""
    try:
        return {f"validation_{name}": float(np.asarray(value).item()) for name, value in values.items()}
    except (AttributeError, TypeError, ValueError) as error:  # no mapping, no numbers, or more than one
        each = {name: came(value) for name, value in values.items()} if isinstance(values, Mapping) else {}
        raise ParameterError(
            f"evaluate returned {each or came(values)}; expected scalars by name, as of an accuracy"
        ) from error


def _loaded(task: Task, spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int, Any]]:
    """Where each chunk begins and stops, and its data."""
    batches = task.batches.on(task.way.devices.mesh) if task.way.devices.mesh else task.batches

    def load(begin: int, stop: int) -> tuple[int, int, Any]:
        return begin, stop, batches.load(task.seed, begin, stop - begin)

    return read_ahead(load, spans) if task.batches.reads else itertools.starmap(load, spans)


def _stops(hook: Hook | None, state: State, metrics: Mapping[str, Any]) -> bool:
    """Whether the hook, if there is one, ends the run."""
    try:
        returned = hook(state, metrics) if hook else None
    except StopTraining:
        return True
    if returned is True or isinstance(returned, State | type | Exception):
        raise ParameterError(
            f"the hook returned {came(returned)}, which changes nothing; expected StopTraining raised to end "
            f"the run, and nothing returned"
        )
    if not all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state)):
        raise ParameterError(
            "the hook has put what is no array into the state; expected one, as jax.numpy.float32(1e-3) for "
            "the learning rate of optax.inject_hyperparams"
        )
    return False


def _means(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The means of scalar metrics over a chunk, for the bar."""
    numbers = {name: each for name, each in metrics.items() if isinstance(each, np.ndarray | np.floating)}
    return {name: f"{np.mean(each):.4f}" for name, each in numbers.items() if each.ndim < 2}


@contextlib.contextmanager
def _ending_noted() -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl-C or SIGTERM is only noted; yields what tells whether it came.

    The second one meets the handler that was there before. Signals reach the main thread alone.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(*_: object) -> None:
        asked.set()
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        restore()
