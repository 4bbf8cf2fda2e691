"""The primitives that have no rule, each with the reason.

`PIECEWISE_CONSTANT`: the derivative is zero wherever it exists, so no gradient flows through them.
`REFUSED`: a gradient would be asked for in vain or answered wrongly; meeting one is an error.
"""

PIECEWISE_CONSTANT = {
    "floor": "constant between integers",
    "stop_gradient": "asked to be a constant",
}

REFUSED = {
    "nextafter": "its result differs from its first argument by one rounding step, whose derivative is not defined",
}
