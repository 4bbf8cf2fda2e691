"""Derivatives from values alone.

slopes        the slope of a function along a direction, by extrapolated differences, with its error
gradient      a slope along every element: `numerical_gradient` and `numerical_vjp`
transforms    differences in the place of `jax.jvp` and `jax.vjp`, inside of a traced program
"""

from funcnet.numerical.gradient import Estimate, numerical_gradient, numerical_vjp

__all__ = ["Estimate", "numerical_gradient", "numerical_vjp"]
