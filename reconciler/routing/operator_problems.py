"""Problems of the operator: what is wrong with a setting, and shows only when a cluster is read or time passes."""

from collections.abc import Iterable, Iterator

from reconciler.objects.snapshot import Resource
from reconciler.routing.keys.catalogue import HOST_KEYS, PATH_KEYS
from reconciler.routing.model import Tls
from reconciler.routing.problems import Problem, Reason
from reconciler.routing.tls import SERVER_CERTIFICATE
from reconciler.routing.validity import tell_validity


def tell_default(default: Tls | None, now: float) -> Iterator[Problem]:
    """Tell what is wrong with the default server's certificate at a time, in seconds since the epoch."""
    if default:
        troubles = [(flaw, SERVER_CERTIFICATE) for flaw in default.chain.server_flaws]
        troubles += [trouble] if (trouble := tell_validity(default.chain, now)) else []
        for trouble in troubles:
            yield Problem(_name("SSL_CERT"), "the certificate", *trouble, Reason.SETTING)


def tell_unlisted(namespace: str) -> Problem:
    """Tell that a Namespace is watched that was not listed."""
    why = "does not exist, or does not match ROUTABLE_LABEL_SELECTOR"
    what = f"Namespace {namespace}"
    return Problem(_name("WATCH_NAMESPACES"), what, why, "a routable Namespace", Reason.SETTING)


def tell_denied(names: Iterable[str]) -> Iterator[Problem]:
    """Tell which names in DENIED_OPTIONS are no options."""
    known = PATH_KEYS | HOST_KEYS
    for name in names:
        if name not in known:
            expected = f"one of {', '.join(known)}"
            yield Problem(_name("DENIED_OPTIONS"), name, "is no option", expected, Reason.SETTING)


def _name(setting: str) -> Resource:
    return Resource("Setting", "", setting)
