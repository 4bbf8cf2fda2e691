"""The pytest plugin: the fixture `check_vjp`, its marker and its options. `-p no:funcnet` leaves it out.

    def test_softplus(check_vjp):
        check_vjp(softplus, x)

    @pytest.mark.check_vjp(dtypes=("float32", "bfloat16"))
    def test_attention(check_vjp): ...

    pytest --check-vjp-seed=7      draw other directions and cotangents
    pytest --check-vjp-seeds=20    check everything under 20 seeds; after the first nothing is compiled

pytest imports the plugins of all installed packages before it reads a test. A plugin inside of the package
would import funcnet then, too early for `--jaxtyping-packages=funcnet,…`. So this file is installed beside
the package, as the module `pytest_funcnet`, and imports funcnet when a test asks for the fixture.
"""

import argparse
import difflib
import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from funcnet import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("funcnet")
    group.addoption(
        "--check-vjp-seed",
        type=int,
        default=0,
        metavar="N",
        help="the (first) seed of each check_vjp that is not given a key; 0 by default",
    )
    group.addoption(
        "--check-vjp-seeds",
        type=_count,
        default=1,
        metavar="N",
        help="how many seeds, counting up from the first, each such check_vjp is repeated with; 1 by default",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "check_vjp(key=…, dtypes=…, slack=…): keywords of funcnet.check_vjp for every call of the fixture"
        " check_vjp in the test; a keyword of the call wins, and the marker nearest to the test.",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    seeds = _seeds(config)
    if seeds != range(1):
        return f"check_vjp: --check-vjp-seed={seeds.start} --check-vjp-seeds={len(seeds)}"


@pytest.fixture
def check_vjp(request: pytest.FixtureRequest) -> Callable[..., "Report"]:
    """funcnet.check_vjp with the seeds of the command line and the keywords of the test's marker."""
    import funcnet

    marked = {}
    for marker in request.node.iter_markers("check_vjp"):
        if marker.args:
            raise pytest.UsageError(
                f"@pytest.mark.check_vjp: got {marker.args}, expected keywords only, such as key=7."
            )
        marked = marker.kwargs | marked

    def check(fun: Callable, *args: Any, **keywords: Any) -> "Report":
        __tracebackhide__ = True
        keywords = marked | keywords
        _check_keywords(keywords)
        keys = [keywords.pop("key")] if "key" in keywords else _seeds(request.config)
        try:
            *_, report = [funcnet.check_vjp(fun, *args, key=key, **keywords) for key in keys]
        except funcnet.VJPCheckError as error:
            raise error.with_traceback(None) from None
        return report

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The line of the summary begins with verdict and function, not with the name of the exception."""
    report = yield
    finding = getattr(call.excinfo and call.excinfo.value, "finding", None)
    crash = getattr(report.longrepr, "reprcrash", None)
    if finding is not None and crash is not None:
        crash.message = str(finding)
    return report


def _check_keywords(keywords: dict[str, Any]) -> None:
    __tracebackhide__ = True
    import funcnet

    parameters = inspect.signature(funcnet.check_vjp).parameters.values()
    known = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    for name in keywords:
        if known and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]}=?" if close else f"which are {', '.join(known)}."
            raise pytest.UsageError(
                f"check_vjp: got {name}=, expected keywords of funcnet.check_vjp; {meant}"
            )


def _seeds(config: pytest.Config) -> range:
    first = config.option.check_vjp_seed
    return range(first, first + config.option.check_vjp_seeds)


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a whole number of seeds, 1 or more")
