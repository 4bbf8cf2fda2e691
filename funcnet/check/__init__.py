"""Is this rule right? Checks of gradients, on any JAX function."""

from funcnet.check.check_vjp import check_contract, check_jvp, check_kink, check_linear, check_vjp
from funcnet.check.network import GradientReport, check_gradient
from funcnet.check.numerical import Estimate, numerical_gradient, numerical_vjp
from funcnet.check.report import Finding, Report, Row, Stash

__all__ = [
    "Estimate",
    "Finding",
    "GradientReport",
    "Report",
    "Row",
    "Stash",
    "check_contract",
    "check_gradient",
    "check_jvp",
    "check_kink",
    "check_linear",
    "check_vjp",
    "numerical_gradient",
    "numerical_vjp",
]
