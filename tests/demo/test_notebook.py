"""The page in a notebook: the bundle of its modules runs in a browser against the widget's own answers."""

import base64
import json
import shutil
import subprocess

import pytest

from funcnet import demo
from funcnet._errors import MissingPackageError, ParameterError

pytest.importorskip("anywidget", reason="no widget: pip install 'funcnet[widget]'")

from funcnet.demo import notebook
from funcnet.demo.settings import Settings, settings

HOST = """
const model = {
  handlers: {}, values: { state: STATE },
  get: (name) => model.values[name],
  set: (name, value) => (model.values[name] = value),
  save_changes: () => {},
  on: (name, act) => (model.handlers[name] = act),
  send: async (question) => {
    const text = atob(await answered(JSON.stringify(question)));
    const bytes = Uint8Array.from("    " + text, (one) => one.charCodeAt(0));
    model.handlers["msg:custom"]({}, [new DataView(bytes.buffer, 4)]);
  },
};
page.render({ model, el: document.body });
window.model = model;
"""


@pytest.fixture
def widget(monkeypatch):
    """A widget whose answers are kept, as there is no notebook to send them to."""
    made = demo.widget(hidden=[3], data="simple")
    made.sent = []
    monkeypatch.setattr(type(made), "send", lambda self, content, buffers: self.sent.append(buffers[0]))
    return made


def test_the_settings_are_those_of_a_link(widget):
    assert widget.state == "data=simple&hidden=3"
    assert notebook.text(Settings(inputs=("x", "r"), rate=0.5)) == "inputs=x,r&rate=0.5"
    with pytest.raises(ParameterError, match=r"hidden\[0\] is 99"):
        demo.widget(hidden=[99])
    assert settings("settings", {"hidden": (3,)}).hidden == (3,)


def test_without_anywidget_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(demo, "WIDGET", ("a_package_that_is_not",))
    with pytest.raises(
        MissingPackageError, match=r"a_package_that_is_not, needed to show.*funcnet\[widget\]"
    ):
        demo.widget()


def test_the_bundle_is_one_module():
    text = notebook.bundle("notebook")
    assert "import " not in [line[:7] for line in text.splitlines()]
    assert text.count("\nexport ") == 1
    assert "export default notebook_module.default_" in text
    if shutil.which("node"):
        run = ["node", "--input-type=module", "--check"]
        assert subprocess.run(run, input=text, text=True, capture_output=True, check=False).stderr == ""


def test_the_page_of_the_widget_learns(widget, browser):
    wrong, tab = [], browser.new_page()
    tab.set_default_timeout(60_000)
    tab.on("pageerror", lambda error: wrong.append(error))

    def answered(question):
        widget.answer(None, json.loads(question), [])
        return base64.b64encode(widget.sent.pop()).decode()

    tab.expose_function("answered", answered)
    tab.set_content("<!doctype html><title>notebook</title>")
    bundle = notebook.bundle("notebook").replace("export default ", "const page = ")
    tab.add_script_tag(content=bundle + HOST.replace("STATE", json.dumps(widget.state)), type="module")
    tab.add_style_tag(content=widget._css)
    tab.wait_for_function("() => document.querySelector('.funcnet-demo')?.page?.frame")
    tab.click("[data-act=step]")
    tab.wait_for_function("() => document.querySelector('.funcnet-demo').page.frame.step === 1")
    tab.click("[data-does='more 0']")
    tab.wait_for_function("() => model.get('state') === 'data=simple&hidden=4'")
    assert wrong == []
    tab.close()
