"""An explanation as text for people: short aligned lines, in colour at a terminal."""

import math
from collections.abc import Callable, Iterator

from reconciler.advice.explanation import Backend, Explanation, FoundHost, FoundPath
from reconciler.objects.snapshot import Resource
from reconciler.routing.options import Options, tell_options
from reconciler.settings import Settings
from reconciler.status.explanation_record import name_scheme, show_route, tell_outcome
from reconciler.values.messages import escape, write_time
from reconciler.values.value import Value

_WIDTH = 11
_MOST_PODS, _MOST_PROBLEMS, _MOST_NAMES = 20, 20, 3


class Line(Value, frozen=True):
    """A line: its label, its text, and the kind of what it says, by which the label has its colour.

    Without a label it goes on with the line before; the first line has none, and is not indented.
    """

    label: str
    text: str
    kind: str = ""

    def show(self, paint: Callable[[str, str], str]) -> str:
        """Give the line as it is printed. What outside text holds is harmless to a terminal."""
        label = f"{escape(self.label):<{_WIDTH}}"
        return f"{paint(self.kind, label)}{escape(self.text)}"


class Headline(Line, frozen=True):
    """The first line, which says all in one sentence."""

    def show(self, paint: Callable[[str, str], str]) -> str:
        """Give the line as it is printed."""
        return f"{escape(self.label)}: {paint(self.kind, escape(self.text))}"


def list_lines(explanation: Explanation, settings: Settings) -> Iterator[Line]:
    """List the lines that explain what answers a request, and why."""
    host, path = explanation.host, explanation.path
    kind = "applied" if explanation.is_answered else "error"
    yield Headline(str(explanation.question), tell_outcome(explanation, settings), kind)
    if host:
        yield Line("host", f"{host.name} of Namespace {host.namespace}: {host.rule}")
        yield from _list_tls(host)
        yield from _list_options(host.options)
    if explanation.tls is not None and host:
        port = settings.ssl_port if explanation.tls else settings.port
        yield Line("port", f"{port}, {name_scheme(explanation.tls)}")
    if path:
        yield from _list_path(path, settings)
    yield from _list_pods(explanation.backends)
    for loser in explanation.losers:
        yield Line("not served", f"Namespace {loser.namespace}: {loser.why}", "warning")
        yield Line("", f"expected: {loser.expected}")
    yield from _list_faults(explanation)
    for gap in explanation.gaps:
        yield Line("unknown", gap, "idle")


def _list_tls(host: FoundHost) -> Iterator[Line]:
    if not host.tls:
        return
    names = sorted(host.tls.chain.names)
    more = " and others" if len(names) > _MOST_NAMES else ""
    whose = f"a certificate for {', '.join(names[:_MOST_NAMES])}{more}" if names else "a certificate"
    end = host.tls.chain.not_after
    until = f", valid until {write_time(end)}" if math.isfinite(end) else ""
    clients = "; each client must bring a certificate, else it gets 400" if host.tls.client else ""
    yield Line("TLS", f"{whose}{until}{clients}")


def _list_options(options: Options) -> Iterator[Line]:
    for number, (name, text) in enumerate(tell_options(options).items()):
        yield Line("" if number else "options", f"{name}: {text}")


def _list_path(path: FoundPath, settings: Settings) -> Iterator[Line]:
    yield Line("path", f"{show_route(path)} of Namespace {path.namespace}: {path.rule}")
    if not path.upstream:
        return
    if path.api_key:
        keys = f"; {path.keys} keys are valid" if path.keys > 1 else ""
        yield Line("API key", f"needed in the header {settings.api_key_header}, else 403{keys}")
    elif path.api_key is not None:
        yield Line("API key", "none is needed")
    yield from _list_options(path.options)
    if path.redirect is not None:
        yield Line("redirect", path.redirect)
        return
    target = f", by targetPath {path.target}" if path.target is not None else ""
    yield Line("Pod gets", f"{path.sent}{target}")
    yield Line("upstream", path.upstream)
    if path.reload:
        yield Line("reload", f"each change of its Pods needs one: {path.reload}")


def _list_pods(backends: tuple[Backend, ...]) -> Iterator[Line]:
    name = max((len(one.name) for one in backends[:_MOST_PODS]), default=0)
    address = max((len(one.address or "") for one in backends[:_MOST_PODS]), default=0)
    for number, one in enumerate(backends[:_MOST_PODS]):
        label = "Pods" if number == 0 else ""
        state = "ready" if one.address else f"no traffic: {one.why}"
        place = f"  {one.address or '':<{address}}" if address else ""
        yield Line(label, f"{one.name:<{name}}{place}  weight {one.weight}  {state}", "" if one.address else "warning")
    if len(backends) > _MOST_PODS:
        yield Line("", f"and {len(backends) - _MOST_PODS} more Pods")


def _list_faults(explanation: Explanation) -> Iterator[Line]:
    """List near misses and problems. What was told already is not told again."""
    for miss in explanation.near_misses:
        yield Line("near miss", f"{miss.resource}: {miss.why}" if miss.resource else miss.why, "warning")
        yield Line("", f"expected: {miss.expected}")
    told = {(one.resource, one.expected) for one in explanation.near_misses}
    told |= {(Resource("Namespace", "", one.namespace), one.expected) for one in explanation.losers}
    problems = [one for one in explanation.problems if (one.resource, one.expected) not in told]
    for problem in problems[:_MOST_PROBLEMS]:
        yield Line("problem", f"{problem.resource}: {problem.what} {problem.why}", "problem")
        yield Line("", f"expected: {problem.expected}")
    if len(problems) > _MOST_PROBLEMS:
        yield Line("", f"and {len(problems) - _MOST_PROBLEMS} more problems")
