"""The grammar of a rule's formula, which people read and programs take apart."""

import functools
import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Formula:
    """A formula of a way back in its parts; see `parse_formula`.

    Attributes:
        symbols: what the inputs are called whose gradients it states: x₁, x₂; none where it is prose.
        gradients: for each of them the right side of x̄ = …
        remark: what stands behind: special cases.
        text: all of it.
    """

    symbols: tuple[str, ...]
    gradients: tuple[str, ...]
    remark: str
    text: str

    @property
    def parts(self) -> tuple[str, ...]:
        """What may stand on a line of its own."""
        return tuple(re.split("[,;]  ", self.text))


@functools.cache
def parse_formula(text: str) -> Formula:
    """A formula in its parts.

    Two spaces separate, so that a comma or a semicolon may stand within a part:

        formula   = gradient {",  " gradient} [";  " remark]
        gradient  = letter macron {subscript} " = " expression

    A text that is not of this form, as one that defines letters of its own, is prose and has no symbols.

    >>> parse_formula("x̄₁ = ȳ · x₂,  x̄₂ = ȳ · x₁;  complex: as it stands").gradients
    ('ȳ · x₂', 'ȳ · x₁')
    """
    head, _, remark = text.partition(";  ")
    barred = unicodedata.normalize("NFD", head)  # the letter, then its bar
    parts = [
        re.fullmatch("(\\w)\u0304([₀-₉ₐ-ₜᵢ-ᵪⱼ]*) = (.+)", part, re.DOTALL) for part in barred.split(",  ")
    ]
    found = [part for part in parts if part] if all(parts) else []
    symbols = tuple(part[1] + part[2] for part in found)
    return Formula(symbols, tuple(unicodedata.normalize("NFC", part[3]) for part in found), remark, text)
