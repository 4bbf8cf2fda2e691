"""`funcnet train`: a run folder with weights, metrics and pictures; or on with one that was begun."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, arg

from funcnet import _memory
from funcnet._errors import ParameterError
from funcnet.cli import tables
from funcnet.train import Config

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from funcnet.train import Net


@dataclass(frozen=True)
class Train:
    """Train a network and write a run folder: settings, metrics, weights and pictures."""

    config: OmitArgPrefixes[Config] = field(default_factory=Config)
    out: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """The run folder to write; by default the first of runs/DATA, runs/DATA-2, … that is free."""
    resume: Annotated[Path | None, arg(metavar="RUN")] = None
    """The folder of a run to go on with, under its own settings but for --epochs and --learning-rate."""
    start_from: Annotated[Path | None, arg(metavar="RUN")] = None
    """The folder of a finished run whose weights are taken where names and shapes fit."""
    save_every: Annotated[float, arg(metavar="SECONDS")] = 5.0
    """How often to save what a killed run can be resumed from."""
    watch: Annotated[int, arg(metavar="N")] = 0
    """Write the norms of all gradients and layers by step, watch.csv and watch.png; more every N steps."""
    devices: Annotated[int, arg(metavar="N")] = 0
    """Spread each batch over N devices, of all processes; 1, 2, 4 and 8 train to the same bits."""

    def __post_init__(self) -> None:
        if self.out and self.resume:
            raise ParameterError(
                f"--out {self.out}: a resumed run stays in {self.resume}. Drop one of the flags."
            )
        if self.start_from and self.resume:
            raise ParameterError(
                f"--start-from {self.start_from}: a resumed run has its own weights. Drop one of the flags."
            )
        if not self.save_every >= 0:
            raise ParameterError(f"--save-every {self.save_every}: expected seconds, 0 or more.")
        if self.watch < 0:
            raise ParameterError(f"--watch {self.watch}: expected a number of steps, or 0 not to watch.")
        if self.devices < 0:
            raise ParameterError(
                f"--devices {self.devices}: expected a number of devices, or 0 for one alone."
            )

    def __call__(self) -> None:
        """Train, draw, and print the test accuracy; of a Neural Turing Machine what sequences cost.

        Raises:
            CheckpointError, NonFiniteError, Interrupted: see `funcnet.train.fit`.
        """
        _memory.keep_freed()
        if self.config.net.startswith("ntm"):
            if self.devices:
                raise ParameterError(f"--devices {self.devices}: a Neural Turing Machine is trained on one.")
            return self._train_machine()
        self._train_classifier()

    def _train_machine(self) -> None:
        from funcnet.train import plots
        from funcnet.train.models import machine

        _, params, _, _ = machine.machine(self.config)
        print(f"{self.config.net} for {self.config.data}: {tables.size(params):,} parameters", flush=True)
        folder = self.resume or self.out or _new_folder(self.config.data)
        with self._going_on(folder):
            run = machine.fit_machine(self.config, **self._options(folder))
        title = f"{self.config.data}: {self.config.net}"
        plots.save(plots.curves(run.history, title), folder / "curves.png")
        plots.save(machine.figure(self.config, run.params), folder / "memory.png")
        tables.print_errors(machine.errors(self.config, run.params))
        _print_files(folder)

    def _train_classifier(self) -> None:
        from funcnet import data
        from funcnet.train.models.objective import fit_classifier
        from funcnet.train.models.size import check_size

        mesh, leads = self._mesh()
        dataset = data.load(self.config.data, seed=self.config.seed)
        held_out = max(len(dataset.validation.y), len(dataset.test.y))
        features, classes = dataset.train.x.shape[1], len(dataset.classes)
        check_size(self.config, features, classes, len(dataset.train.y), held_out)
        if leads:
            print(tables.net(self.config, dataset), flush=True)
        if leads and mesh:
            print(f"each batch over {mesh.size} device{'s' * (mesh.size != 1)}", flush=True)
        folder = self.resume or self.out or _new_folder(self.config.data)
        options = self._options(folder) | {"mesh": mesh, "progress": leads}
        with self._going_on(folder):
            run = fit_classifier(self.config, dataset, **options)
        if not leads:
            return
        _draw(run, folder)
        print(f"test accuracy {run.evaluate(dataset.test).accuracy:.3f}")
        _print_files(folder)

    def _mesh(self) -> "tuple[Mesh | None, bool]":
        """The devices of all processes, if there are to be any, and whether this process speaks for them."""
        import jax

        from funcnet.train import data_mesh
        from funcnet.train.devices import processes

        processes.join()
        if jax.process_count() > 1 and not (self.out or self.resume):
            raise ParameterError(
                f"this is one of {jax.process_count()} processes of a run; expected one --out FOLDER for all"
            )
        if not self.devices and jax.process_count() == 1:
            return None, True
        return data_mesh(self.devices or None), jax.process_index() == 0

    def _options(self, folder: Path) -> dict[str, Any]:
        return {
            "folder": folder,
            "resume": self.resume is not None,
            "start_from": self.start_from,
            "save_every": self.save_every,
            "watch": self.watch,
            "progress": True,
        }

    @contextlib.contextmanager
    def _going_on(self, folder: Path) -> Iterator[None]:
        """What is interrupted within the block says how to go on."""
        from funcnet.train import Interrupted

        try:
            yield
        except Interrupted as interrupt:
            raise KeyboardInterrupt(f"{interrupt}. Go on with `funcnet train --resume {folder}`.") from None


def _new_folder(spec: str) -> Path:
    """runs/NAME, runs/NAME-2, runs/NAME-3, …: the first that does not exist, made at once."""
    name = re.sub(r"[^\w.-]+", "_", Path(spec).stem).strip("_.") or "run"
    for i in itertools.count(1):
        folder = Path("runs", name if i == 1 else f"{name}-{i}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("there is always a larger number")


def _print_files(folder: Path) -> None:
    print(f"wrote {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def _draw(run: "Net", folder: Path) -> None:
    """Write curves.png, and what the first layer has learned where an input is an image."""
    from funcnet.train import plots
    from funcnet.train.models import templates
    from funcnet.train.models.nets import title, wirings

    plots.save(plots.curves(run.history, f"{run.config.data}: {title(run.config)}"), folder / "curves.png")
    if run.config.net != "mlp":
        plots.save(templates.filters(run.params["conv1"]["w"]), folder / "filters.png")
    elif run.image_shape:
        plots.save(templates.templates(run.params, run.image_shape, run.classes), folder / "templates.png")
    if run.config.net == "randwired":
        from funcnet._files import write_atomically
        from funcnet.drawing.picture import render
        from funcnet.train.models import wiring

        graphs = wiring.dot(run.params, wirings(run.config))
        write_atomically(folder / "wiring.png", render(graphs, "png"))
