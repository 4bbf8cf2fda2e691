"""Watching a run: how large what its steps compute is, and where gradients vanish or explode.

Which file is about what:

    step      a step with probes in it, and what they have seen
    probes    a program with probes at its named values; sizes: what each measures
    log       what was seen in a run's folder, step by step; heatmap: its picture
"""

from funcnet.train.watch.step import Seen, watched

__all__ = ["Seen", "watched"]
