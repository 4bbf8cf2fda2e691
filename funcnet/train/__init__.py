"""Training: one loop for any pure loss; runs that survive being killed.

    run = fit(loss, params, in_memory((x, y), 64), optimizer=optax.adam(1e-3), steps=1000)

    config = Config(data="digits", hidden=(100,))                       the classifier of the lecture
    run = fit(config, funcnet.data.load(config.data), folder="runs/digits")
    run.evaluate(dataset.test)

Which file is about what:

    loop         `fit`: chunks of steps, and between them metrics, hook, checkpoint, Ctrl-C
    state        one step as a pure function (loss: what it may return; gradients: what `grad` is to it;
                 update: what an optimizer asks for); steps: many in one jitted call
    batches      what a step gets: rows in memory, drawn ones; source: those of a source on the host
    folder       a run's files, their lock, and what refuses to be resumed; settings: its config.json;
                 checkpoint: trees of arrays
    run          the rows of metrics.csv, and what was trained, saved and read back; plots: its curves
    limits       what is refused before it starts, for its size or kind
    nonfinite    where a run broke
    program      a trained function as a program of its own
    watch/       how large what a step computes is
    devices/     the loop on many devices and in many processes
    models/      what a `Config` trains

Names load when they are used, so that the command line can ask `Config` for its fields without waiting for
JAX.
"""

from typing import TYPE_CHECKING

from funcnet._lazy import lazy

__all__ = [
    "Batches",
    "Config",
    "Interrupted",
    "Net",
    "Run",
    "State",
    "StopTraining",
    "Sweep",
    "advance",
    "classifier",
    "data_mesh",
    "export",
    "fit",
    "from_source",
    "in_memory",
    "init",
    "load_run",
    "memory_use",
    "procedural",
    "read_config",
    "rmsprop",
    "sequence_errors",
    "sequence_loss",
    "step",
    "sweep",
    "tensor_parallel",
]

if TYPE_CHECKING:
    from funcnet.train.batches import Batches, in_memory, procedural
    from funcnet.train.devices.mesh import data_mesh, tensor_parallel
    from funcnet.train.loop import Interrupted, StopTraining
    from funcnet.train.models.config import Config, read_config
    from funcnet.train.models.grid import Sweep, sweep
    from funcnet.train.models.memory_plot import memory_use
    from funcnet.train.models.net import Net, load_run
    from funcnet.train.models.objective import classifier, fit
    from funcnet.train.models.sequences import rmsprop, sequence_errors, sequence_loss
    from funcnet.train.program import export
    from funcnet.train.run import Run
    from funcnet.train.source import from_source
    from funcnet.train.state import State, init, step
    from funcnet.train.steps import advance
else:
    __getattr__, __dir__ = lazy(
        __name__,
        __all__,
        {
            "batches": ["Batches", "in_memory", "procedural"],
            "models.objective": ["classifier", "fit"],
            "models.config": ["Config", "read_config"],
            "models.grid": ["Sweep", "sweep"],
            "loop": ["Interrupted", "StopTraining"],
            "models.memory_plot": ["memory_use"],
            "devices.mesh": ["data_mesh", "tensor_parallel"],
            "models.net": ["Net", "load_run"],
            "program": ["export"],
            "run": ["Run"],
            "models.sequences": ["rmsprop", "sequence_errors", "sequence_loss"],
            "source": ["from_source"],
            "state": ["State", "init", "step"],
            "steps": ["advance"],
        },
    )
