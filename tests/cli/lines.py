"""Command lines, and what stderr must hold after a wrong one."""

import sys

QUICK = ["train", "--data", "spiral", "--hidden", "10", "--epochs", "2", "--batch-size", "100"]
COMMAND = [sys.executable, "-m", "funcnet"]


def one_line(capsys):
    """The one line that stderr must hold; what it says to do stands in it."""
    err = capsys.readouterr().err
    assert err.startswith("funcnet: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert "Traceback" not in err
    return err
