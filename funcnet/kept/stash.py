"""What backpropagation keeps of a function's forward pass: `stash`.

"Forward: compute result of an operation and save any intermediates needed for gradient computation in memory"
(CS231n 2019, lecture 4, summary). Which they are the rules say: each reads what stands in its formula of its
inputs and outputs, and nothing else.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from funcnet._errors import ParameterError
from funcnet._files import write_atomically
from funcnet._memory import amount
from funcnet.backprop.budget import Budget
from funcnet.backprop.checks import check_callable
from funcnet.backprop.engine import engine
from funcnet.kept.alive import course
from funcnet.kept.held import BACK, FORWARD, OWN, Held, held
from funcnet.kept.marking import marking
from funcnet.kept.rows import Kept, rows
from funcnet.kept.table import WIDTH, as_html, table, text, total
from funcnet.kept.ways import Question
from funcnet.rules import RULES, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

MENTIONED = 4
"""So many of the arguments are named below the table."""


@dataclass(frozen=True, eq=False, repr=False)
class Stash:
    """What is kept of a forward pass; `str` and `print` give the table, a notebook shows it.

    Attributes:
        rows: the arrays that the way back reads, in the order in which they are made; those that are there
            anyway, arguments and constants, come first.
        name: what the function is called.
        forward: for each operation of the forward pass the bytes that are alive while it runs, with what is
            kept so far; elementwise operations fused as XLA fuses them.
        backward: likewise for the way back.
        compiled: compiles the value and the gradient, for what XLA says and holds of it.
    """

    rows: tuple[Kept, ...]
    name: str
    forward: tuple[int, ...]
    backward: tuple[int, ...]
    compiled: Callable[[], Any]

    @property
    def bytes(self) -> int:
        """The sum of what is kept, without what is there anyway."""
        return total(row for row in self.rows if not row.there)

    @property
    def cheap(self) -> int:
        """The bytes of it that are elementwise of the rest: XLA often computes that again."""
        return total(row for row in self.rows if row.cheap)

    @property
    def peak(self) -> int:
        """The most bytes that are alive at once: what is kept by then, and what the operation works on."""
        return max((*self.forward, *self.backward), default=0)

    @functools.cached_property
    def _program(self) -> Any:
        return self.compiled()

    @property
    def temporary(self) -> int:
        """The bytes of temporary memory of the compiled value and gradient, as XLA says, once compiled."""
        return self._program.memory_analysis().temp_size_in_bytes

    @functools.cached_property
    def held(self) -> tuple[Held, ...]:
        """The arrays that make these up: what XLA's program holds when it holds most, the largest first."""
        return tuple(held(self._program.as_text()))

    def picture(self) -> "Figure":
        """The bytes that are kept after each operation, forward and on the way back, by why they are kept."""
        from funcnet.kept.plot import mountain

        return mountain(self.rows, self.forward, self.backward, self.name)

    def save(self, path: str | Path) -> None:
        """Write the picture to a file, whole or not: png, svg or pdf.

        Raises:
            ParameterError: the name ends otherwise.
            WriteError: the file cannot be written; what was there is kept.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES:
            raise ParameterError(
                f"save: got {path.name!r}, expected a name that ends in {', '.join(SUFFIXES)}"
            )
        content = BytesIO()
        self.picture().savefig(content, format=path.suffix[1:].lower())
        write_atomically(path, content.getvalue())

    def _sums(self) -> list[str]:
        own = [row for row in self.rows if not row.there]
        there = [row for row in self.rows if row.there]
        kept = f"{amount(self.bytes)} kept in {_arrays(own)}"
        lines = [f"{kept}, {amount(self.cheap)} of them elementwise of the rest" if self.cheap else kept]
        if there:
            names = [row.made or row.why for row in there]
            some = ", ".join(names[:MENTIONED]) + ", …" * (len(names) > MENTIONED)
            lines.append(f"{amount(total(there))} read in {_arrays(there)} there anyway: {some}")
        most = f"{amount(self.peak)} at most alive at once, elementwise operations fused"
        lines.append(f"{most}; XLA's program takes {amount(self.temporary)}")
        return [*lines, *self._of_xla()]

    def _of_xla(self) -> list[str]:
        """Where the bytes come from that XLA's program holds."""
        sums = {of: total(one for one in self.held if one.of == of) for of in (FORWARD, BACK, OWN)}
        parts = [f"{amount(count)} of {of}" for of, count in sums.items() if count]
        return wrap(f"when it holds most, {', '.join(parts)}", WIDTH) if parts else []

    def __str__(self) -> str:
        return "\n".join([text(table(self.rows)), "", *self._sums()])

    def __repr__(self) -> str:
        own = [row for row in self.rows if not row.there]
        return f"Stash of {self.name}: {amount(self.bytes)} in {_arrays(own)}; print it for the table"

    def _repr_html_(self) -> str:
        return as_html(table(self.rows), self._sums())


def stash(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    rules: Table = RULES,
    budget: Budget = None,
) -> Callable[..., Stash]:
    """What a gradient keeps of the forward pass: which arrays, for which rules, how many bytes, and why.

    The function is traced, as under `jax.jit`, and not run: `jax.ShapeDtypeStruct` may stand for an array, so
    what does not fit into memory can be asked for too. Of a loop each step's array is kept, of a cond as
    much as the neediest branch wants; what `jax.checkpoint` computes again is not kept.

    Args:
        f: a function of arrays, or of pytrees of arrays; a loss, or anything else with floats for results.
        argnums: the positional argument, or arguments, to differentiate, as of `funcnet.grad`.
        has_aux: whether f returns a pair `(result, aux)`.
        rules: the table of rules.
        budget: how much memory the gradient may take, as of `funcnet.grad`.

    Returns:
        A function of f's arguments that returns a `Stash`. `print` shows it as a table, beside the temporary
        memory of the compiled gradient, for which it compiles that, and what that memory is for; `.rows` has
        it as data, `.bytes` the sum, `.held` what XLA holds, and `.picture()` draws how it grows and goes.

    Raises:
        GradientError: f is no function, an argument no array, or none of those asked for a float.
        MissingRuleError: an operation on the way back has no rule.

    Source:
        CS231n 2019, lecture 4, summary; Griewank and Walther 2008, section 3.2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import funcnet
        >>> kept = funcnet.stash(lambda w, x: jnp.sum(jnp.tanh(x @ w)))(jnp.ones((8, 4)), jnp.ones((64, 8)))
        >>> [(row.rules, row.shape, row.why) for row in kept.rows]
        [(('dot_general',), (64, 8), 'an argument'), (('tanh',), (64, 4), 'a product')]
        >>> kept.bytes
        1024
    """
    check_callable("stash", f)

    @functools.wraps(f)
    def kept(*args: Any, **kwargs: Any) -> Stash:
        question = Question(f, argnums, has_aux, args, kwargs, budget)
        ways = question.ways(marking(rules))
        at = course([*ways.forward, *ways.backward], ways.results)
        n = len(ways.forward)
        compiled = functools.partial(question.compiled, engine(rules))
        return Stash(
            tuple(rows(ways)), getattr(f, "__name__", "the function"), tuple(at[:n]), tuple(at[n:]), compiled
        )

    return kept


def _arrays(rows: Sequence[Kept]) -> str:
    return f"{len(rows)} array{'s' * (len(rows) != 1)}"
