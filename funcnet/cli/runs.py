"""`funcnet evaluate RUN` and `funcnet predict RUN FILE`: what a trained run is worth, and what it says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from funcnet._errors import CheckpointError
from funcnet.cli import tables

if TYPE_CHECKING:
    from funcnet.train import Net


@dataclass(frozen=True)
class Evaluate:
    """Measure a finished run on the test part of its data set, or of another one."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder."""
    data: Annotated[str | None, arg(metavar="DATA")] = None
    """Another data set of the same features and classes, named as for `funcnet train`."""
    top: Annotated[int, arg(metavar="K")] = 1
    """Also print for how many the right class is among those of the K highest scores."""
    confusion: bool = False
    """Also print how many of each class, by row, were taken for each class, by column."""

    def __call__(self) -> None:
        """Print test loss and test accuracy; of a Neural Turing Machine what sequences cost.

        Raises:
            DataError: the data set has other classes than the run.
        """
        from funcnet import data
        from funcnet.data.dataset import relabelled
        from funcnet.train.models import machine
        from funcnet.train.settings import read_settings

        if str(read_settings(self.run).get("net")).startswith("ntm"):
            config, params = machine.read_machine(self.run)
            return tables.print_errors(machine.errors(config, params))
        run = _net(self.run)
        dataset = data.load(self.data or run.config.data, seed=run.config.seed)
        test = relabelled(dataset, run.classes).test
        metrics = run.evaluate(test)
        print(f"test loss {metrics.loss:.4f}")
        print(f"test accuracy {metrics.accuracy:.3f}")
        if self.top != 1:
            print(f"test top-{self.top} accuracy {run.top(test, self.top):.3f}")
        if self.confusion:
            print(tables.confusion(run.classes, run.confusion(test)))


@dataclass(frozen=True)
class Predict:
    """Classify the examples in a file: for each a line with index, class and softmax of its score."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run folder."""
    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """Examples in the data set's units: .npy, .npz (its array x), .csv, or one image, .png or .jpg."""

    def __call__(self) -> None:
        """Print the predictions."""
        import jax
        import numpy as np

        from funcnet.data.inputs import read_inputs

        run = _net(self.run)
        x = read_inputs(self.file, len(run.standardization.mean), run.image_shape)
        width = max(map(len, run.classes))
        for index, probabilities in enumerate(np.asarray(jax.nn.softmax(run.scores(x)))):
            label = probabilities.argmax()
            print(f"{index}  {run.classes[label]:{width}}  {probabilities[label]:.3f}")


def _net(folder: Path) -> "Net":
    """The trained classifier in a folder.

    Raises:
        CheckpointError: there is none.
    """
    from funcnet import train

    run = train.load_run(folder)
    if not isinstance(run, train.Net):
        raise CheckpointError(f"{folder} holds a run of another loss; expected one of `funcnet train`.")
    return run
