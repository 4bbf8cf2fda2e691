"""Is this rule right? Checks of gradients, on any JAX function.

check_vjp     what a user asks, and where a finding is raised;   network   the same of a loss, leaf by leaf
criteria      the method: a table of functions from a case and its answers to a finding; transforms end it
disputes      who is right where two gradients differ; along     the gradient beside slopes
precision     the gradient in short dtypes;            comparisons    beside autodiff's, and its noise
answers       what rule and oracles say, asked once;   linear    the upstream gradients they are asked with
case          the function, its arguments and oracles, from subject, primal, modes and options
probes        compiled programs, which fuel makes end; domain    where else to ask
differences   slopes from values, along directions;    noise     what counts as equal, by its thresholds
finding       one thing that is wrong, worded by words and hints, by layer its gate;   report   the rest
"""

from funcnet.check.check_vjp import check_jvp, check_vjp
from funcnet.check.finding import Finding
from funcnet.check.network import GradientReport, check_gradient
from funcnet.check.numerical import Estimate, numerical_gradient, numerical_vjp
from funcnet.check.parts import check_contract, check_kink, check_linear
from funcnet.check.report import Report, Row, Stash

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
