"""Notebooks run from top to bottom in a fresh kernel, quietly, in turns; what is committed was run so."""

import base64
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
REAL_DATA = "/usr/share/datasets"
LARGEST = 1_000_000


def test_those_of_the_lecture_are_here_and_each_has_a_number_of_its_own():
    numbers = [path.stem[:2] for path in NOTEBOOKS]
    assert numbers[:9] == [f"0{n}" for n in range(1, 10)]
    assert len(set(numbers)) == len(numbers)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param.name, nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def noise(notebook):
    """What a reader should not see: warnings, progress bars, errors."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def run(notebook, folder, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiles in half the time
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    assert noise(notebook) == []


@pytest.mark.in_turns(9)
def test_it_runs_in_a_fresh_kernel(notebook, tmp_path, monkeypatch):
    _, notebook = notebook
    run(notebook, tmp_path, monkeypatch)


@pytest.mark.in_turns(4)
@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS if REAL_DATA in path.read_text("utf-8")])
def test_without_fashion_mnist_it_takes_the_digits(name, tmp_path, monkeypatch):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    for cell in code(notebook):
        cell.source = cell.source.replace(REAL_DATA, "/nowhere")
    run(notebook, tmp_path, monkeypatch)


def test_what_is_committed_was_run_from_top_to_bottom(notebook):
    _, notebook = notebook
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert noise(notebook) == []


def test_it_says_nothing_of_the_machine_it_ran_on(notebook):
    _, notebook = notebook
    assert len(nbformat.writes(notebook)) < LARGEST
    data = [value for cell in code(notebook) for o in cell.outputs for value in o.get("data", {}).items()]
    words = [value for kind, value in data if not kind.startswith("image/png")]
    streams = [o.text for cell in code(notebook) for o in cell.outputs if o.output_type == "stream"]
    text = "\n".join([*(cell.source for cell in notebook.cells), *words, *streams])
    absolute = re.findall(r"(?<![\w.:/<&])/\w+/[\w./-]+", text)
    assert [path for path in absolute if not path.startswith(REAL_DATA)] == []
    assert set(notebook.metadata.kernelspec) == {"display_name", "language", "name"}


def test_it_uses_the_public_names_only(notebook):
    _, notebook = notebook
    source = "\n".join(cell.source for cell in code(notebook))
    assert re.findall(r"funcnet\.(?:\w+\.)*_\w+|from funcnet\S* import _", source) == []


def test_its_formulas_are_typeset(notebook):
    """In TeX between dollars, which Jupyter and the site set; headings, which become links, stay plain."""
    _, notebook = notebook
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    prose = re.sub(r"^#[^\n]*|```.*?```|`[^`\n]*`", "", "\n".join(texts), flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"\$\$[^$]+\$\$|\$[^$\n]+\$", "", prose)
    assert re.findall("\\S*[$∂Σ√ᵀᵢⱼₖ₀-₉\u0304]\\S*", plain) == []


def test_it_ends_in_asserts(notebook):
    _, notebook = notebook
    assert "assert " in code(notebook)[-1].source
    assert sum("assert " in cell.source for cell in code(notebook)) >= 2


def test_the_gallery_shows_pictures_of_the_notebooks_that_it_links():
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"!\[[^]]*\]\((notebooks/pictures/\S+)\)\]\((notebooks/\S+\.ipynb)\)", readme)
    assert len(links) == 6
    for picture, path in links:
        content = (FOLDER.parent / picture).read_bytes()
        cells = code(nbformat.read(FOLDER.parent / path, as_version=4))
        shown = [output.data for cell in cells for output in cell.outputs if "data" in output]
        if picture.endswith(".png"):
            assert content in [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
        else:
            assert content.decode() in [data["image/svg+xml"] for data in shown if "image/svg+xml" in data]
