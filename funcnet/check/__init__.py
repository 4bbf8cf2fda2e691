"""Is this rule right? Checks of gradients, on any JAX function.

check_vjp    what a user calls; where a finding is raised       network   the same for a loss, leaf by leaf
criteria     the method: a table of functions from a case and its answers to a finding
evidence     what the answers amount to; disputes and precision decide it       layer     the gate at fault
answers      what rule and oracles say, measured when first asked for           linear    two of the questions
case         the function, its arguments and its oracles: subject, primal, modes
probes       compiled programs, which fuel makes end; differences and directions; domain, where else to ask
noise        what counts as equal                               thresholds    every number with its reason
words        what is said of a finding: hints, reproduce        report        what is said of the rest
"""

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
