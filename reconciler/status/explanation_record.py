"""An explanation as JSON for scripts: docs/explain.schema.json describes it."""

import math
from typing import Any

import msgspec

from reconciler.advice.explanation import Explanation, FoundHost, FoundPath, Outcome
from reconciler.advice.near_miss import NearMiss
from reconciler.routing.keys.catalogue import filter_protections
from reconciler.routing.model import Match, Tls
from reconciler.routing.options import tell_options
from reconciler.settings import Settings
from reconciler.values.messages import write_time

_VERSION = 1
_MATCHES = {Match.EXACT: "exact", Match.PREFIX: "prefix", Match.REGEX: "regex", Match.IREGEX: "iregex"}


def write_explanation(explanation: Explanation, settings: Settings) -> dict[str, Any]:
    """Give an explanation as values of JSON."""
    question = explanation.question
    return {
        "version": _VERSION,
        "asked": {"host": question.host, "uri": question.uri, "scheme": name_scheme(question.tls)},
        "outcome": explanation.outcome.value,
        "answered": explanation.is_answered,
        "text": tell_outcome(explanation, settings),
        "scheme": name_scheme(explanation.tls),
        "host": _write_host(explanation.host) if explanation.host else None,
        "path": _write_path(explanation.path) if explanation.path else None,
        "pods": [{**msgspec.structs.asdict(one), "ready": one.address is not None} for one in explanation.backends],
        "others": [msgspec.structs.asdict(one) for one in explanation.losers],
        "problems": [one.as_record() for one in explanation.problems],
        "near_misses": [_write_near_miss(one) for one in explanation.near_misses],
        "unknown": list(explanation.gaps),
    }


def name_scheme(tls: bool | None) -> str | None:
    """Name the scheme of a port; None if it is not known."""
    return None if tls is None else "https" if tls else "http"


def show_route(path: FoundPath) -> str:
    """Show a path as its Pods name it, with its modifier."""
    return f"{path.match.value}{path.path}"


def tell_outcome(explanation: Explanation, settings: Settings) -> str:
    """Say in one sentence what a request gets."""
    path = explanation.path
    match explanation.outcome:
        case Outcome.PODS:
            return _tell_pods(explanation)
        case Outcome.UNAVAILABLE:
            return "503: the path is known, and no Pod of it gets traffic"
        case Outcome.REDIRECT:
            return f"a redirect: {path.redirect if path else ''}, and no Pod is asked"
        case Outcome.CLOSED:
            whose = path.namespace if path else ""
            return f"403 to everyone: Namespace {whose} has no API key that opens it, or an option of it cannot be used"
        case Outcome.REFUSED:
            return "400: the path has '..', '//' at its beginning, '#' or a wrong '%' in some spelling"
        case Outcome.TOO_LONG:
            return "414: the path is too long for a host with regular expressions"
        case Outcome.MOVED:
            return "308 to https: the plain port serves no paths of the host"
        case Outcome.HOST_REDIRECT:
            return "a redirect: the host's options send all requests to another place"
        case Outcome.MAINTENANCE:
            return "503: the host is in maintenance"
        case Outcome.WAITING:
            return "503: the host's certificate cannot be served, and until then only challenges are answered"
        case Outcome.DEFAULT:
            return _tell_default(explanation, settings)
        case Outcome.UNKNOWN:
            return _tell_unknown(explanation, settings)


def _tell_pods(explanation: Explanation) -> str:
    ready = sum(one.address is not None for one in explanation.backends)
    needs = ["the API key"] if explanation.path and explanation.path.api_key else []
    tls = explanation.host.tls if explanation.host else None
    needs += ["a client certificate"] if tls and tls.client else []
    needs += [f"what {name} allows" for name in _list_protections(explanation)]
    answer = "1 Pod answers" if ready == 1 else f"{ready} Pods answer"
    return f"{answer}, if the request brings {' and '.join(needs)}" if needs else answer


def _list_protections(explanation: Explanation) -> list[str]:
    return [option.name for option in filter_protections(explanation.path.options)] if explanation.path else []


def _tell_default(explanation: Explanation, settings: Settings) -> str:
    reserved = explanation.path is not None
    why = "the path is kept for the host's owner" if reserved else "no Namespace has this path on the host"
    answer = settings.default_location_return
    told = str(answer) if isinstance(answer, int) else f"passed on to {answer}"
    return f"{told}: {why} (DEFAULT_LOCATION_RETURN)"


def _tell_unknown(explanation: Explanation, settings: Settings) -> str:
    question = explanation.question
    if question.uri.partition("?")[0] == settings.status_path:
        return "200 from the router itself: this is NGINX_STATUS_PATH, and the host is unknown"
    scheme = name_scheme(question.tls)
    where = f" by {scheme}" if scheme else ""
    return f"the connection is closed without an answer: the host is not served{where}"


def _write_host(host: FoundHost) -> dict[str, Any]:
    tls = _write_tls(host.tls) if host.tls else None
    return {**msgspec.structs.asdict(host), "tls": tls, "options": tell_options(host.options)}


def _write_tls(tls: Tls) -> dict[str, Any]:
    end = tls.chain.not_after
    not_after = write_time(end) if math.isfinite(end) else None
    return {"not_after": not_after, "names": sorted(tls.chain.names), "client": tls.client is not None}


def _write_path(path: FoundPath) -> dict[str, Any]:
    record = {**msgspec.structs.asdict(path), "match": _MATCHES[path.match], "options": tell_options(path.options)}
    record["path"] = path.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return record


def _write_near_miss(miss: NearMiss) -> dict[str, Any]:
    resource = msgspec.structs.asdict(miss.resource) if miss.resource else None
    return {"reason": miss.kind.value, "object": resource, "why": miss.why, "expected": miss.expected}
