"""The table of rules in print: what `funcnet rules` shows."""

import ast
import difflib
import functools
import importlib.util
import inspect
import json
import math
import textwrap
import unicodedata
from dataclasses import dataclass
from importlib import resources

from funcnet import _jax
from funcnet._errors import ParameterError
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES, Rule
from funcnet.rules._standing import STANDING

_SHAPE = {"shape", "dtype", "ndim", "size", "aval"}
_OF_SHAPE_ONLY = {"like", "full_like", "zeros_like", "sharding_of"}
_NO_DIGIT = 2.0**24


@dataclass(frozen=True)
class Sheet:
    """What there is to say of a rule.

    Attributes:
        name: of the primitive, or of JAX's function.
        formula: the backward pass as on paper.
        source: where it stands in print.
        keeps: what the rule reads of the forward pass.
        ulps: the largest errors in float32 as short as they can be said, of the gradient and of its gradient,
            each ours and that of `jax.grad`; none where they are not on record.
        code: of the forward pass, where the rule has its own, and of the backward pass.
    """

    name: str
    formula: str
    source: str
    keeps: str
    ulps: tuple[str, ...]
    code: str


def sheet(name: str) -> Sheet:
    """All of the rule of a primitive in `RULES`.

    >>> sheet("tanh").formula, sheet("tanh").keeps
    ('x̄ = ȳ · sech²(x)', 'x')
    """
    rule = RULES[name]
    parts = [textwrap.dedent(inspect.getsource(part)) for part in (rule.forward, rule.backward) if part]
    return Sheet(
        name,
        rule.formula,
        rule.source,
        ", ".join(reads(rule)) or "nothing",
        tuple(map(_short, _record().get(name, ()))),
        "\n\n".join(parts).rstrip(),
    )


def overview() -> str:
    """One line for each rule, then the primitives without one, and JAX's functions whose own rule stands.

    The errors in ulp are those of the gradient, ours and that of `jax.grad`, and those of its gradient.

    >>> print(overview().splitlines()[0])
    primitive                    keeps             ulp    jax   ulp″   jax″  formula
    """
    rows: list[tuple[str, ...]] = [("primitive", "keeps", "ulp", "jax", "ulp″", "jax″", "formula")]
    for it in map(sheet, sorted(RULES)):
        rows.append((it.name, it.keeps, *(it.ulps or [""] * 4), it.formula))
    for name, reason in sorted({**PIECEWISE_CONSTANT, **REFUSED}.items()):
        word = "refused" if name in REFUSED else "zero"
        rows.append((name, word, *[""] * 4, reason))
    for place, reason in sorted(STANDING.items()):
        rows.append((place, "JAX's rule", *[""] * 4, reason))
    return "\n".join(
        f"{_wide(name, 28)} {_wide(keeps, 14)} {' '.join(f'{ulp:>6}' for ulp in ulps)}  {formula}"
        for name, keeps, *ulps, formula in rows
    )


def entry(name: str) -> str:
    """A rule whole: its formula, where it stands in print, what it keeps, how accurate it is, its code.

    Of a library, `funcnet rules lineax`, the primitives that it brings.

    Raises:
        ParameterError: there is no such primitive in the table, nor a library of this name.

    >>> print(entry("mul").splitlines()[1])
    formula   x̄₁ = ȳ · x₂,  x̄₂ = ȳ · x₁
    """
    if name in REFUSED:
        return f"{name} has no gradient: {REFUSED[name]}"
    if name in PIECEWISE_CONSTANT:
        return f"{name} lets no gradient through: {PIECEWISE_CONSTANT[name]}"
    name = next((full for full in RULES if full.startswith("jax.") and full.endswith(f".{name}")), name)
    if name not in RULES and (standing := _standing(name)):
        return standing
    if name not in RULES:
        return _of_library(name)
    it = sheet(name)
    lines = [name, f"formula   {it.formula}", f"source    {it.source}", f"keeps     {it.keeps}"]
    if it.ulps:
        ulps = [ulp.replace("all", "no digit right") for ulp in it.ulps]
        lines.append(f"ulp       {ulps[0]} at most in float32; jax.grad: {ulps[1]}")
        lines.append(f"ulp″      {ulps[2]} in the gradient of the gradient; jax.grad: {ulps[3]}")
    return "\n".join(lines) + f"\n\n{it.code}"


def _of_library(name: str) -> str:
    """The primitives that a library brings, which are differentiated by its own rules.

    Raises:
        ParameterError: there is no such library, and no such primitive either.
    """
    if not name.isidentifier() or importlib.util.find_spec(name) is None:
        similar = difflib.get_close_matches(name.lower(), [full.rpartition(".")[2] for full in RULES], n=1)
        hint = f"; did you mean {similar[0]}?" if similar else "."
        raise ParameterError(
            f"{name}: no such primitive, nor a library{hint} "
            f"`funcnet rules` lists the {len(RULES)} with a rule."
        )
    importlib.import_module(name)
    authors = sorted(_jax.foreign_primitives().items())
    lines = [
        f"{_wide(primitive, 28)} {', '.join(modules)}"
        for primitive, modules in authors
        if any(module.split(".")[0] == name for module in modules)
    ]
    told = (
        "primitives, differentiated by the rules that it has registered with JAX"
        if lines
        else "no primitives"
    )
    return "\n".join([f"{name} brings {told}", *lines])


def _standing(name: str) -> str:
    """Why JAX's own rule of a function stands, by its place or its name; empty for all else."""
    places = [one for one in STANDING if name.lstrip("_") in (one, one.rpartition(".")[2].lstrip("_"))]
    return "\n".join(f"{place} has JAX's own rule: {STANDING[place]}" for place in places)


def reads(rule: Rule) -> tuple[str, ...]:
    """What the backward pass of a rule reads of the forward pass, by the names of its arguments.

    A shape costs nothing to keep, so `x.shape` and `like(x, …)` do not count. What is handed to another
    function does, though that may look at its shape alone: a call then keeps less than is listed.

    >>> reads(RULES["mul"]), reads(RULES["add"])
    (('x1', 'x2'), ())
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(rule.backward))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    arguments = [arg.arg for arg in tree.args.args] + ([tree.args.vararg.arg] if tree.args.vararg else [])
    kept = arguments[:1] if rule.forward else arguments[1:]
    free = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in _SHAPE
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in _OF_SHAPE_ONLY:
            free.add(id(node.args[0]))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in free}
    return tuple(name for name in kept if name in read)


@functools.cache
def _record() -> dict[str, tuple[float, ...]]:
    """The largest errors on record, ours and JAX's of both orders, by primitive.

    There each argument has its own, `pow x1`.
    """
    text = resources.files("funcnet.rules").joinpath("accuracy.json").read_text("utf-8")
    largest: dict[str, tuple[float, ...]] = {}
    for place, first in json.loads(text).items():
        errors = tuple(order[whose] for order in (first, first["second"]) for whose in ("ulp", "jax"))
        name = place.split()[0]
        largest[name] = tuple(map(max, errors, largest.get(name, errors)))
    return largest


def _short(ulp: float) -> str:
    if ulp >= _NO_DIGIT or not math.isfinite(ulp):
        return "all"
    return f"{ulp:.1f}" if ulp < 100 else f"{ulp:.1e}"


def _wide(text: str, width: int) -> str:
    """The text padded to a width of so many columns; combining characters take none."""
    return text + " " * (width - sum(not unicodedata.combining(letter) for letter in text))
