"""Training: pure steps, jitted and chunked; runs that survive being killed.

    config = Config(data="digits", hidden=(100,))
    run = fit(config, funcnet.data.load(config.data), folder="runs/digits")
    run.evaluate(dataset.test)

`fit` is a loop over pure functions that are public too: `init` makes a State, `step` and `epoch`
turn it into the next one, `evaluate` measures it. `sweep` trains a grid of small nets in one jitted
call. Names load when they are used, so that the command line can ask `Config` for its fields without
waiting for JAX.
"""

from typing import TYPE_CHECKING

from funcnet._lazy import lazy

__all__ = [
    "Config",
    "EpochMetrics",
    "Interrupted",
    "Metrics",
    "Run",
    "State",
    "Sweep",
    "epoch",
    "evaluate",
    "fit",
    "init",
    "load_run",
    "read_config",
    "step",
    "sweep",
]

if TYPE_CHECKING:
    from funcnet.train.config import Config, read_config
    from funcnet.train.grid import Sweep, sweep
    from funcnet.train.loop import Interrupted, fit
    from funcnet.train.run import EpochMetrics, Run, load_run
    from funcnet.train.state import Metrics, State, epoch, evaluate, init, step
else:
    __getattr__, __dir__ = lazy(
        __name__,
        __all__,
        {
            "config": ["Config", "read_config"],
            "grid": ["Sweep", "sweep"],
            "loop": ["Interrupted", "fit"],
            "run": ["EpochMetrics", "Run", "load_run"],
            "state": ["Metrics", "State", "epoch", "evaluate", "init", "step"],
        },
    )
