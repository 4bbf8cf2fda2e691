"""Sums, products, quotients: the rules one learns first."""

from funcnet.rules._table import like, rule


@rule("mul", formula="x̄₁ = ȳ · x₂,  x̄₂ = ȳ · x₁", source="CS231n 2019, lecture 4, slide 82")
def mul(y_bar, y, x1, x2, *, out_dtype):
    return like(x1, y_bar * x2), like(x2, y_bar * x1)


@rule("add", "add_any", formula="x̄₁ = ȳ,  x̄₂ = ȳ", source="CS231n 2019, lecture 4, slide 82")
def add(y_bar, y, x1, x2, *, out_dtype=None):
    return like(x1, y_bar), like(x2, y_bar)
