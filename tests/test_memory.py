"""What a process does with the memory that it has freed."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from funcnet._memory import keep_freed
{keep}
np.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_a_large_array_after_another_takes_the_same_pages():
    def faults(keep):
        run = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True
        )
        return int(run.stdout)

    assert faults("keep_freed()") < 100 < faults("")
