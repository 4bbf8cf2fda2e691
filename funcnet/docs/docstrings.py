"""Docstrings and formulas as the site shows them."""

import re
from html import escape
from typing import Any

_DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)(?! *$).*)*", re.MULTILINE)
_CODE_OR_STAR = re.compile(r"(?P<code>```.*?```|`[^`]*`)|(?P<before>\[)\*", re.DOTALL)
_SMALL = re.compile(r"_(?:\{(?P<group>[^}]*)\}|(?P<index>\w+))|\^(?:\((?P<sum>[^()]*)\)|(?P<power>−?\w+))")


def as_markdown(docstring: str) -> str:
    r"""The text with each doctest, up to the next empty line, as a block of code, and a shape's star as one.

    >>> as_markdown(">>> 1 + 1\n2").splitlines()
    ['```pycon', '>>> 1 + 1', '2', '```']
    >>> print(as_markdown("floats [*batch, classes], as in `[*batch]`"))
    floats [\*batch, classes], as in `[*batch]`
    """
    fenced = _DOCTEST.sub(lambda test: f"{test['indent']}```pycon\n{test[0]}\n{test['indent']}```", docstring)
    return _CODE_OR_STAR.sub(lambda found: found["code"] or r"[\*", fenced)


def typeset(formula: str) -> str:
    """A formula of a rule or a gate as HTML: each gradient on a line of its own, indices low and powers high.

    >>> typeset("s̄_j = ȳ Σ_{k ≠ j} p_k,  q̄ = 0")
    '<p class="formula">s̄<sub>j</sub> = ȳ Σ<sub>k ≠ j</sub> p<sub>k</sub>,<br>q̄ = 0</p>'
    """

    def small(found: re.Match) -> str:
        low, high = found["group"] or found["index"], found["sum"] or found["power"]
        return f"<sub>{low}</sub>" if low else f"<sup>{high}</sup>"

    lines = re.sub("([,;])  ", r"\1<br>", _SMALL.sub(small, escape(formula, quote=False)))
    return f'<p class="formula">{lines}</p>'


def with_facts(docstring: str, gate: Any) -> str:
    """The docstring of a gate, with its formula, source and largest error behind the first sentence."""
    first, _, rest = docstring.partition("\n\n")
    return (
        f"{first}\n\n{typeset(gate.formula)}\n\n"
        f"Source: {gate.source}  \nLargest error: {largest_error(gate)}\n\n{rest}"
    )


def largest_error(gate: Any) -> str:
    """What the tests pin of a gate's gradient, or why that is not one number."""
    from tests.nn.test_accuracy import MAX_ULP, MAX_ULP_OF_SECOND, NOT_MEASURED, TRUTHS

    if gate in NOT_MEASURED:
        return f"not one number: {NOT_MEASURED[gate]}"
    its = [truth for truth in TRUTHS if truth.gate is gate]
    second = f", of the second derivative {MAX_ULP_OF_SECOND}" if any(truth.second for truth in its) else ""
    return f"at most {MAX_ULP} ulp of the true gradient in float32{second}" if its else "not measured"
