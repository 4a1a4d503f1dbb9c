"""Clients that check what reached the Pod: the body, the URI, or the rules under which a request was passed on."""

import base64
import json
from collections.abc import Mapping

from support.clients import NewConnections, RetryingConnection


class Posts(NewConnections):
    """Sends a body with each request; all of it must arrive."""

    method, uri, body = "POST", "/posts", bytes(3000)

    def check(self, answer: bytes) -> None:
        """Check that the Pod got the whole body."""
        assert json.loads(answer)["size"] == len(self.body), answer


class Escaped(NewConnections):
    """Asks for a path with escaped characters, which must arrive as it was sent."""

    uri = "/caf%C3%A9/a%2Fb?c=%20"

    def check(self, answer: bytes) -> None:
        """Check that the Pod got the URI as it was sent."""
        assert f"GET {self.uri} " in json.loads(answer)["head"][0], answer


class Keyed(NewConnections):
    """Sends the API key `sesame`."""

    uri = "/keyed"
    headers: Mapping[str, str] = {"X-Routing-API-Key": base64.b64encode(b"sesame").decode()}


class Ruled(Keyed):
    """Expects that a request reaches the Pod that belongs to the rules that it met: X-Rules is its place in `pods`."""

    pods: tuple[str, ...] = ()
    seen: set[str] = set()

    def check(self, answer: bytes) -> None:
        """Compare the Pod with the rules. Those with odd numbers need an API key."""
        told = json.loads(answer)
        (rules,) = [line.split(": ")[1] for line in told["head"] if line.startswith("X-Rules: ")]
        assert told["pod"] == self.pods[int(rules)], f"{told['pod']} got a request under the rules of {rules}"
        assert self.headers or int(rules) % 2 == 0, f"without a key it met the rules of {rules}"
        self.seen.add(rules)


class RuledAndKept(RetryingConnection, Ruled):
    """The same on a kept connection, with a retry if that was closed."""


class Keyless(Ruled):
    """The same without an API key."""

    headers: Mapping[str, str] = {}
    accepted = (200, 403)


def make_ruled(ruled: type[Ruled], uri: str, port: int, pods: tuple[str, ...]) -> Ruled:
    """Make a client for a path and the Pods of its rules."""
    client = ruled(port, "plain.dev")
    client.uri, client.pods, client.seen = uri, pods, set()
    return client
