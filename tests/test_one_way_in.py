"""One way in: text from outside reaches nginx's files only through `quoting.quote`; code that avoids it fails here."""

import ast
import re
import time
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

import jinja2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from jinja2 import meta, nodes
from markupsafe import Markup
from support import hostile
from support.authority import Authority
from support.examples import examples
from support.objects import namespace, pod, secret, tls, web
from support.option_examples import EXAMPLES, HOST_EXAMPLES
from support.stages import build_table, normalise
from test_properties import CHECKS, REGEX

import reconciler
from reconciler.objects.snapshot import Probe
from reconciler.rendering import quoting
from reconciler.rendering.header_families import FAMILIES
from reconciler.rendering.quoting import Token, join, quote
from reconciler.routing.keys.address_ranges import AddressRanges
from reconciler.routing.keys.basic_auth import BasicAuth
from reconciler.routing.keys.buffering import Unbuffered
from reconciler.routing.keys.catalogue import HOST_KEYS, PATH_KEYS
from reconciler.routing.keys.cors import Cors
from reconciler.routing.keys.external_auth import Authoriser, ExternalAuth, Identity, SignIn
from reconciler.routing.keys.header_changes import Header
from reconciler.routing.keys.host_redirect import HostRedirect
from reconciler.routing.keys.hsts import Hsts
from reconciler.routing.keys.http import Http
from reconciler.routing.keys.load_balancing import LoadBalancing
from reconciler.routing.keys.maintenance import Maintenance
from reconciler.routing.keys.max_request_body import MaxRequestBody
from reconciler.routing.keys.max_response_headers import MaxResponseHeaders
from reconciler.routing.keys.pod_tls import PodTls
from reconciler.routing.keys.protocol import Grpc
from reconciler.routing.keys.rate_limit import RateLimit
from reconciler.routing.keys.redirect import Redirect
from reconciler.routing.keys.request_headers import RequestHeaders
from reconciler.routing.keys.response_headers import ResponseHeaders
from reconciler.routing.keys.retry import Retry
from reconciler.routing.keys.session_persistence import SessionPersistence
from reconciler.routing.keys.share import Shares
from reconciler.routing.keys.timeouts import Timeouts
from reconciler.routing.model import Answer, ApiKey, Host, Location, Match, Routes, Server, Shadow, Tls, Upstream
from reconciler.routing.options import Option
from reconciler.routing.server_names import Slot
from reconciler.settings import VARIABLES, Settings
from reconciler.values.addresses import parse_address, parse_cidrs
from reconciler.values.certificates import Chain
from reconciler.values.header_names import is_of_requests
from reconciler.values.htpasswd import parse_htpasswd
from reconciler.values.patterns import (
    DATA_KEY,
    DNS_LABEL,
    DNS_NAME,
    DNS_SUBDOMAIN,
    HEADER_NAME,
    HEADER_VALUE,
    HOST_NAME,
    HTTP_METHOD,
    ORIGIN,
    PROBE_PATH,
    REGEX_PATH,
    URL_PATH,
)
from reconciler.values.value import Value

PACKAGE = Path(reconciler.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
}
# The modules that write an nginx configuration, and therefore use quoting.py.
RENDERING = (
    "tree", "nginx_conf", "host_conf", "upstreams_conf", "listens", "certificate_files", "access_log", "option_parts",
    "header_families", "external_checks", "key_checks", "pods_conf", "lua_trial",
)  # fmt: skip
ENVIRONMENT = quoting._ENVIRONMENT
TEMPLATES = {name: ENVIRONMENT.loader.get_source(ENVIRONMENT, name)[0] for name in ENVIRONMENT.list_templates(["j2"])}

# Templates

# Plain text, a value, a part of a value, and a loop over a value. Anything else fails, so that it is used only after
# thought: a filter, a test, an expression, a call, an assignment, a condition, a macro, another file.
ALLOWED = {nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.For}
# The template of an option is made of blocks, one for each place.
PLACES = {"shared", "http", "first", "upstream", "begin", "server", "location", "default", *FAMILIES}


def find_nodes(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from find_nodes(child)


def has_blocks(template: str) -> bool:
    return template.startswith(("options/", "host_options/")) or template == "headers.j2"


def is_blank(node: nodes.Node) -> bool:
    return (
        isinstance(node, nodes.Output) and not "".join(part.data for part in node.find_all(nodes.TemplateData)).strip()
    )


def write(template: str, **given: object) -> str:
    """Render a template; if it is an option's, all its blocks."""
    if not has_blocks(template):
        return quoting.render(template, **given)
    return "".join(quoting.render_block(template, place, **given) for place in sorted(PLACES))


def test_templates_are_found() -> None:
    """The tests of this file check all templates."""
    folder = PACKAGE / "templates"
    assert set(TEMPLATES) == {str(path.relative_to(folder)) for path in folder.rglob("*.j2")}
    of_hosts = {f"host_options/{name}.j2" for name in HOST_KEYS}
    assert {name for name in TEMPLATES if "/" in name} == {f"options/{name}.j2" for name in PATH_KEYS} | of_hosts
    assert EXAMPLES.keys() == PATH_KEYS.keys()
    assert HOST_EXAMPLES.keys() == HOST_KEYS.keys()
    assert len(TEMPLATES) >= 5


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_hold_loops_and_values_alone(name: str) -> None:
    """A template has no filter, call, condition, include or raw text: each value is written as it was quoted."""
    tree = ENVIRONMENT.parse(TEMPLATES[name])
    if has_blocks(name):
        assert all(isinstance(node, nodes.Block) and node.name in PLACES for node in tree.body if not is_blank(node))
    of_options = {nodes.Block} if has_blocks(name) else set()
    assert {type(node) for node in find_nodes(tree)} <= ALLOWED | of_options
    assert not [*meta.find_referenced_templates(tree)]
    assert "raw" not in re.findall(r"\{%[-+]?\s*(\w+)", TEMPLATES[name])
    assert not [node for node in tree.find_all(nodes.For) if node.else_ or node.test or node.recursive]


@dataclass(frozen=True)
class Written:
    """A value that a template writes, or, with `nothing`, a loop over a value.

    In `path`, `[]` follows the name of a value that is looped over.
    """

    template: str
    path: str
    nothing: bool = False


def find_written(template: str) -> Iterator[Written]:
    """Find every value that a template writes, with its path from the values that the template is given."""

    def resolve(node: nodes.Expr, loops: dict[str, str]) -> str:
        if isinstance(node, nodes.Getattr):
            return f"{resolve(node.node, loops)}.{node.attr}"
        assert isinstance(node, nodes.Name)
        return loops.get(node.name, node.name)

    def walk(some: list[nodes.Node], loops: dict[str, str]) -> Iterator[Written]:
        for node in some:
            if isinstance(node, nodes.Block):
                yield from walk(node.body, loops)
            elif isinstance(node, nodes.For):
                yield Written(template, f"{resolve(node.iter, loops)}[]", nothing=True)
                yield from walk(node.body, loops | {node.target.name: f"{resolve(node.iter, loops)}[]"})
            elif isinstance(node, nodes.Output):
                values = [part for part in node.nodes if not isinstance(part, nodes.TemplateData)]
                yield from (Written(template, resolve(value, loops)) for value in values)

    return walk(ENVIRONMENT.parse(TEMPLATES[template]).body, {})


FOUND = sorted({one for name in TEMPLATES for one in find_written(name)}, key=str)
WRITTEN = [one for one in FOUND if not one.nothing]


def fill(template: str, values: dict[str, object]) -> dict[str, object]:
    """Make the values for a template: quoted text everywhere, except at the paths in `values`."""
    given: dict[str, object] = {}
    for place in {one.path for one in WRITTEN if one.template == template}:
        here: dict[str, object] = given
        *steps, last = place.split(".")
        for step in steps:
            inner = here.setdefault(step.removesuffix("[]"), [{}] if step.endswith("[]") else {})
            here = inner[0] if isinstance(inner, list) else inner  # type: ignore[assignment]
        value = values.get(place, quote("fine"))
        here[last.removesuffix("[]")] = [value] if last.endswith("[]") else value
    for one in FOUND:
        if one.template == template and one.nothing:  # a loop that writes none of its items needs a list too
            inside: object = given
            *steps, last = one.path.split(".")
            for step in steps:
                inner = inside.setdefault(step.removesuffix("[]"), [{}] if step.endswith("[]") else {})  # type: ignore[attr-defined]
                inside = inner[0] if isinstance(inner, list) else inner
            inside.setdefault(last.removesuffix("[]"), [])  # type: ignore[attr-defined]
    return given


class Disguised(Token):
    __slots__ = ()


class Posing(str):
    __slots__ = ()

    def __html__(self) -> str:
        return "text"


WRONG = ["text", Markup("text"), b"text", None, 1.5, True, object(), ["text"], ("text",), {"text": 1},
         Disguised("text"),
         Posing("text"), Token, Match.EXACT, lambda: "text"]  # fmt: skip


def test_every_value_is_looked_at() -> None:
    """For each template at least as many values are found as it has different expressions."""
    for name, source in TEMPLATES.items():
        assert len(set(re.findall(r"\{\{.*?\}\}", source))) <= len([*find_written(name)])
    assert len(WRITTEN) > 40


@pytest.mark.parametrize("one", WRITTEN, ids=lambda one: f"{one.template} {one.path}")
def test_a_template_writes_what_was_quoted_alone(one: Written) -> None:
    """A template writes only tokens and whole numbers; all else is refused, and the message does not show it."""
    fine = fill(one.template, {one.path: quote("fine;\n")})
    assert r'"fine;\n"' in write(one.template, **fine)
    assert "12345" in write(one.template, **fill(one.template, {one.path: 12345}))
    for wrong in WRONG:
        with pytest.raises(TypeError, match="a template may write tokens and numbers, not") as caught:
            write(one.template, **fill(one.template, {one.path: wrong}))
        assert "text" not in str(caught.value).replace("Text", "")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_given_less_writes_nothing(name: str) -> None:
    """A template fails if any value that it names is missing."""
    given = fill(name, {})
    for missing in given:
        with pytest.raises((jinja2.UndefinedError, TypeError)):
            write(name, **{key: value for key, value in given.items() if key != missing})


# The modules


def find_calls(tree: ast.AST, name: str) -> list[ast.Call]:
    """Find the calls of a function or class by its name, however it was imported."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")) == name
    ]


def test_one_module_makes_tokens() -> None:
    """Only quoting.py makes Tokens, in seven tested functions; no code casts to Token or derives from it."""
    makers = {name: calls for name, tree in MODULES.items() if (calls := find_calls(tree, "Token"))}
    assert set(makers) == {"rendering.quoting"}
    functions = {
        node.name: len(find_calls(node, "Token"))
        for node in MODULES["rendering.quoting"].body
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: count for name, count in functions.items() if count} == {
        "quote": 1,
        "quote_dollars": 1,
        "join": 1,
        "indent": 1,
        "variable": 1,
        "render": 1,
        "render_block": 1,
    }
    for name, tree in MODULES.items():
        calls = [call for call in ast.walk(tree) if isinstance(call, ast.Call)]
        given = [argument for call in calls for argument in (*call.args, *(word.value for word in call.keywords))]
        assert not [one for one in given if ast.unparse(one).endswith("Token")], name
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        assert not [one.name for one in classes if any(ast.unparse(base).endswith("Token") for base in one.bases)], name


def test_one_module_asks_for_tokens() -> None:
    """Only the rendering modules import quoting.py, and only quoting.py imports the template engine."""
    imports = {
        name: {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        for name, tree in MODULES.items()
    }
    asking = {name for name, some in imports.items() if {"quoting", "reconciler.rendering.quoting"} & some}
    assert asking == {f"rendering.{name}" for name in RENDERING}
    assert {name for name, some in imports.items() if {"jinja2", "markupsafe"} & some} == {"rendering.quoting"}


def test_tokens_that_are_not_quoted() -> None:
    """A variable's name is ours or comes from one setting, and `join` accepts only Tokens."""
    assert {ast.unparse(call) for tree in MODULES.values() for call in find_calls(tree, "variable")} == {
        "quoting.variable('forwarded_proto' if believes_proxies(settings) else 'scheme')",
        "quoting.variable('forwarded_host' if believes_proxies(settings) else 'sent_host')",
        "quoting.variable('retry_after')",
        "quoting.variable('sent_upgrade')",
        "quoting.variable('sent_connection')",
        "quoting.variable('client_verify')",
        "quoting.variable('request_id')",
        "quoting.variable('namespace')",
        "quoting.variable('path_rule')",
        "quoting.variable('dollar')",
        "quoting.variable('http_' + settings.api_key_header.lower().replace('-', '_'))",
    }
    for wrong in ("text", Disguised("text"), b"text", Markup("text")):
        with pytest.raises(TypeError):
            join(quote("a"), wrong)  # type: ignore[arg-type]


def test_what_is_written_beside_templates() -> None:
    """Each file of a release holds a template's output, the routes as JSON, or a PEM or passwords written anew."""
    found = [
        call for name, tree in MODULES.items() if name.startswith("rendering.") for call in find_calls(tree, "File")
    ]
    assert sorted(ast.unparse(call.args[0]) for call in found) == sorted(
        [
            "_encode(main)", "_encode(keys)", "self._routes.write(routes)", "main.encode()",
            # Our own code, and Pods as lines that rendering/endpoints.py checks.
            "quoting.read(name).encode()", "write_state(1, sets).encode()", "write_state(1, {SET: ''}).encode()",
            "default.chain.pem if default else settings.ssl_cert", "default.key if default else settings.ssl_key",
            "host.tls.chain.pem", "host.tls.key", "host.tls.client.pem", "tls.chain.pem",
            "_encode(quoting.render('release.conf.j2', **given))", "content",
        ]
    )  # fmt: skip
    tokens = ast.unparse(MODULES["rendering.tree"])
    assert "main = render_main(" in tokens
    assert "keys = quoting.render('api-keys.conf.j2'" in tokens
    others = {name for name, tree in MODULES.items() if find_calls(tree, "File")}
    assert others == {
        "rendering.tree", "rendering.certificate_files", "rendering.option_files", "rendering.pods_conf",
        "rendering.lua_trial", "disk.carried", "disk.endpoint_files", "disk.releases", "disk.recorder", "disk.trees",
        "nginx.pods",
    }  # fmt: skip
    assert [ast.unparse(call.args[0]) for call in find_calls(MODULES["nginx.pods"], "File")] == [
        "write_state(self._version, wanted).encode()"
    ]
    own = {ast.unparse(call.args[0]) for call in find_calls(MODULES["disk.releases"], "File")}
    assert own == {  # nginx reads none of these
        "self.name(tree).encode()", "os.urandom(16)", "msgspec.msgpack.encode(snapshot)",
        "msgspec.json.encode(paths, order='deterministic')",
    }  # fmt: skip


# The values

_UPSTREAM = re.compile(rf"[0-9a-f]{{32}}\.{DNS_LABEL.expression}")
_ADDRESS = re.compile(r"([0-9.]+|\[[0-9a-f:.]+\]):([0-9]{1,5})")
_PEM = re.compile(rb"(-----BEGIN ([A-Z ]+)-----\n([A-Za-z0-9+/=]+\n)+-----END \2-----\n)+")
_FLAW = re.compile(r"[A-Za-z0-9 :,]+")
Held = Callable[[typing.Any, typing.Any], object]


def is_text(text: str) -> bool:
    return bool(re.fullmatch(r"/[^\x00-\x1f\x7f]*", text)) and len(text.encode("utf-8", "surrogateescape")) <= 254


def is_host(name: str) -> bool:
    return HOST_NAME.accepts(name) or parse_address(name.strip("[]")) == name


def is_number(_: object, value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def is_target(target: str) -> bool:
    return "$" not in target and URL_PATH.accepts(target.replace("%24", "$"))


def is_path(owner: Location | Upstream, path: str) -> bool:
    regex = owner.match in (Match.REGEX, Match.IREGEX)
    return REGEX_PATH.accepts(f"{owner.match.value}{path}") if regex else is_text(path)


def is_origin(text: str) -> bool:
    return text == "*" or (ORIGIN.accepts(text) and text == text.lower())


# The same for the values of options, which templates get as views.
OPTION_VALUES: dict[type, dict[str, Held]] = {
    AddressRanges: {"ranges": lambda _, ranges: all(parse_cidrs(one)[0].text == one for one in ranges)},
    Cors: {
        "origins": lambda _, origins: all(map(is_origin, origins)),
        "methods": lambda _, methods: all(one == "*" or HTTP_METHOD.accepts(one) for one in methods),
        **dict.fromkeys(
            ("headers", "exposed"), lambda _, names: all(one == "*" or HEADER_NAME.accepts(one) for one in names)
        ),
        "max_age": lambda _, age: age is None or is_number(_, age),
    },
    RateLimit: {
        **dict.fromkeys(("requests", "burst"), is_number),
        "unit": lambda _, unit: unit in ("second", "minute"),
    },
    BasicAuth: {
        "field": lambda _, field: DATA_KEY.accepts(field),
        "file": lambda _, name: _UPSTREAM.fullmatch(name),
        "passwords": lambda _, lines: parse_htpasswd(lines) == lines,
    },
    ExternalAuth: dict.fromkeys(("path", "sign_in"), lambda _, path: path == "" or is_text(path)),
    Authoriser: {
        "upstream": lambda _, name: _UPSTREAM.fullmatch(name),
        "uri": lambda _, uri: is_target(uri),
    },
    SignIn: {
        "upstream": lambda _, name: _UPSTREAM.fullmatch(name),
        "uri": lambda _, uri: re.fullmatch(r"/[A-Za-z0-9._~%/-]*", uri),
    },
    Identity: {
        "number": lambda _, number: 1 <= number <= 8,
        "header": lambda _, name: HEADER_NAME.accepts(name) and not is_of_requests(name),
        "spellings": lambda one, names: all(name.replace("_", "-") == one.header for name in names),
    },
    MaxRequestBody: {"bytes": lambda _, size: type(size) is int and 0 < size <= 2**40},
    Header: {
        "name": lambda _, name: HEADER_NAME.accepts(name),
        "value": lambda _, value: HEADER_VALUE.accepts(value),
    },
    RequestHeaders: {
        "remove": lambda _, names: all(map(HEADER_NAME.accepts, names)),
        "spellings": lambda _, names: all(HEADER_NAME.accepts(name.replace("_", "-")) for name in names),
    },
    ResponseHeaders: {
        "remove": lambda _, names: all(map(HEADER_NAME.accepts, names)),
    },
    MaxResponseHeaders: {"bytes": lambda _, size: type(size) is int and 4096 <= size <= 65536},
    Unbuffered: {},
    Grpc: {},
    PodTls: {
        "hostname": lambda _, name: name == "" or (DNS_NAME.accepts(name) and name == name.lower()),
        "field": lambda _, name: name == "" or DATA_KEY.accepts(name),
    },
    Timeouts: dict.fromkeys(("connect", "read", "send"), is_number),
    LoadBalancing: {"method": lambda _, method: method == "least_conn"},
    Retry: {
        "attempts": lambda _, number: type(number) is int and 0 <= number <= 3,
        "codes": lambda _, codes: {*codes} <= {429, 500, 502, 503, 504},
    },
    SessionPersistence: {
        "cookie": lambda _, name: re.fullmatch(r"([A-Za-z][A-Za-z0-9._-]{0,63})?", name),
        "lasts": is_number,
        "path": lambda _, path: re.fullmatch(r"/[A-Za-z0-9._~@:+=/-]*", path),
    },
    Shares: {"told": lambda _, told: all(isinstance(one, str) and re.search(r" [0-9.]+ %\Z", one) for one in told)},
    Redirect: {
        "path": lambda _, path: URL_PATH.accepts(path) and "$" not in path and not path.startswith("//"),
        "status": lambda _, status: status in (301, 302, 303, 307, 308),
    },
    Http: {"mode": lambda _, mode: mode == "redirect"},
    Maintenance: {
        "retry_after": is_number,
        "allow": lambda _, ranges: all(parse_cidrs(one)[0].text == one for one in ranges),
    },
    HostRedirect: {
        "hostname": lambda _, name: re.fullmatch(r"[a-z0-9.-]{0,253}", name),
        "scheme": lambda _, scheme: scheme in ("", "http", "https"),
        "port": lambda _, port: type(port) is int and 0 <= port <= 65535,
        "path": lambda _, path: not path or (URL_PATH.accepts(path) and "$" not in path),
        "status": lambda _, status: status in (301, 302, 303, 307, 308),
    },
    Hsts: {"max_age": is_number},
}  # fmt: skip


# The check for each text that goes from a Snapshot into nginx's files. A new field needs a line here, and a pattern.
HELD: dict[type, dict[str, Held]] = {
    Host: {"name": lambda _, name: is_host(name), "namespace": lambda _, name: DNS_LABEL.accepts(name)},
    Location: {
        "path": is_path,
        "namespace": lambda _, name: DNS_LABEL.accepts(name),
        "upstream": lambda owner, name: _UPSTREAM.fullmatch(name) or (name, owner.answer) == ("", Answer.RESERVED),
        "target": lambda _, target: target is None or is_target(target),
        "more_keys": is_number,
    },
    Upstream: {
        "name": lambda _, name: _UPSTREAM.fullmatch(name),
        "namespace": lambda _, name: DNS_LABEL.accepts(name),
        "path": is_path,
    },
    Server: {
        "address": lambda _, at: (found := _ADDRESS.fullmatch(at)) and parse_address(found[1].strip("[]")) == found[1],
        "weight": is_number,
        "pod": lambda _, name: DNS_SUBDOMAIN.accepts(name),
    },
    Probe: {
        "path": lambda _, path: path is None or PROBE_PATH.accepts(path),
        **dict.fromkeys(("port", "period", "timeout", "rise", "fall"), is_number),
    },
    Tls: {"key": lambda _, pem: _PEM.fullmatch(pem)},
    Chain: {
        "pem": lambda _, pem: _PEM.fullmatch(pem),
        "not_before": lambda _, moment: type(moment) is float,
        "not_after": lambda _, moment: type(moment) is float,
        "names": lambda _, names: all(HOST_NAME.accepts(name) or parse_address(name) for name in names),
        "server_flaws": lambda _, flaws: all(map(_FLAW.fullmatch, flaws)),
        "client_flaws": lambda _, flaws: all(map(_FLAW.fullmatch, flaws)),
    },
    Shadow: {"name": lambda _, name: is_host(name)},
    ApiKey: {"values": lambda _, keys: all(re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", key) for key in keys)},
    Routes: {"names_hash_size": is_number},
    Option: {"name": lambda _, name: name in PATH_KEYS or name in HOST_KEYS},
    **OPTION_VALUES,
}  # fmt: skip


def find_fields(kind: type) -> dict[str, object]:
    """Give the types of a value's fields, by the fields' names."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind.__struct_fields__)
    return {name: hints[name] for name in names if not name.startswith("_")}


def find_kinds(hint: object) -> Iterator[type]:
    """Find the types that a hint is made of."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint):
        for part in typing.get_args(hint):
            yield from find_kinds(part)
    elif isinstance(hint, type):
        yield hint


def find_values(kind: type, seen: set[type]) -> set[type]:
    """Find all the kinds of values that a value may hold, at any depth."""
    seen.add(kind)
    for hint in find_fields(kind).values():
        for part in find_kinds(hint):
            if (is_dataclass(part) or issubclass(part, msgspec.Struct)) and part not in seen and part is not Slot:
                find_values(part, seen)
    return seen


def test_every_field_is_held() -> None:
    """Each text and number in the routes has a check; a new field fails here until it has one too."""
    kinds = find_values(Routes, set())
    kinds = kinds - {Value} | OPTION_VALUES.keys()
    assert kinds == set(HELD)
    for kind in kinds:
        open_ones = {
            name
            for name, hint in find_fields(kind).items()
            if any(part in (str, bytes, int, float) for part in find_kinds(hint))
            and not (name == "api_keys" or typing.get_args(hint)[:1] == (Slot,) or name == "slots")
        }
        assert open_ones == set(HELD[kind]), kind


def check(value: object, met: set[type]) -> None:
    """Check a value and all values in it, and add their types to `met`."""
    if isinstance(value, tuple):
        for part in value:
            check(part, met)
    if type(value) not in HELD:
        return
    met.add(type(value))
    for name, holds in HELD[type(value)].items():
        assert holds(value, getattr(value, name)), (type(value), name, getattr(value, name))
    for name in find_fields(type(value)):
        check(getattr(value, name), met)


@pytest.mark.parametrize("how", [REGEX, CHECKS], ids=["regex", "checks"])
def test_what_is_held_holds(how: Settings, authority: Authority) -> None:
    """Whatever tenants write, each field of the resulting routes passes its check."""
    met: set[type] = set()
    certificate, key = authority.issue("secure.dev")
    how = replace(how, ssl_cert=certificate, ssl_key=key, trusted_proxies=parse_cidrs("127.0.0.1"))
    asking = {"basePath": "/app", "containerPort": 3000, "access": {"externalAuth": {"path": "/", "signInPath": "/"}}}
    secure = [
        namespace("secure", {"secure.dev": tls(client="ca.crt")}),
        secret("secure", ssl_crt=certificate, ssl_key=key, ca_crt=authority.pem),
        web("secure", 3000, tls=EXAMPLES["tls"][0]),
        pod("secure", "app-0", "10.0.0.9", [asking], [{"containerPort": 3000}]),
    ]

    @given(hostile.clusters)
    @settings(
        max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
        database=None,
    )  # fmt: skip
    def hold(cluster: list[dict[str, object]]) -> None:
        snapshot = normalise(hostile.objects.listing([*cluster, *secure]), how)
        routes = build_table(snapshot, how, time.time()).routes
        assert all(DNS_LABEL.accepts(name) for name, _ in routes.api_keys)
        check(routes, met)

    hold()
    assert met == HELD.keys() - (set() if how.health_checks else {Probe})


SETTINGS = sorted(
    {
        node.attr
        for module in RENDERING
        for node in ast.walk(MODULES[f"rendering.{module}"])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "settings"
    }
    - {"lua"}  # no variable: it names files that are there, and is quoted like everything else
)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_held(name: str) -> None:
    """Each setting that is written into a file refuses text that could end a directive, a line or a block."""
    for text in ("x; } server {", "x\ny", '"', "'", "{", "$uri", "\0", "x #"):
        with pytest.raises(ValueError):
            VARIABLES[name].parse(text)
