"""`funcnet rules`, `check`, `draw` and `stash`: a rule, or the gradient of a function of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from funcnet._errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from funcnet.cli.arguments import Argument


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
