"""A test API server: Namespaces, Pods, Secrets, Events and Leases over TLS with bearer tokens, in a thread."""

import asyncio
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from support import protobuf
from support.answers import DISCOVERY, LIMIT, NO_SUCH_PATH, UNAUTHORIZED, VERSION, Answer, Refused
from support.authority import Authority
from support.closing import close_server
from support.exchange import Exchange, order_headers, send_whole, write_response
from support.faults import Applied, Fault
from support.lists import answer_list, parse_query
from support.object_reader import answer_object, find_object
from support.objects import Object
from support.ports import free_port
from support.request_path import Target, read_path
from support.rights import Rights, make_right
from support.store import Store
from support.writes import answer_write, read_write

TOKEN = "a.good.token"
USER = "system:serviceaccount:dispatcher:dispatcher"
ANONYMOUS = "system:anonymous"

_FIRST_RIGHTS = {"namespaces": "*", "pods": "*", "secrets": "routing", "events": "*"}


@dataclass
class Request:
    """A request that arrived. Its status is None until the headers of its answer are sent."""

    method: str
    path: str
    query: dict[str, str]
    agent: str
    status: int | None = None


class ApiServer:
    """Answers as Kubernetes 1.21 does, and fails on command.

    `tokens` gives the user of each token. If `anonymous` is true, a request without a token has a user too, but one
    without rights. `quota` limits the number of Secrets that a Namespace may have. The server waits `patience` seconds
    for a version that the cache has not reached; Kubernetes waits three. If `gzip` is true, large bodies are
    compressed, and if `protobuf` is true, clients that ask for it get protobuf, as Kubernetes does by default.
    """

    def __init__(self, authority: Authority) -> None:
        self.store = Store()
        self.requests: list[Request] = []
        self.tokens = {TOKEN: USER}
        self.rights = Rights()
        self.quota: dict[str, int] = {}
        self.anonymous = True
        self.patience = 0.2
        self.gzip = True
        self.protobuf = True
        self.port = free_port()
        self._authority = authority
        self._changed = threading.Condition()
        self._faults: list[Applied] = []
        self._accepting: asyncio.Server | None = None
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for resource, name in _FIRST_RIGHTS.items():
            self.permit(resource, name)

    def __enter__(self) -> Self:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))  # Linux keeps a port bound by number, even while nobody listens
        self.present(self._authority)
        self._tls.load_verify_locations(cadata=self._authority.pem.decode())
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start())
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._listener.close()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    # What is in the cluster.

    def load(self, given: Iterable[Object], version: int | None = None) -> None:
        """Hold these objects and no others; an object that has a resourceVersion keeps it."""
        self._change(lambda: self.store.load(given, version))

    def put(self, given: Object) -> None:
        """Add this object, or replace the object of the same name."""
        self._change(lambda: self.store.put(given))

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Remove this object."""
        self._change(lambda: self.store.delete(kind, namespace, name))

    def compact(self) -> None:
        """Forget all former states, so that continue tokens expire."""
        self._change(self.store.compact)

    def hold_cache(self, version: int | None = None, empty: bool = False) -> None:
        """Freeze the cache at a version, by default the present one, until `follow`; if `empty`, it has no objects."""
        self._change(lambda: self.store.hold(version, empty))

    def follow(self) -> None:
        """Keep the cache up to date again."""
        self._change(self.store.follow)

    def permit(
        self, resource: str, *names: str, user: str = USER, verbs: Iterable[str] = (), namespace: str = ""
    ) -> None:
        """Let a user do everything with only these names of a resource; `*` means all names, no names means none.

        With verbs or a Namespace, the right is limited to them, and the user keeps the other rights to the resource.
        """
        self._change(lambda: self.rights.give(user, resource, make_right(names, verbs, namespace)))

    # What goes wrong.

    def fail(self, fault: Fault, path: str = "*", times: float = float("inf"), method: str = "*") -> None:
        """Apply a fault to requests whose path matches, with or without its query, `times` times or until `mend`."""
        self._run(self._fail(fault, path, times, method))

    def mend(self) -> None:
        """End all faults; answers that hang go on."""
        self._run(self._mend())

    def refuse(self) -> None:
        """Refuse new connections and abort open ones. The port stays reserved for this server."""
        self.stall()
        with suppress(OSError):  # it refuses already
            self._listener.shutdown(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Let connections open, but begin no TLS handshake; abort the connections that are open."""
        self._run(self._stop_accepting())

    def accept(self) -> None:
        """Accept connections, for the first time or again, including those that wait for their handshake."""
        self._run(self._accept())

    def present(self, authority: Authority) -> None:
        """Use a certificate of this authority for new connections, and abort those that are open."""
        with tempfile.NamedTemporaryFile() as pair:
            Path(pair.name).write_bytes(b"".join(authority.issue("127.0.0.1")))
            self._tls.load_cert_chain(pair.name)
        if self._accepting:
            self._run(self._break())

    # What was requested.

    def wait_for(self, predicate: Callable[[Self], object], seconds: float = 60) -> None:
        """Wait until the predicate is true; it is tried again after each request, answer and change."""
        with self._changed:
            assert self._changed.wait_for(lambda: predicate(self), seconds), f"in vain; asked: {self.requests[-10:]}"

    def _change(self, change: Callable[[], object]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        app = web.Application(client_max_size=LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_response_prepare.append(order_headers)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()

    async def _end(self) -> None:
        await self._runner.cleanup()
        for _ in range(5):  # a connection accepted a moment ago has no handshake yet that could be cancelled
            await asyncio.sleep(0)
        handshakes = asyncio.all_tasks() - {asyncio.current_task()}
        for each in handshakes:
            each.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)

    async def _accept(self) -> None:
        await self._stop_accepting()
        assert self._runner.server
        self._accepting = await self._loop.create_server(
            self._runner.server, sock=self._listener.dup(), ssl=self._tls, backlog=128
        )

    async def _stop_accepting(self) -> None:
        if self._accepting:
            await close_server(self._accepting)
            self._accepting = None
        await self._break()

    async def _break(self) -> None:
        assert self._runner.server
        for connection in self._runner.server.connections:
            if connection.transport:
                connection.transport.abort()

    async def _fail(self, fault: Fault, path: str, times: float, method: str) -> None:
        self._faults.append(Applied(fault, path, method, times, asyncio.Event()))

    async def _mend(self) -> None:
        for applied in self._faults:
            applied.mended.set()
        self._faults.clear()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not self._accepting and request.transport:
            request.transport.abort()  # its handshake had begun before
            return web.Response()
        noted = Request(request.method, request.path, dict(request.query), request.headers.get("User-Agent", ""))
        self._change(lambda: self.requests.append(noted))
        applied = next((each for each in self._faults if each.takes(request)), None)
        accept = request.headers.get("Accept", "")
        if not self.protobuf or (applied and not applied.fault.send):  # a fault may edit JSON
            accept = accept.removeprefix(f"{protobuf.CONTENT_TYPE}, ")
        answer = (applied and applied.fault.instead) or await self._answer(request, accept)
        if applied:
            answer = applied.fault.change(answer)
        if accept.startswith(protobuf.CONTENT_TYPE):
            answer = protobuf.translate(answer)
        packed = self.gzip and "gzip" in request.headers.get("Accept-Encoding", "")
        response, body = write_response(answer, packed)
        mended = applied.mended if applied else asyncio.Event()
        tell = partial(self._change, lambda: setattr(noted, "status", answer.status))
        await ((applied and applied.fault.send) or send_whole)(Exchange(request, response, body, tell, mended))
        return response

    async def _answer(self, request: web.Request, accept: str) -> Answer:
        user = self._find_user(request)
        if not user:
            return UNAUTHORIZED
        if request.path.rstrip("/") == "/version":
            return VERSION
        if request.path in DISCOVERY:
            return DISCOVERY[request.path]
        target = read_path(request.path)
        if not target:
            return NO_SUCH_PATH
        try:
            return await self._answer_target(request, accept, user, target)
        except Refused as refused:
            return refused.answer

    def _find_user(self, request: web.Request) -> str:
        """Find the user: by token, else by client certificate, else anonymous; empty if there is no valid user."""
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer":
            return self.tokens.get(token, "")
        certificate: Mapping[str, Any] = request.get_extra_info("peercert") or {}
        names = (value for part in certificate.get("subject", ()) for name, value in part if name == "commonName")
        return next(names, ANONYMOUS if self.anonymous else "")

    async def _answer_target(self, request: web.Request, accept: str, user: str, target: Target) -> Answer:
        kind, namespace, name = target.kind, target.namespace, target.name
        verb = target.find_verb(request.method)
        if verb == "list":
            query = parse_query(kind.resource, namespace, request.query)
            self.rights.check(user, verb, kind, namespace, query.name)
            return await answer_list(self.store, query, accept, self.patience)
        self.rights.check(user, verb, kind, namespace, name)
        if verb != "get":
            write = await read_write(request, target)
            with self._changed:  # the thread of the test changes the store too
                return answer_write(self.store, write, self.quota)
        version, key = request.query.get("resourceVersion", ""), kind.key(namespace, name)
        return answer_object(kind, name, await find_object(self.store, kind, key, version, self.patience), accept)
