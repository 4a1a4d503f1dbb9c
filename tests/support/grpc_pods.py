"""Pods and clients for gRPC, by grpcio: one service whose messages are bytes as they are."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from support.authority import Authority
from support.ports import free_port, loopback

SERVICE = "test.Echo"
Pair = tuple[bytes, bytes]
Told = list[tuple[str, str]]


class Echo:
    """The service's methods. `Wait` sends its second message after `let_go`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: set[str] = set()
        self.go = threading.Event()

    def tell(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer with what arrived beside the message, and with metadata before and behind."""
        self.peers.add(context.peer())
        context.send_initial_metadata([("x-before", self.name), ("strict-transport-security", "max-age=1")])
        context.set_trailing_metadata([("x-behind", "trailer"), ("x-bytes-bin", b"\x00\xff")])
        return json.dumps([self.name, dict(context.invocation_metadata())], default=bytes.hex).encode()

    def fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """End with an error."""
        context.set_trailing_metadata([("x-behind", "error")])
        context.abort(grpc.StatusCode.NOT_FOUND, f"no {message.decode()}: ü")

    def wait(self, _: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
        """Send a message, and another one later."""
        yield b"first"
        self.go.wait(20)
        yield b"second"

    def add(self, messages: Iterator[bytes], _: grpc.ServicerContext) -> bytes:
        """Join all messages."""
        return b" ".join(messages)

    def both(self, messages: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer each message at once."""
        for message in messages:
            yield message.upper()


@contextmanager
def run_grpc_pod(number: int, pair: Pair | None = None) -> Iterator[tuple[str, int, Echo]]:
    """Run a Pod, with TLS if `pair` is its certificate and key: give its address, its port and its service."""
    where, port, echo = loopback(f"10.244.9.{number}"), free_port(), Echo(f"pod-{number}")
    methods = {
        "Tell": grpc.unary_unary_rpc_method_handler(echo.tell),
        "Fail": grpc.unary_unary_rpc_method_handler(echo.fail),
        "Wait": grpc.unary_stream_rpc_method_handler(echo.wait),
        "Add": grpc.stream_unary_rpc_method_handler(echo.add),
        "Both": grpc.stream_stream_rpc_method_handler(echo.both),
    }
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, [grpc.method_handlers_generic_handler(SERVICE, methods)])
        if pair:
            server.add_secure_port(f"{where}:{port}", grpc.ssl_server_credentials([pair[::-1]]))
        else:
            server.add_insecure_port(f"{where}:{port}")
        server.start()
        try:
            yield where, port, echo
        finally:
            echo.go.set()
            server.stop(0).wait()


class GrpcClient:
    """Calls the service through a router, over TLS if there is an `authority` to trust."""

    def __init__(self, host: str, port: int, authority: Authority | None = None) -> None:
        options = [("grpc.default_authority", host), ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        target = f"127.0.0.1:{port}"
        if authority:
            trust = grpc.ssl_channel_credentials(authority.pem)
            named = [*options, ("grpc.ssl_target_name_override", host)]
            self._channel = grpc.secure_channel(target, trust, named)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self.wait = self._channel.unary_stream(f"/{SERVICE}/Wait")
        self.add = self._channel.stream_unary(f"/{SERVICE}/Add")
        self.both = self._channel.stream_stream(f"/{SERVICE}/Both")

    def __enter__(self) -> "GrpcClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def call(self, method: str, message: bytes = b"", metadata: Told | None = None) -> tuple[bytes, grpc.Call]:
        """Call a method with one message: give its answer and all about the call. RpcError if it fails."""
        asked = self._channel.unary_unary(f"/{SERVICE}/{method}")
        return asked.with_call(message, timeout=20, metadata=metadata)

    def find_code(self, method: str = "Tell", metadata: Told | None = None) -> grpc.StatusCode:
        """Give the status of a call."""
        try:
            return self.call(method, metadata=metadata)[1].code()
        except grpc.RpcError as error:
            return error.code()
