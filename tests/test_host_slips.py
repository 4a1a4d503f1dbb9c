"""Slips in a host's options: an unknown key that was probably meant to protect leaves the host out."""

import http.client
from collections.abc import Callable
from typing import Any

import pytest
from support.objects import namespace, pod
from support.pods import DECLARED, entry
from support.router import Router

MEANT = {
    "access": "access", "acces": "access", "whitelist-source-range": "access.allow",
    "nginx.ingress.kubernetes.io/auth-url": "access.externalAuth", "tls": "ssl", "sssl": "ssl", "SSL": "ssl",
    "require-api-key": "requireApiKey", "requireApikeys": "requireApiKey", "clientCertificate": "ssl.clientCertificate",
    "clientCert": "ssl.clientCertificate", "verify-client": "ssl.clientCertificate", "apiKeys": "requireApiKey",
    "apiKeyRequired": "requireApiKey",
}  # fmt: skip


@pytest.mark.parametrize(("key", "meant"), MEANT.items())
def test_host_is_left_out(router: Callable[..., Router], ips: list[str], key: str, meant: str) -> None:
    """The host is closed, for its wildcard too; other hosts of the Namespace are served."""
    here = router()
    hosts: dict[str, Any] = {"a.dev": {key: {}}, "*.dev": {}, "b.dev": {}}
    cycle = here.serve(namespace("a", hosts), pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    with pytest.raises(http.client.RemoteDisconnected):
        here.ask("a.dev", "/")
    assert here.ask("b.dev", "/").status == 200
    problem = f"'a.dev'.{key!r} may be meant for {meant}; expected: {meant}, or no such key"
    assert [str(one) for one in cycle.table.problems if problem in str(one)]


@pytest.mark.parametrize("key", ["note", "owner", "http2", "allowance", "sslRedirect", "keep"])
def test_other_keys_are_ignored(router: Callable[..., Router], ips: list[str], key: str) -> None:
    here = router()
    cycle = here.serve(namespace("a", {"a.dev": {key: True}}), pod("a", "web-0", ips[0], [entry("/")], DECLARED))
    assert here.ask("a.dev", "/").status == 200
    assert f"'a.dev'.{key!r} is an unknown key and is ignored" in "\n".join(map(str, cycle.table.problems))
