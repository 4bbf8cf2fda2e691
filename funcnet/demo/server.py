"""The page's server: on this machine only, for whoever has the token, and no client can hold up another.

    GET  /?token=…           the page
    GET  /page/NAME          its modules and its style
    WS   /socket?token=…     questions and answers, see `messages`

A request from another page is refused by its Origin, one through another name for this machine by its Host
(so-called DNS rebinding). Each client's questions are answered one after the other, in a few threads for all;
one that asks too fast, or does not take its answers, is disconnected.
"""

import asyncio
import contextlib
import secrets
import socket
import time
import webbrowser
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from funcnet._errors import ParameterError
from funcnet.demo.client import Client
from funcnet.demo.messages import LONGEST

HOST = "127.0.0.1"
MOST_CLIENTS, THREADS = 64, 2
PER_SECOND, AT_ONCE = 400, 800
"""Questions of a client: so many a second in the long run, and so many at once."""

PATIENCE = 20
"""Seconds in which a client must take an answer."""

POLICY, TRY_LATER = 1008, 1013
"""Codes with which a WebSocket is closed (RFC 6455, section 7.4.1, and IANA's registry)."""

TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
PAGE = {file.name: file for file in (files("funcnet.demo") / "page").iterdir()}


class Pace:
    """Whether questions come too fast: a bucket that fills evenly and of which each question takes one.

    >>> pace = Pace(now=0.0)
    >>> sum(pace.allows(now=0.0) for _ in range(2 * AT_ONCE)) == AT_ONCE
    True
    """

    def __init__(self, now: float):
        self.left, self.since = float(AT_ONCE), now

    def allows(self, now: float) -> bool:
        """Whether one more may come now."""
        self.left = min(self.left + (now - self.since) * PER_SECOND, AT_ONCE)
        self.since = now
        self.left -= 1
        return self.left >= 0


def application(port: int, token: str) -> Starlette:
    """The server's application.

    Args:
        port: where it is reached, as Origin and Host must say.
        token: what the address must hold.
    """
    hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
    connected: set[WebSocket] = set()

    def knows(given: Request | WebSocket) -> bool:
        asked = given.query_params.get("token", "")
        return secrets.compare_digest(asked.encode(), token.encode())

    async def page(request: Request) -> Response:
        if request.headers.get("host") not in hosts:
            return refused(f"this page is at http://{HOST}:{port}/ only")
        name = request.path_params.get("name", "index.html")
        if name == "index.html" and not knows(request):
            return refused("the token in the address is missing or wrong: open the address that was printed")
        if name not in PAGE:
            return PlainTextResponse("no such file", 404)
        kind = TYPES[name.rpartition(".")[2]]
        return Response(PAGE[name].read_bytes(), media_type=kind, headers=headers(port))

    async def talk(websocket: WebSocket) -> None:
        origin = websocket.headers.get("origin", "")
        allowed = websocket.headers.get("host") in hosts and origin.removeprefix("http://") in hosts
        if not (allowed and origin.startswith("http://") and knows(websocket)):
            await websocket.close(POLICY)  # before it is accepted: the answer is 403
            return
        await websocket.accept()
        if len(connected) >= MOST_CLIENTS:
            await websocket.close(TRY_LATER, f"{MOST_CLIENTS} pages are open; close one")
            return
        connected.add(websocket)
        try:
            await answered(websocket, pool)
        finally:
            connected.discard(websocket)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="net")
    routes = [Route("/", page), Route("/page/{name}", page), WebSocketRoute("/socket", talk)]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.connected = connected
    return app


async def answered(websocket: WebSocket, pool: ThreadPoolExecutor) -> None:
    """Answer a client until it goes, asks too fast or takes no answers."""
    client, pace = Client(), Pace(time.monotonic())
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not pace.allows(time.monotonic()):
                await websocket.close(POLICY, f"more than {PER_SECOND} questions a second")
                return
            asked = message.get("text") or message.get("bytes") or ""
            said = await asyncio.get_running_loop().run_in_executor(pool, client.answer, asked)
            try:
                await asyncio.wait_for(websocket.send_bytes(said), PATIENCE)
            except TimeoutError:
                return


def refused(why: str) -> Response:
    """The answer to a request that may not be."""
    return PlainTextResponse(f"funcnet demo: {why}.\n", 403)


def headers(port: int) -> dict[str, str]:
    """What the browser is told: take nothing from elsewhere, be in no frame, tell nobody the address."""
    here = f"ws://{HOST}:{port} ws://localhost:{port}"
    policy = f"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src {here}"
    return {
        "Content-Security-Policy": f"{policy}; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


def listening(port: int) -> socket.socket:
    """A socket at a port of this machine, at a free one for 0.

    Raises:
        ParameterError: the port is taken, or not for this user.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise ParameterError(
            f"--port {port}: cannot listen there ({error.strerror}); is another demo running? Choose another "
            f"port, or --port 0 for any that is free."
        ) from None
    return listener


def server(app: Starlette) -> uvicorn.Server:
    """A server that is ready to run an application."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_max_size=LONGEST,
            ws_per_message_deflate=False,  # on one machine packing takes longer than sending
            ws_ping_interval=PATIENCE,
            ws_ping_timeout=PATIENCE,
            limit_concurrency=4 * MOST_CLIENTS,
            timeout_graceful_shutdown=1,
            log_level="warning",
            server_header=False,
        )
    )


def run(port: int, *, browser: bool, state: str) -> None:
    """Serve the page until Ctrl-C; see `funcnet.demo.serve`."""
    with listening(port) as listener:
        port, token = listener.getsockname()[1], secrets.token_urlsafe(16)
        address = f"http://{HOST}:{port}/?token={token}{f'#{state}' if state else ''}"
        print(f"The demo is at {address}\nCtrl-C ends it.", flush=True)
        listener.listen(128)  # so that a browser which is quicker than the server waits
        if browser and not webbrowser.open(address):
            print("No browser was found here: open the address in one on this machine.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server(application(port, token)).run(sockets=[listener])
    print("The demo has ended.")
