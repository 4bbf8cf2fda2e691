"""The public names are these, on purpose, and each says what it is."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import funcnet
from funcnet._errors import GradientError

MODULES = pkgutil.walk_packages(funcnet.__path__, "funcnet.")
PACKAGES = ["funcnet", *(module.name for module in MODULES if module.ispkg)]


def public(package):
    """The names that a package states; of one that states none, as it serves this house alone, its own."""
    own = [name for name, value in vars(package).items() if _is_from(package, value) and name[0] != "_"]
    return getattr(package, "__all__", own)


def _is_from(package, value):
    return getattr(value, "__module__", None) == package.__name__


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists_once_and_it_and_its_package_say_what_they_are(package):
    module = importlib.import_module(package)
    assert module.__doc__
    names = public(module)
    assert sorted(names) == sorted(set(names))
    for name in names:
        value = getattr(module, name)
        assert value is not None
        if callable(value):
            assert value.__doc__, f"{package}.{name} has no docstring"


def test_top_level_names_are_pinned():
    modules = ["data", "drawing", "lecture", "nn", "structure", "train"]
    functions = ["gate", "grad", "hessian", "jacobian", "rule", "trace", "value_and_grad", "vjp"]
    checks = ["check_contract", "check_gradient", "check_jvp", "check_kink", "check_linear", "check_vjp"]
    numerical = ["numerical_gradient", "numerical_vjp"]
    pictures = ["Picture", "draw", "explain", "find_nonfinite", "jacobian_structure"]
    others = ["JAX_KINKS", "RULES", "STRONG_ZERO", "Report", "VJPCheckError", "stash"]
    assert sorted(funcnet.__all__) == sorted([*modules, *functions, *checks, *numerical, *pictures, *others])
    assert set(funcnet.__all__) <= set(dir(funcnet))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", ["draw", "explain", "find_nonfinite", "grad", "jacobian", "stash", "trace"])
def test_what_takes_a_function_wants_one(name):
    with pytest.raises(GradientError, match=rf"{name}: got 3.0, expected a function; write {name}\(f\)\(x\)"):
        getattr(funcnet, name)(3.0)
    with pytest.raises(GradientError, match=rf"{name}: got .{{,60}}, expected a function"):
        getattr(funcnet, name)(np.arange(100.0))


def test_a_package_is_there_without_being_imported():
    """As the guides write it: `import funcnet`, then `funcnet.demo.widget(data="spiral")`."""
    code = "import sys, funcnet; assert 'funcnet.demo' not in sys.modules; funcnet.demo, funcnet.rules.Table"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known():
    with pytest.raises(AttributeError, match="no attribute 'network'; it has JAX_KINKS, RULES, STRONG_ZERO,"):
        _ = funcnet.network


def test_import_is_lazy():
    """`import funcnet` loads neither JAX nor numpy, so that `--help` and the pytest plugin cost nothing."""
    code = "import sys, funcnet; print(sorted({'jax', 'numpy', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("package", [funcnet, funcnet.train])
def test_type_checkers_are_told_of_the_names_that_load(package):
    (block,) = (node for node in ast.parse(inspect.getsource(package)).body if isinstance(node, ast.If))
    homes = {alias.name: statement.module for statement in block.body for alias in statement.names}
    assert sorted(homes) == sorted(package.__all__)
    for name, home in homes.items():
        assert getattr(package, name) is getattr(importlib.import_module(home), name)
