"""Is this rule right? Checks of gradients, on any JAX function.

A check goes down this list, and each file asks those below it:

    check_vjp     what a user asks; parts asks for one thing alone, network for a loss, leaf by leaf
    criteria      the method, in one table of functions from a case and its answers to a finding
    laws          the rows of it that need no oracle, linearity first; precision: in short dtypes
    disputes      who is right where two gradients differ
    comparisons   the gradient beside its oracles: autodiff, in units of noise, and slopes of the function
    answers       what rule and oracles say at a point: at the arguments, elsewhere, at short numbers
    case          the function at its arguments, which oracles sets up (subject, primal, options)
    probes        what a rule is asked and answers, in the two modes, and along which directions
    noise         what counts as equal; thresholds: every number that decides, with its reason
    finding       what is wrong, by words and hints, with its layer; report: what was right

Of other rooms it has the program without its rules (backprop.undecorated), slopes from values (numerical),
programs that end (bounded) and what a forward pass keeps (kept).
"""

from funcnet.check.check_vjp import check_jvp, check_vjp
from funcnet.check.finding import Finding
from funcnet.check.network import GradientReport, check_gradient
from funcnet.check.parts import check_contract, check_kink, check_linear
from funcnet.check.report import Report, Row

__all__ = [
    "Finding",
    "GradientReport",
    "Report",
    "Row",
    "check_contract",
    "check_gradient",
    "check_jvp",
    "check_kink",
    "check_linear",
    "check_vjp",
]
