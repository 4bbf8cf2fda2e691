"""The server: who is let in, and that nobody can stop it for others."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from funcnet.__main__ import main
from funcnet._errors import MissingPackageError
from funcnet.demo.client import Client
from tests.demo.conftest import read

websockets = pytest.importorskip("websockets", reason="no server: pip install 'funcnet[demo]'")
from websockets.asyncio.client import connect  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from funcnet.demo import server  # noqa: E402


def get(served, path, **headers):
    """Status, headers and text of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{served.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def socket_of(served, token=None, origin=None, **options):
    token = served.token if token is None else token
    origin = origin or f"http://127.0.0.1:{served.port}"
    address = f"ws://127.0.0.1:{served.port}/socket?token={token}"
    return connect(address, additional_headers={"Origin": origin}, proxy=None, **options)


async def asked(websocket, kind, **fields):
    await websocket.send(json.dumps({"kind": kind, **fields}))
    return read(await websocket.recv())


def test_the_page_has_its_files_and_takes_nothing_from_elsewhere(served):
    status, headers, text = get(served, f"/?token={served.token}")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "/page/page.css", "/page/open.js"]
    for name, file in server.PAGE.items():
        status, headers, text = get(served, f"/page/{name}?token={served.token}")
        assert (status, text) == (200, file.read_text("utf-8"))
        assert headers["Content-Type"].startswith(server.TYPES[name.rpartition(".")[2]])
        assert re.findall(r"https?://[^\"'`\s]*|@import", text) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 403),
        ("/?token=", 403),
        ("/?token=other", 403),
        ("/?token=%C3%A9", 403),
        ("/page/index.html", 403),
        ("/page/..%2Fserver.py", 404),
        ("/page/../server.py", 404),
        ("/page/%2Fetc%2Fpasswd", 404),
        ("/page/nothing.js", 404),
        ("/socket", 404),
    ],
)
def test_what_is_not_the_page_is_refused(path, status, served):
    assert get(served, path)[0] == status


def test_another_name_for_this_machine_is_refused(served):
    status, _, text = get(served, f"/?token={served.token}", Host="evil.example")
    assert status == 403
    assert f"http://127.0.0.1:{served.port}/ only" in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "other"},
        {"token": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "https://127.0.0.1"},
    ],
    ids=str,
)
def test_a_stranger_gets_no_socket(wrong, served):
    async def knock():
        with pytest.raises(InvalidStatus) as refused:
            async with socket_of(served, **wrong):
                pass
        return refused.value.response.status_code

    assert asyncio.run(knock()) == 403


def test_it_listens_on_this_machine_only(served):
    with server.listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_message_that_is_too_long_ends_its_own_connection_only(served):
    async def talk():
        async with socket_of(served) as good:
            async with socket_of(served) as bad:
                with contextlib.suppress(ConnectionClosed):
                    await bad.send("x" * 10_000_000)
                await bad.wait_closed()
            return await asked(good, "hello")

    assert asyncio.run(talk())["kind"] == "hello"


def test_one_that_asks_too_fast_is_disconnected(served, monkeypatch):
    monkeypatch.setattr(server, "AT_ONCE", 50)
    monkeypatch.setattr(server, "PER_SECOND", 1)

    async def talk():
        async with socket_of(served) as websocket:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(60):
                    await asked(websocket, "nothing")
            return websocket.close_code, websocket.close_reason

    assert asyncio.run(talk()) == (1008, "more than 1 questions a second")


def test_one_that_takes_no_answers_is_let_go(served, monkeypatch):
    """It floods the server with questions and never reads; others are answered all the while."""
    monkeypatch.setattr(server, "PATIENCE", 0.5)
    monkeypatch.setattr(server, "AT_ONCE", 10**6)

    async def talk():
        async with socket_of(served) as good:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
            writer.write(handshake(served))
            question = masked(json.dumps({"kind": "hello"}))
            end = time.monotonic() + 60
            while len(served.connected) != 1 or writer.transport.get_write_buffer_size() == 0:
                if writer.transport.get_write_buffer_size() == 0:
                    writer.write(question * 5000)
                assert (await asked(good, "hello"))["kind"] == "hello"
                assert time.monotonic() < end, "it was never let go"
            writer.transport.abort()

    asyncio.run(talk())


def handshake(served):
    lines = [
        f"GET /socket?token={served.token} HTTP/1.1",
        f"Host: 127.0.0.1:{served.port}",
        f"Origin: http://127.0.0.1:{served.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def masked(text):
    """A WebSocket frame of a client's short text, with the mask 0 (RFC 6455, section 5.2)."""
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


def test_broken_frames_and_sudden_ends_stop_nobody(served):
    async def talk():
        for garbage in (b"\xff" * 64, b"", b"GET / HTTP/9\r\n\r\n", handshake(served)[:60]):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(handshake(served) + garbage)
            await writer.drain()
            writer.transport.abort()
        async with socket_of(served) as good:
            return await asked(good, "hello")

    assert asyncio.run(talk())["kind"] == "hello"


def test_fifty_pages_learn_at_once_and_the_sixty_fifth_is_told_to_wait(served):
    async def one(websocket):
        await asked(websocket, "settings", settings={"hidden": [3]})
        return (await asked(websocket, "run", steps=20))["step"]

    async def talk():
        pages = [await socket_of(served) for _ in range(server.MOST_CLIENTS)]
        try:
            steps = await asyncio.gather(*map(one, pages[:50]))
            late = await socket_of(served)
            with pytest.raises(ConnectionClosed) as closed:
                await late.recv()
            return steps, closed.value.rcvd
        finally:
            await asyncio.gather(*(page.close() for page in pages))

    steps, closed = asyncio.run(talk())
    assert steps == [20] * 50
    assert (closed.code, closed.reason) == (1013, "64 pages are open; close one")


def test_an_error_of_ours_ends_one_page_and_no_other(served, monkeypatch):
    """A bug is no answer: that page is closed, its traceback is in the log, the others go on."""
    real = Client.answer
    monkeypatch.setattr(Client, "answer", lambda self, text: real(self, text) if "bug" not in text else 1 / 0)

    async def talk():
        async with socket_of(served) as good:
            async with socket_of(served) as bad:
                await bad.send("bug")
                with pytest.raises(ConnectionClosed):
                    await bad.recv()
            return await asked(good, "hello")

    assert asyncio.run(talk())["kind"] == "hello"


def test_a_port_that_is_taken_says_what_to_do(served, capsys):
    assert main(["demo", "--port", str(served.port), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert f"--port {served.port}: cannot listen there (Address already in use)" in said
    assert "--port 0 for any that is free" in said


def test_a_port_that_is_none_is_refused(capsys):
    assert main(["demo", "--port", "70000"]) == 2
    assert "--port 70000: expected a whole number from 0 to 65535." in capsys.readouterr().err


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    from funcnet import demo

    monkeypatch.setattr(demo, "SERVER", ("uvicorn", "a_package_that_is_not"))
    with pytest.raises(MissingPackageError, match=r"a_package.*needed to serve.*funcnet\[demo\]"):
        demo.serve(0)


@pytest.mark.in_turns(2)
@pytest.mark.parametrize("browser", ["--browser", "--no-browser"])
def test_the_command_serves_until_ctrl_c(browser):
    command = [
        sys.executable,
        "-m",
        "funcnet",
        "demo",
        "--port",
        "0",
        browser,
        "http://127.0.0.1:1/#hidden=3",
    ]
    environment = {**os.environ, "BROWSER": "a-browser-that-is-not", "DISPLAY": "", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        address = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+)#hidden=3", run.stdout.readline())
        wait_for(int(address[1]))
        with urllib.request.urlopen(address[0], timeout=20) as page:
            assert b"See a net learn" in page.read()
        run.send_signal(signal.SIGINT)
        out, err = run.stdout.read(), run.stderr.read()
    assert (run.returncode, err) == (0, "")
    assert ("No browser was found here" in out) == (browser == "--browser")
    assert out.endswith("The demo has ended.\n")


def wait_for(port):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(port)
