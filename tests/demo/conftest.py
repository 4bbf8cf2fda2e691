"""A running server of the demo, and what talks to it."""

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from funcnet.demo.client import Client

TOKEN = "a-token"


def read(answer):
    """A header with its arrays in it."""
    long = int.from_bytes(answer[:4], "little")
    head, at = json.loads(answer[4 : 4 + long]), 4 + long + -(4 + long) % 4
    for name, dtype, shape in head["arrays"]:
        array = np.frombuffer(answer, dtype, int(np.prod(shape)), at).reshape(shape)
        head[name], at = array, at + -(-array.nbytes // 4) * 4
    return head


@pytest.fixture(autouse=True)
def as_users_run_it(no_shape_checks):
    """All files here."""


@pytest.fixture
def ask():
    """Asks a page of its own a question: `ask("run", steps=3)`."""
    client = Client()

    def ask(kind, **fields):
        return read(client.answer(json.dumps({"kind": kind, **fields})))

    ask.client = client
    return ask


@pytest.fixture(scope="module")
def served():
    """A server on a free port: where it is, its token, and who is connected."""
    pytest.importorskip("uvicorn", reason="no server: pip install 'funcnet[demo]'")
    from funcnet.demo import server

    with server.listening(0) as listener:
        port = listener.getsockname()[1]
        listener.listen(128)
        app = server.application(port, TOKEN)
        running = server.server(app)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        address = f"http://127.0.0.1:{port}/?token={TOKEN}"
        yield SimpleNamespace(port=port, token=TOKEN, address=address, connected=app.state.connected)
        running.should_exit = True
        thread.join()
