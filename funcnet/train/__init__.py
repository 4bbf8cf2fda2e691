"""Training: pure steps, jitted and chunked; runs that survive being killed.

    config = Config(data="digits", hidden=(100,))
    run = fit(config, funcnet.data.load(config.data), folder="runs/digits")
    run.evaluate(dataset.test)

`fit` is a loop over pure functions that are public too: `init` makes a State, `step` and `epoch`
turn it into the next one, `evaluate` measures it. `sweep` trains a grid of small nets in one jitted
call. Names load when they are used, so that the command line can ask `Config` for its fields without
waiting for JAX.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from funcnet.train.config import Config, read_config
    from funcnet.train.grid import Sweep, sweep
    from funcnet.train.loop import Interrupted, fit
    from funcnet.train.run import EpochMetrics, Run, load_run
    from funcnet.train.state import Metrics, State, epoch, evaluate, init, step

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

_HOME = {
    "Config": "config",
    "read_config": "config",
    "Sweep": "grid",
    "sweep": "grid",
    "Interrupted": "loop",
    "fit": "loop",
    "EpochMetrics": "run",
    "Run": "run",
    "load_run": "run",
    "Metrics": "state",
    "State": "state",
    "epoch": "state",
    "evaluate": "state",
    "init": "state",
    "step": "state",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'funcnet.train' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"funcnet.train.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
