"""A docstring as Markdown: its doctests as code, and what a gate's does not say."""

import re
from html import escape
from typing import Any

_DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)(?! *$).*)*", re.MULTILINE)


def with_fences(docstring: str) -> str:
    r"""The text with each doctest, up to the next empty line, as a block of code.

    >>> with_fences(">>> 1 + 1\n2").splitlines()
    ['```pycon', '>>> 1 + 1', '2', '```']
    """
    return _DOCTEST.sub(lambda test: f"{test['indent']}```pycon\n{test[0]}\n{test['indent']}```", docstring)


def with_facts(docstring: str, gate: Any) -> str:
    """The docstring of a gate, with its formula, source and largest error behind the first sentence."""
    first, _, rest = docstring.partition("\n\n")
    return (
        f'{first}\n\n<p class="formula">{escape(gate.formula)}</p>\n\n'
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
