"""Problems of the operator: what is wrong with a setting, and shows only when a cluster is read or time passes."""

from collections.abc import Iterator

from reconciler.objects.snapshot import Resource
from reconciler.routing.model import Tls
from reconciler.routing.problems import Problem
from reconciler.routing.tls import SERVER_CERTIFICATE
from reconciler.routing.validity import tell_validity


def tell_default(default: Tls | None, now: float) -> Iterator[Problem]:
    """Tell what is wrong with the default server's certificate at a time, in seconds since the epoch."""
    if default:
        troubles = [(flaw, SERVER_CERTIFICATE) for flaw in default.chain.server_flaws]
        troubles += [trouble] if (trouble := tell_validity(default.chain, now)) else []
        yield from (Problem(_name("SSL_CERT"), "the certificate", *trouble) for trouble in troubles)


def tell_unlisted(namespace: str) -> Problem:
    """Tell that a Namespace is watched that was not listed."""
    why = "does not exist, or does not match ROUTABLE_LABEL_SELECTOR"
    return Problem(_name("WATCH_NAMESPACES"), f"Namespace {namespace}", why, "a routable Namespace")


def _name(setting: str) -> Resource:
    return Resource("Setting", "", setting)
