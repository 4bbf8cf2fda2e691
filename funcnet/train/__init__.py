"""Training: one loop for any pure loss; runs that survive being killed.

    run = fit(loss, params, in_memory((x, y), 64), optimizer=optax.adam(1e-3), steps=1000)

    config = Config(data="digits", hidden=(100,))                       the classifier of the lecture
    run = fit(config, funcnet.data.load(config.data), folder="runs/digits")
    run.evaluate(dataset.test)

Which file is about what:

    state        one step, and many in one jitted call, as pure functions
    batches      what a step gets: rows in memory, drawn ones, a source on the host
    loop         `fit`: chunks of steps, and between them metrics, hook, checkpoint, Ctrl-C
    folder       a run's files, their lock, and what refuses to be resumed (checkpoint: trees, log: rows)
    nonfinite    where a run broke; watch: how large what a step computes is (probes, sizes, heatmap)
    run          what was trained, saved and read back; plots draws it, program exports it
    objective    what a Config means to the loop (config: its fields, optimizers: their meaning)
    net          the classifier that comes of it; grid trains many at once

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
    "export",
    "fit",
    "from_source",
    "in_memory",
    "init",
    "load_run",
    "procedural",
    "read_config",
    "step",
    "sweep",
]

if TYPE_CHECKING:
    from funcnet.train.batches import Batches, from_source, in_memory, procedural
    from funcnet.train.config import Config, read_config
    from funcnet.train.grid import Sweep, sweep
    from funcnet.train.loop import Interrupted, StopTraining
    from funcnet.train.net import Net, load_run
    from funcnet.train.objective import classifier, fit
    from funcnet.train.program import export
    from funcnet.train.run import Run
    from funcnet.train.state import State, advance, init, step
else:
    __getattr__, __dir__ = lazy(
        __name__,
        __all__,
        {
            "batches": ["Batches", "from_source", "in_memory", "procedural"],
            "objective": ["classifier", "fit"],
            "config": ["Config", "read_config"],
            "grid": ["Sweep", "sweep"],
            "loop": ["Interrupted", "StopTraining"],
            "net": ["Net", "load_run"],
            "program": ["export"],
            "run": ["Run"],
            "state": ["State", "advance", "init", "step"],
        },
    )
