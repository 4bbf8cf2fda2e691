"""The table of rules in print: what `funcnet rules` shows."""

import ast
import functools
import inspect
import json
import math
import textwrap
import unicodedata
from importlib import resources

from funcnet._errors import ParameterError
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES, Rule

_SHAPE = {"shape", "dtype", "ndim", "size", "aval"}
_OF_SHAPE_ONLY = {"like", "full_like", "zeros_like"}
_NO_DIGIT = 2.0**24


def overview() -> str:
    """One line for each rule, then the primitives without one and the reason.

    >>> print(overview().splitlines()[0])
    primitive                    keeps             ulp    jax  formula
    """
    rows = [("primitive", "keeps", "ulp", "jax", "formula")]
    for name, rule in sorted(RULES.items()):
        ours, theirs = (_ulp(name, whose) for whose in ("ulp", "jax"))
        rows.append((name, ", ".join(reads(rule)) or "nothing", ours, theirs, rule.formula))
    for name, reason in sorted({**PIECEWISE_CONSTANT, **REFUSED}.items()):
        word = "refused" if name in REFUSED else "zero"
        rows.append((name, word, "", "", reason))
    return "\n".join(
        f"{_wide(name, 28)} {_wide(keeps, 14)} {ours:>6} {theirs:>6}  {formula}"
        for name, keeps, ours, theirs, formula in rows
    )


def entry(name: str) -> str:
    """A rule whole: its formula, where it stands in print, what it keeps, how accurate it is, its code.

    Raises:
        ParameterError: there is no such primitive in the table.

    >>> print(entry("mul").splitlines()[1])
    formula   x̄₁ = ȳ · x₂,  x̄₂ = ȳ · x₁
    """
    if name in REFUSED:
        return f"{name} has no gradient: {REFUSED[name]}"
    if name in PIECEWISE_CONSTANT:
        return f"{name} lets no gradient through: {PIECEWISE_CONSTANT[name]}"
    name = next((full for full in RULES if full.startswith("jax.") and full.endswith(f".{name}")), name)
    if name not in RULES:
        raise ParameterError(
            f"{name}: no such primitive; `funcnet rules` lists the {len(RULES)} that have a rule."
        )
    rule = RULES[name]
    lines = [
        name,
        f"formula   {rule.formula}",
        f"source    {rule.source}",
        f"keeps     {', '.join(reads(rule)) or 'nothing'}",
    ]
    if name in _record():
        ours, theirs = (_ulp(name, whose).replace("all", "no digit right") for whose in ("ulp", "jax"))
        lines.append(f"ulp       {ours} at most in float32; jax.grad: {theirs}")
    code = "".join(
        f"\n\n{textwrap.dedent(inspect.getsource(part))}" for part in (rule.forward, rule.backward) if part
    )
    return "\n".join(lines) + code.rstrip()


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
def _record() -> dict[str, dict[str, float]]:
    """The largest errors on record, in ulp, by primitive; there each argument has its own, `pow x1`."""
    text = resources.files("funcnet.rules").joinpath("accuracy.json").read_text("utf-8")
    errors: dict[str, dict[str, float]] = {}
    for place, error in json.loads(text).items():
        of = errors.setdefault(place.split()[0], {"ulp": 0.0, "jax": 0.0})
        of.update({whose: max(of[whose], error[whose]) for whose in of})
    return errors


def _ulp(name: str, whose: str) -> str:
    """An error in ulp, as short as it can be said."""
    if name not in _record():
        return ""
    ulp = _record()[name][whose]
    if ulp >= _NO_DIGIT or not math.isfinite(ulp):
        return "all"
    return f"{ulp:.1f}" if ulp < 100 else f"{ulp:.1e}"


def _wide(text: str, width: int) -> str:
    """The text padded to a width of so many columns; combining characters take none."""
    return text + " " * (width - sum(not unicodedata.combining(letter) for letter in text))
