"""The commands: train, evaluate RUN, predict RUN FILE, rules, check FUNCTION, draw, stash and demo.

A command is a dataclass whose fields are its flags, and calling it runs it, as a thin function over the
library. The library, and JAX with it, is imported only then, so that `--help` answers at once.

    training    train
    runs        evaluate, predict: what has been trained
    functions   rules, check, draw, stash: MODULE:FUNCTION, which `lookup` finds, with `arguments` made from
                their specs and `foreign` telling a user's own exceptions from ours
    browser     demo
    tables      what they print in columns
"""

from funcnet.cli.browser import Demo
from funcnet.cli.functions import Check, Draw, Rules, Stash
from funcnet.cli.runs import Evaluate, Predict
from funcnet.cli.training import Train

Command = Train | Evaluate | Predict | Rules | Check | Draw | Stash | Demo
