"""Every number that a check decides by, each with its reason. All else is measured."""

import numpy as np

DRAWS = 16
"""How often a true gradient is computed with its inputs rounded at random: a rounding error is bounded,
and the largest of 16 is rarely below half of the bound."""

SLACK = 8
"""How many units of rounding noise an error may have: stable rules stay below 3.1, unstable ones begin at 9.3
(ten operations, with 8 and with 1024 elements)."""

EXACT = 1e-9
"""The relative error allowed in float64 beside the noise: far below any mistake in a formula, and above what
another order of the same operations makes."""

BY_COARSE_DIFFERENCES = 1e-2
"""The same where differences are the only oracle, of float32 values or less: they lose half of the digits."""

SUMS = 16
"""How many roundings of a short dtype sums in another order may be apart, beside their size."""

SUMMED = 64
"""A dot product or a scatter of more terms rounds its partial sums, which grow as the root of their number.
Roundings of the terms do not show that: 12 units in products of 400 x 400, of which √400 are allowed."""

PRODUCT = 100
"""The same of ⟨x̄, v⟩, a sum over all elements."""

ELSEWHERE = (0.125, 3.0, 8.0)
"""The arguments are scaled by these, to see more of the domain than they show: the branches of the elementary
functions change at sizes of 1 and of 4 to 10."""

ROUGHLY = 1e-6
"""The error looked for there, relative to the largest element: of the noise nothing is known."""

FACTORS = (1.75, -0.625)
"""α and β of the check of linearity, exact in every dtype."""

POWER = 40
"""ȳ is scaled by 2^±40: 10^±12 is beyond any clip or threshold, and its square does not overflow float64."""

DECIDES = 0.1
"""Differences decide between two gradients if their error is below this part of what those are apart."""

TIED_JUMP = 1e-4
"""A spread above this part of the largest element is no rounding in float64: a tie was broken."""

GROUPS = 4
"""How many groups of equal elements are looked at, the largest first."""

SIGNAL = 10.0
"""A gradient below so many tolerances is none: a wrong rule would pass."""

COARSE = 1e-4
"""Numbers that are rounded by more do not tell a gradient that is 0 from one that is not."""

OF_LARGEST = 1e-12
"""Errors below this part of the largest element are rounding errors of it: a sum rounds by its largest."""

STOPPED = 1e-2
"""What an iteration that stops at a tolerance may be off by, beside the largest element, to be called one."""

TIMEOUT = 20.0
"""Seconds that a program of a check may take before what does not end is dropped."""

LATE = 2.0
"""After so many times the timeout, or its default, what must be compiled still is left out, with a note: a
compilation cannot be stopped."""

OTHER_LOOP = 2.0
"""A loop that turns more than so many times as often as at the arguments is not the same iteration any more:
it runs into its cap, or does not converge."""

LEAVES = 8
"""Up to so many arrays are perturbed one by one; of more, each argument at once."""

AWAY = 0.01
"""How far to step aside from a tie, relative to the size of an element: no rounding makes it a tie again."""

BANDS = ((1e-7, "good"), (1e-4, "fine with kinks"), (1e-2, "suspicious"), (np.inf, "wrong"))
"""What the notes of CS231n call a relative error up to these, in double precision."""
