"""A training run: chunks of steps, and between them what the user sees and what must not be lost.

A chunk is up to 100 steps in one call (`funcnet.train.state.advance`). Where chunks end follows from
the position in the epoch, and all that a run knows is its State and its Log, so going on from a
checkpoint of the two gives the same parameters, bit for bit, as a run that was never stopped.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax.numpy as jnp
from tqdm import tqdm

from funcnet._errors import ParameterError
from funcnet.data import Dataset, standardize
from funcnet.train import folder as folders
from funcnet.train.config import Config
from funcnet.train.log import Log
from funcnet.train.nonfinite import all_finite, explain
from funcnet.train.run import Run, write_weights
from funcnet.train.state import Metrics, State, advance, evaluate, init, order, precision, steps_per_epoch

CHUNK = 100


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run in a folder: the run was saved and can be resumed."""


def fit(
    config: Config,
    dataset: Dataset,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    save_every: float = 5.0,
    progress: bool = False,
) -> Run:
    """Trains a net on a data set in raw units.

    Args:
        config: the settings.
        dataset: its inputs are standardized here, by mean and standard deviation of the training part.
        folder: where the run is written, see `funcnet.train.folder`; nowhere if None.
        resume: go on with the run in the folder.
        save_every: seconds between checkpoints.
        progress: show a bar, if standard error is a terminal.

    Raises:
        ParameterError: `resume` without a folder.
        CheckpointError: the folder cannot be made or already holds a run; to resume: it holds none, or
            one of another configuration or data set.
        NonFiniteError: loss or parameters became infinite or NaN; the last checkpoint is kept.
        Interrupted: Ctrl-C in a run with a folder, after the running chunk was finished and saved. A
            second Ctrl-C does not wait for that.

    >>> from funcnet.data import load
    >>> run = fit(Config(data="ring", hidden=(20,), epochs=100), load("ring"))
    >>> run.history[-1].train_accuracy > 0.8
    True
    """
    if resume and folder is None:
        raise ParameterError("resume is True without a folder; give the folder of the run to go on with")
    where = None if folder is None else Path(folder)
    with precision(config), _ctrl_c_noted(enabled=where is not None) as interrupted:
        standardized, standardization = standardize(dataset)
        state, log = begun = _begin(config, standardized, where, resume)
        total = config.epochs * steps_per_epoch(config, len(dataset.train.x))
        saved = time.monotonic()
        with tqdm(
            total=total, initial=int(state.step), unit="step", disable=None if progress else True
        ) as bar:
            for state, log, metrics in _chunks(config, *begun, standardized):
                step, stopping = int(state.step), interrupted()
                bar.set_postfix(loss=f"{metrics.loss:.4f}", accuracy=f"{metrics.accuracy:.4f}", refresh=False)
                bar.update(step - bar.n)
                if where and (stopping or step == total or time.monotonic() - saved >= save_every):
                    folders.save(where, standardized, state, log)
                    saved = time.monotonic()
                if stopping:
                    raise Interrupted(f"stopped at step {step} of {total}; the run is saved in {where}")
        run = Run(config, state.params, standardization, dataset.classes, dataset.image_shape, log.history)
        if where:
            write_weights(where, run)
        return run


def _begin(config: Config, dataset: Dataset, folder: Path | None, resume: bool) -> tuple[State, Log]:
    """The state and log to start from, with a folder made ready to save them."""
    state, log = init(config, dataset.train.x.shape[1], len(dataset.classes)), Log()
    if folder is None:
        return state, log
    if resume:
        state, log = folders.restore(folder, config, dataset, state)
    else:
        folders.start(folder, config)
    folders.save(folder, dataset, state, log)
    return state, log


def _chunks(config: Config, state: State, log: Log, dataset: Dataset) -> Iterator[tuple[State, Log, Metrics]]:
    """State, log and metrics after each chunk to the end of the run; each state is donated to the next.

    Raises:
        NonFiniteError: the state cannot take its next step, or the last update has broken it.
    """
    x, y = map(jnp.asarray, dataset.train)
    validation = [jnp.asarray(array) for array in dataset.validation]
    per_epoch = steps_per_epoch(config, len(x))
    turns = _chunk_length(per_epoch)
    for epoch in range(int(state.step) // per_epoch, config.epochs):
        visit = order(config.seed, len(x), epoch)
        while (step := int(state.step)) < (epoch + 1) * per_epoch:
            began = time.perf_counter()
            stop = min(step + turns, (epoch + 1) * per_epoch)
            state, metrics = advance(config, state, x, y, visit, stop, turns)
            if int(state.step) < stop or not all_finite(state):
                raise explain(config, state, x, y)
            log = log.add(metrics, stop - step, time.perf_counter() - began)
            if stop == (epoch + 1) * per_epoch:
                log = log.close(stop, per_epoch, evaluate(config, state.params, *validation))
            yield state, log, metrics


def _chunk_length(per_epoch: int) -> int:
    """The steps of a chunk: 100 at most, and one length for all, so that one loop is compiled."""
    return math.ceil(per_epoch / math.ceil(per_epoch / CHUNK))


@contextlib.contextmanager
def _ctrl_c_noted(enabled: bool) -> Iterator[Callable[[], bool]]:
    """Within the block the first Ctrl-C is only noted; yields the function that tells whether it came.

    The second one meets the handler that was there before. Signals reach the main thread alone.
    """
    pressed = threading.Event()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
