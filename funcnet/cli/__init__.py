"""The commands: train, evaluate RUN, predict RUN FILE, rules, check FUNCTION, draw, stash and demo.

A command is a dataclass whose fields are its flags, and calling it runs it, as a thin function over the
library. The library, and JAX with it, is imported only then, so that `--help` answers at once.
"""

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import OmitArgPrefixes, Positional, arg

from funcnet._errors import CheckpointError, ParameterError
from funcnet.train import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from jax.sharding import Mesh

    from funcnet.cli.arguments import Argument
    from funcnet.data import Dataset
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
        if self.config.net.startswith("ntm"):
            if self.devices:
                raise ParameterError(f"--devices {self.devices}: a Neural Turing Machine is trained on one.")
            return self._train_machine()
        self._train_classifier()

    def _train_machine(self) -> None:
        from funcnet.train import machine, plots

        _, params, _, _ = machine.machine(self.config)
        print(f"{self.config.net} for {self.config.data}: {_size(params):,} parameters", flush=True)
        folder = self.resume or self.out or _new_folder(self.config.data)
        with self._going_on(folder):
            run = machine.fit_machine(self.config, **self._options(folder))
        title = f"{self.config.data}: {self.config.net}"
        plots.save(plots.curves(run.history, title), folder / "curves.png")
        plots.save(machine.figure(self.config, run.params), folder / "memory.png")
        print_errors(machine.errors(self.config, run.params))
        _print_files(folder)

    def _train_classifier(self) -> None:
        from funcnet import data
        from funcnet.train.limits import check_size
        from funcnet.train.objective import fit_classifier

        mesh, leads = self._mesh()
        dataset = data.load(self.config.data, seed=self.config.seed)
        held_out = max(len(dataset.validation.y), len(dataset.test.y))
        features, classes = dataset.train.x.shape[1], len(dataset.classes)
        check_size(self.config, features, classes, len(dataset.train.y), held_out)
        if leads:
            print(net_table(self.config, dataset), flush=True)
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

        from funcnet.train import data_mesh, processes

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
        from funcnet.train import machine
        from funcnet.train.config import read_settings

        if str(read_settings(self.run).get("net")).startswith("ntm"):
            config, params = machine.read_machine(self.run)
            return print_errors(machine.errors(config, params))
        run = _net(self.run)
        dataset = data.load(self.data or run.config.data, seed=run.config.seed)
        test = relabelled(dataset, run.classes).test
        metrics = run.evaluate(test)
        print(f"test loss {metrics.loss:.4f}")
        print(f"test accuracy {metrics.accuracy:.3f}")
        if self.top != 1:
            print(f"test top-{self.top} accuracy {run.top(test, self.top):.3f}")
        if self.confusion:
            print(_confusion_table(run.classes, run.confusion(test)))


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


@dataclass(frozen=True)
class Rules:
    """Print the table of gradient rules, or one of them whole."""

    primitive: Annotated[Positional[str | None], arg(metavar="PRIMITIVE")] = None
    """A primitive of JAX, as it stands in a jaxpr: tanh, dot_general, scan."""

    def __call__(self) -> None:
        """Print it."""
        from funcnet.rules import listing

        print(listing.entry(self.primitive) if self.primitive else listing.overview())


@dataclass(frozen=True)
class Check:
    """Check that the gradient of a function is its derivative, at random arguments."""

    function: Annotated[Positional[str], arg(metavar="MODULE:FUNCTION")]
    """Where it stands: package.module:name, or file.py:name. The current folder is on the path."""
    args: Annotated[str, arg(metavar="SPECS")]
    """What it is called with: arrays "f32[4,8], i32[4]<10, bool[3]", "key" for a random key, or numbers."""
    seed: int = 0
    """Decides the arguments and what they are probed with."""
    order: int = 1
    """How often to differentiate: 2 checks the gradient of the gradient too."""
    dtypes: Annotated[tuple[str, ...] | None, arg(metavar="DTYPE ...")] = None
    """The float dtypes to check in after float64; by default those of the arguments."""
    domain: Annotated[str | None, arg(metavar="NAME")] = None
    """Where it lives: "positive", "unit interval", "simplex" or "correlation"; by default anywhere."""
    timeout: Annotated[float, arg(metavar="SECONDS")] = 20.0
    """How long its loops and callbacks may take; points at which they take longer are left out."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ParameterError(f"--seed {self.seed}: expected a whole number, 0 or more.")
        if not 1 <= self.order <= 3:
            raise ParameterError(
                f"--order {self.order}: expected 1, 2 or 3; each takes several times as long."
            )

    def __call__(self) -> None:
        """Print what was measured.

        Raises:
            VJPCheckError: the gradient did not pass.
            ParameterError: there is no such function, or an argument cannot be read.
            UserCodeError: the function, or its module, raised or exited.
        """
        import numpy as np

        from funcnet import check_vjp
        from funcnet.cli.arguments import arguments
        from funcnet.cli.foreign import calling
        from funcnet.cli.lookup import lookup

        (rng,) = np.random.default_rng(self.seed).spawn(1)  # the probes' own generator starts from the seed
        function, args = lookup(self.function), arguments(self.args, rng)
        options = {"dtypes": self.dtypes, "order": self.order, "domain": self.domain, "timeout": self.timeout}
        with calling(self.function, function, args):
            report = check_vjp(function, *args, key=self.seed, **options)
        print(report)


@dataclass(frozen=True)
class Draw:
    """Draw the graph of a function, with every value and every gradient, at random arguments."""

    function: Annotated[Positional[str], arg(metavar="MODULE:FUNCTION")]
    """Where it stands: package.module:name, or file.py:name. The current folder is on the path."""
    args: Annotated[str, arg(metavar="SPECS")]
    """What it is called with: arrays "f32[4,8], i32[4]<10, bool[3]", "key" for a random key, or numbers."""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """The picture to write: .svg, .png, .pdf, .dot, or .html, a page to walk into it; an .svg by default."""
    depth: int = 0
    """How many levels of functions, gates and named scopes are opened."""
    unroll: bool = False
    """Draw loops step by step."""
    local: bool = False
    """Write its formula and its local gradients on every gate."""
    seed: int = 0
    """Decides the arguments."""

    def __post_init__(self) -> None:
        for name in ("depth", "seed"):
            if getattr(self, name) < 0:
                raise ParameterError(f"--{name} {getattr(self, name)}: expected a whole number, 0 or more.")

    def __call__(self) -> None:
        """Write the picture, and print what is marked in it.

        Raises:
            ParameterError: there is no such function or format, or an argument cannot be read.
            MissingRuleError: an operation on the way back has no rule.
            UserCodeError: the function, or its module, raised or exited.
        """
        from funcnet import draw
        from funcnet.cli.foreign import calling

        function, args = _subject(self.function, self.args, self.seed)
        with calling(self.function, function, args):
            picture = draw(function, depth=self.depth, unroll=self.unroll, local=self.local)(*args)
        out = self.out or Path(f"{self.function.rpartition(':')[2]}.svg")
        picture.save(out)
        for gate in picture.diagram:
            for mark in gate.marks:
                print(f"{gate.name}: {mark.text}    {gate.line}")
        print(f"wrote {out}: {len(picture.diagram.gates)} gates")


@dataclass(frozen=True)
class Stash:
    """Say what the gradient of a function keeps of its forward pass: which arrays, for what, and why."""

    function: Annotated[Positional[str], arg(metavar="MODULE:FUNCTION")]
    """Where it stands: package.module:name, or file.py:name. The current folder is on the path."""
    args: Annotated[str, arg(metavar="SPECS")]
    """What it is called with: arrays "f32[4,8], i32[4]<10, bool[3]", "key" for a random key, or numbers."""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """A picture to write as well: what is kept after each operation, as .png, .svg or .pdf."""

    def __call__(self) -> None:
        """Print the table, for the gradient of all arrays of floats.

        Raises:
            ParameterError: there is no such function or format, or an argument cannot be read.
            GradientError: none of the arguments is a float.
            MissingRuleError: an operation on the way back has no rule.
            UserCodeError: the function, or its module, raised or exited.
        """
        from jax import typeof

        from funcnet import stash
        from funcnet.backprop.activity import differentiable
        from funcnet.cli.foreign import calling

        function, args = _subject(self.function, self.args, seed=0)
        floats = [i for i, x in enumerate(args) if not isinstance(x, float) and differentiable(typeof(x))]
        with calling(self.function, function, args):
            kept = stash(function, floats or 0)(*args)
            print(kept)
        if self.out:
            kept.save(self.out)
            print(f"wrote {self.out}")


@dataclass(frozen=True)
class Demo:
    """See a net learn, with its gradients, in the browser: on this machine only, until Ctrl-C."""

    link: Annotated[Positional[str], arg(metavar="LINK")] = ""
    """A link that the page has copied, or what follows its #; by default the net of the lecture's demo."""
    port: int = 8231
    """Where the page is on this machine; 0 takes any port that is free."""
    browser: bool = True
    """Open the browser."""

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65536:
            raise ParameterError(f"--port {self.port}: expected a whole number from 0 to 65535.")

    def __call__(self) -> None:
        """Serve the page.

        Raises:
            MissingPackageError: the extra `demo` is not installed.
            ParameterError: the port is taken.
        """
        from funcnet.demo import serve

        serve(self.port, browser=self.browser, state=self.link.rpartition("#")[2])


Command = Train | Evaluate | Predict | Rules | Check | Draw | Stash | Demo


def _subject(spec: str, args: str, seed: int) -> "tuple[Callable, tuple[Argument, ...]]":
    """The function that a command line names, and random arguments that it can be called with.

    Raises:
        ParameterError: there is no such function, or an argument cannot be read.
        UserCodeError: its module raised or exited.
    """
    import numpy as np

    from funcnet.cli.arguments import arguments
    from funcnet.cli.lookup import check_call, lookup

    function, values = lookup(spec), arguments(args, np.random.default_rng(seed))
    check_call(spec, function, values)
    return function, values


def net_table(config: Config, dataset: "Dataset") -> str:
    """The net layer by layer: shapes, activation, number of parameters.

    An N-layer net has N weight matrices (CS231n 2019, lecture 4, slide 23).

    >>> from funcnet.data import load
    >>> print(net_table(Config(hidden=(5,)), load("spiral")))
    2-layer net for spiral
    layer   weights  biases  activation  parameters
    layer1    2 × 5       5        relu          15
    layer2    5 × 3       3                      18
    total                                        33
    """
    import jax

    from funcnet.train.net import initial, precision
    from funcnet.train.nets import STATISTICS, example_shape, layers, title

    shape = example_shape(config, dataset.train.x.shape[1], dataset.image_shape)
    with precision(config):
        params = jax.eval_shape(lambda: initial(config, shape, len(dataset.classes), jax.random.key(0)))
    params = {name: layer for name, layer in params.items() if name != STATISTICS}
    rows = [("layer", "weights", "biases", "activation", "parameters")]
    *_, last = names = layers(params)
    for name in names:
        layer = params[name]
        weights, biases = (" × ".join(map(str, layer[each].shape)) if each in layer else "" for each in "wb")
        if "edges" in layer:
            weights = f"{len(layer) - 1} nodes, {len(layer['edges'])} edges"
        activation = config.activation if name != last and biases else ""
        rows.append((name, weights, biases, activation, f"{_size(layer):,}"))
    rows.append(("total", "", "", "", f"{_size(params):,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        name.ljust(widths[0]) + "".join(map("  {:>{}}".format, cells, widths[1:])) for name, *cells in rows
    )
    return "\n".join([f"{title(config)} for {dataset.name}", *lines])


def print_errors(errors: dict[str, dict[str, float]]) -> None:
    """A line for each kind of sequence: what one costs, and how many of its bits are wrong."""
    for name, error in errors.items():
        print(f"{name:16} {error['loss']:9.4f} bits a sequence, {error['wrong_bits']:.2f} wrong")


def _print_files(folder: Path) -> None:
    print(f"wrote {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


def _size(params: Any) -> int:
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _new_folder(spec: str) -> Path:
    """runs/NAME, runs/NAME-2, runs/NAME-3, …: the first that does not exist, made at once."""
    name = re.sub(r"[^\w.-]+", "_", Path(spec).stem).strip("_.") or "run"
    for i in itertools.count(1):
        folder = Path("runs", name if i == 1 else f"{name}-{i}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("there is always a larger number")


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


def _confusion_table(classes: tuple[str, ...], table: "np.ndarray") -> str:
    """A line for each class with its numbers, under the names of the classes."""
    rows = [("", *classes), *zip(classes, *(map(str, column) for column in table.T), strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)


def _draw(run: "Net", folder: Path) -> None:
    """Write curves.png, and what the first layer has learned where an input is an image."""
    from funcnet.train import plots
    from funcnet.train.nets import title, wirings

    plots.save(plots.curves(run.history, f"{run.config.data}: {title(run.config)}"), folder / "curves.png")
    if run.config.net != "mlp":
        plots.save(plots.filters(run.params["conv1"]["w"]), folder / "filters.png")
    elif run.image_shape:
        plots.save(plots.templates(run.params, run.image_shape, run.classes), folder / "templates.png")
    if run.config.net == "randwired":
        from funcnet._files import write_atomically
        from funcnet.drawing.picture import render
        from funcnet.train import wiring

        graphs = wiring.dot(run.params, wirings(run.config))
        write_atomically(folder / "wiring.png", render(graphs, "png"))
