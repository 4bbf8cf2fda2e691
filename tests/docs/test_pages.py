"""The pages of the site, without building it: what is on them, and where their links lead."""

import importlib
import json
import re
from html import escape

import pytest

import funcnet
from funcnet.docs import api, pages, rule_sheet
from funcnet.rules import PIECEWISE_CONSTANT, REFUSED, RULES
from funcnet.rules._standing import STANDING
from tests.test_public_names import PACKAGES

TEXTS = [source for source in pages.existing() if source.endswith(".md")]


@pytest.mark.parametrize("source", TEXTS)
def test_what_a_page_links_to_is_there(source):
    text = (pages.ROOT / source).read_text("utf-8")
    for target in pages.linked(text, source):
        assert (pages.ROOT / target).is_file() or target in pages.PAGES, target


@pytest.mark.parametrize(
    ("link", "turned"),
    [
        ("[a](funcnet/DIFFERENCES.md#abs)", "[a](guides/differences.md#abs)"),
        ("[`notebooks/`](notebooks)", "[`notebooks/`](lecture.md)"),
        ("![a](notebooks/pictures/neuron.svg)", "![a](notebooks/pictures/neuron.svg)"),
        ("[a](tests/conftest.py)", "[a](source/tests/conftest.py.md)"),
        ("[a](https://docs.jax.dev/a.html)", "[a](https://docs.jax.dev/a.html)"),
        ("[a](#install)", "[a](#install)"),
        ("`rules[x](y)`", "`rules[x](y)`"),
        ("```python\nrules[x](y)\n```", "```python\nrules[x](y)\n```"),
        ('<img src="notebooks/pictures/neuron.svg">', '<img src="notebooks/pictures/neuron.svg">'),
    ],
)
def test_links_are_turned(link, turned):
    assert pages.with_links(link, "README.md", "index.md") == turned


def test_a_link_from_a_folder_leads_out_of_it():
    turned = pages.with_links("[a](../../README.md)", "funcnet/docs/training.md", "guides/training.md")
    assert turned == "[a](../index.md)"


def test_every_guide_is_a_page():
    assert {path.stem for path in pages.ROOT.glob("funcnet/docs/*.md")} == {*pages.GUIDES, "lecture"}


def test_the_lecture_has_25_rows_and_every_notebook():
    text = (pages.ROOT / "funcnet/docs/lecture.md").read_text("utf-8")
    assert [int(row) for row in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == list(range(1, 26))
    assert {path.name for path in pages.ROOT.glob("notebooks/*.ipynb")} == set(
        re.findall(r"[^/]+\.ipynb", text)
    )


def test_what_the_lecture_names_is_there():
    text = (pages.ROOT / "funcnet/docs/lecture.md").read_text("utf-8")
    names = re.findall(r"`((?:nn|data|train|lecture)\.[\w.]+)`", text)
    assert len(names) > 20
    for name in names:
        package, attribute = name.split(".")
        assert hasattr(getattr(funcnet, package), attribute), name


def test_the_rule_sheet_has_every_rule_once_and_every_reason():
    lines = rule_sheet.index().splitlines()
    names = [line.split("`")[1] for line in lines if re.match(r"\| \[?`", line) and "jax.grad" not in line]
    assert sorted(names) == sorted([*RULES, *PIECEWISE_CONSTANT, *REFUSED, *STANDING])


def test_a_rule_is_on_the_page_of_its_family_with_its_code():
    for name, link in re.findall(r"\[`([^`]+)`\]\((\S+)\)", rule_sheet.index()):
        family, anchor = link.split(".md#")
        text = rule_sheet.page(family)
        assert f"## {name} {{ #{anchor} }}" in text
        assert rule_sheet.sheet(name).code in text


def test_every_package_has_a_page_with_all_its_names():
    assert (
        {f"funcnet.{name}" for name in funcnet.__all__} & set(PACKAGES) <= set(api.PACKAGES) <= set(PACKAGES)
    )
    for package in api.PACKAGES:
        text = api.page(package)
        for name in importlib.import_module(package).__all__:
            assert re.search(
                rf"^## {name}$|heading: ({package}\.)?{name}$|\[`{name}`\]", text, re.MULTILINE
            ), name


@pytest.mark.parametrize(
    ("html", "mathml"),
    [
        (r'<span class="arithmatex">\(x &lt; 1\)</span>', "inline"),
        (r'<div class="arithmatex">\[x\]</div>', "block"),
    ],
)
def test_tex_becomes_mathml(html, mathml):
    pytest.importorskip("latex2mathml")
    assert f'display="{mathml}"' in pages.with_mathml(f"<p>{html}</p>")
    assert "arithmatex" not in pages.with_mathml(html)


@pytest.mark.parametrize("path", sorted(pages.ROOT.glob("notebooks/*.ipynb")), ids=lambda path: path.stem)
def test_every_formula_of_a_notebook_becomes_mathml(path):
    pytest.importorskip("latex2mathml")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    formulas = re.findall(r"\$\$([^$]+)\$\$|\$([^$\n]+)\$", text)
    assert formulas
    for block, inline in formulas:
        html = rf'<span class="arithmatex">\({escape(block or inline)}\)</span>'
        assert "\\" not in pages.with_mathml(html), block or inline
