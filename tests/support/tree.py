"""A rendered tree as crossplane, a second reader beside nginx, reads it, to compare it with the routing table."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import crossplane
from support.lua_tree import undo_lua
from support.option_examples import HOST_LINES, LINES

from reconciler.rendering.external_checks import find_external_auth
from reconciler.routing.keys.external_auth import ExternalAuth
from reconciler.routing.keys.redirect import Redirect
from reconciler.routing.model import Answer, Host, Location, Match, Plain, Routes
from reconciler.routing.options import find_option
from reconciler.settings import Settings


def read_http(folder: Path) -> list[dict[str, Any]]:
    """Read what stands in `http`. A tree whose Pods Lua chooses is read as if it had nginx's own upstreams."""
    parsed = crossplane.parse(str(folder / "nginx.conf"), single=False, comments=False)
    assert not [error for error in parsed["errors"] if "release/*.conf" not in str(error)], parsed["errors"]
    (http,) = [block for block in parsed["config"][0]["parsed"] if block["directive"] == "http"]
    return undo_lua(list(http["block"]), folder)


def unescape(text: str) -> str:
    """Undo the escapes that crossplane leaves as they are."""
    return text.replace("\\\\", "\\")


def read_upstreams(http: list[dict[str, Any]]) -> dict[str, list[list[str]]]:
    return {
        block["args"][0]: [line["args"] for line in block["block"] if line["directive"] == "server"]
        for block in http
        if block["directive"] == "upstream"
    }


def expect_upstreams(routes: Routes) -> dict[str, list[list[str]]]:
    return {
        upstream.name: [
            [
                server.address,
                *([f"weight={server.weight}"] if server.weight > 1 else []),
                "max_fails=0",
                *(["backup"] if server.backup else []),
            ]
            for server in upstream.servers
        ]
        for upstream in routes.upstreams
        if upstream.servers
    }


Server = dict[tuple[str, ...], str]
# The families of headers of which an option of a host adds one, without what it adds.
_HIDDEN = "proxy_hide_header Upgrade; proxy_hide_header Proxy-Connection"
_ADDED = "add_header Upgrade $switched_protocol always"
SETS = re.compile(r"\$rest_after [0-9]+|\$client_verify \$ssl_client_verify")
BEGINS = re.compile(
    r"if \$(scheme|forwarded_proto) = https; set \$hsts max-age=[0-9]+(; includeSubDomains(; preload)?)?"
    r"|if \$resting_[0-9a-f]{16}; set \$rest_after [0-9]+"
)
HEADERS = {"", _ADDED, f"{_HIDDEN}; {_ADDED}"}


def read_servers(http: list[dict[str, Any]]) -> dict[str, Server]:
    """Read the locations of each server and what each of them does; a server with another shape fails here."""
    servers: dict[str, Server] = {}
    for block in http:
        if block["directive"] == "server":
            lines = block["block"]
            shapes = Counter(line["directive"] for line in lines)
            if "return" in shapes:  # the shadows of a port
                assert shapes.keys() == {"listen", "server_name", "return"}, shapes
                (shadowed,) = next(line["args"] for line in lines if line["directive"] == "return")
                names = [name for line in lines if line["directive"] == "server_name" for name in line["args"]]
                assert not servers.keys() & {f"shadow of {name}" for name in names}
                servers |= {f"shadow of {name}": {("/",): f"return {shadowed}"} for name in names}
                continue
            headers = {"add_header", "proxy_hide_header"}
            assert set(shapes) <= {"listen", "server_name", "location", "set", "if", *headers}, shapes
            (names,) = [line["args"] for line in lines if line["directive"] == "server_name"]
            sets = [" ".join(line["args"]) for line in lines if line["directive"] == "set"]
            assert names == [""] or all(map(SETS.fullmatch, sets)), sets
            (name,) = names
            assert name not in servers
            checks = [read_location([line, *line["block"]]) for line in lines if line["directive"] == "if"]
            asks_regexes = any(line["args"][0] in ("~", "~*") for line in lines if line["directive"] == "location")
            begin = next((number for number, one in enumerate(checks) if "misleading" in one), 0)
            assert all(map(BEGINS.fullmatch, checks[:begin])), checks
            checks = checks[begin:]
            moves = ["if $to_https; return 308 https://$host$request_uri"]
            expected = [
                "if $misleading; return 400",
                *(moves if checks[1:2] == moves else []),
                *(["if $too_long; return 414"] if asks_regexes else []),
            ]
            assert checks == (expected if name else [])
            added = read_location([line for line in lines if line["directive"] in headers], HOST_LINES)
            assert added in HEADERS, added
            servers[name] = {
                tuple(map(unescape, line["args"])): read_location(line["block"])
                for line in lines
                if line["directive"] == "location"
            }
            assert len(servers[name]) == shapes["location"]
    return servers


def read_location(lines: list[dict[str, Any]], of_options: Iterable[str] = LINES) -> str:
    """Write what a location does, without what options write there."""
    written = [" ".join([line["directive"], *map(unescape, line["args"])]) for line in lines]
    return "; ".join(line for line in written if not any(re.fullmatch(known, line) for known in of_options))


def expect_servers(routes: Routes, how: Settings) -> dict[str, Server]:
    servers: dict[str, Server] = {"": {("=", how.status_path): "return 200", ("/",): "return 444"}}
    servers |= {f"shadow of {shadow.name}": {("/",): "return 444"} for shadow in routes.shadows if shadow.plain}
    for host in routes.hosts:
        here = servers[host.name] = {expect_place(one): expect_location(one, host) for one in host.locations}
        if not host.open:
            here["/",] = expect_rest(host, how)
        elif not any(location.match is Match.PREFIX and location.path == "/" for location in host.locations):
            here["/",] = "return 404"
        if checked := [
            location
            for location in host.locations
            if location.api_key and location.answer is not Answer.CLOSED and not find_external_auth(location)
        ]:
            more = "if $http_x_routing_api_key = $api_key; set $key_of $key_of/; "
            most = max(location.more_keys for location in checked)
            here["=", "api-key"] = f"internal; {more * most}if $http_x_routing_api_key != $api_key; return 204"
        for location in host.locations:
            if auth := find_external_auth(location):
                here |= expect_external_auth(auth, location)
    return servers


def expect_external_auth(auth: ExternalAuth, location: Location) -> Server:
    """Write what asks an authoriser, and what sends clients to sign in."""
    (authoriser,) = auth.authorisers
    more = "if $http_x_routing_api_key = $api_key; set $key_of $key_of/; " * location.more_keys
    key = f"{more}if $http_x_routing_api_key != $api_key; " if location.api_key else ""
    secure = "s" if find_option(authoriser.options, "tls") else ""
    what = (
        f"proxy_pass_request_body off; proxy_pass http{secure}://{authoriser.upstream}{authoriser.uri}"
        if authoriser.ready
        else "return 503"
    )
    pages = {
        (f"@sign-in-{page.upstream}",): "absolute_redirect off; if $authoriser_status !~ 401$; "
        f"set $sign_in {page.uri}; return 302 $sign_in?rd=$request_uri"
        for page in auth.pages
    }
    name = f"external{'-key' if location.api_key else ''}-{authoriser.upstream}"
    return {("=", name): f"internal; {key}{what}"} | pages


def expect_place(location: Location) -> tuple[str, ...]:
    modifier = location.match.value
    path = location.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # as crossplane reads files
    path = f"(*NO_JIT)(*LIMIT_MATCH=2000){path}" if location.match.is_regex else path
    return (modifier, path) if modifier else (path,)


def expect_rest(host: Host, how: Settings) -> str:
    """Write what the location does that takes all requests but challenges."""
    values = {option.name: option.value for option in host.options}
    if host.plain is Plain.CLOSED:
        return "return 444"
    rests = ["return 503"] if "maintenance" in values and not values["maintenance"].allow else []
    moved = values.get("redirect")
    if not moved:
        return "; ".join(rests)
    scheme = "$forwarded_proto" if how.trusted_proxies and not how.proxy_protocol else "$scheme"
    port = f"$moved_host:{moved.port}" if moved.ports else ""
    given = [("scheme", moved.scheme), ("host", moved.hostname), ("host", port), ("uri", moved.path)]
    sets = [("scheme", scheme), ("host", "$host"), ("uri", "$request_uri"), *(one for one in given if one[1])]
    lines = [f"set $moved_{name} {value}" for name, value in sets]
    return "; ".join([*rests, *lines, f"return {moved.status} $moved_scheme://$moved_host$moved_uri"])


def expect_location(location: Location, host: Host) -> str:
    if location.answer is Answer.CLOSED:
        return "return 403"
    if location.answer is Answer.RESERVED:
        return "return 404"
    key = f"set $key_of {location.namespace}; " if location.api_key else ""
    auth = find_external_auth(location)
    if auth:
        asked = f"external{'-key' if location.api_key else ''}-{auth.authorisers[0].upstream}"
        key += f"auth_request {asked}; "
    elif location.api_key:
        key += "auth_request api-key; "
    if location.answer is Answer.REDIRECT:
        wanted = find_option(location.options, "redirect")
        assert isinstance(wanted, Redirect)
        redirect = f"try_files /no-pod-is-asked ={wanted.status}; add_header Location {wanted.path}"
        return f"{redirect}; {key}".rstrip("; ")
    if location.answer is Answer.UNAVAILABLE:
        rests = any(option.name == "maintenance" for option in host.options)
        after = "" if rests else "add_header Retry-After $retry_after always; "
        return f"{key}{after}try_files /no-ready-pod =503"
    secure = "s" if find_option(location.options, "tls") else ""
    if find_option(location.options, "protocol"):
        return f"{key}grpc_pass grpc{secure}://{location.upstream}"
    return f"{key}proxy_pass http{secure}://{location.upstream}{location.target or ''}"


def parts_of(namespace: str, routes: Routes) -> object:
    """Give all that belongs to a Namespace."""
    locations = {
        (
            host.name,
            location.match,
            location.path,
            location.upstream,
            location.target,
            location.api_key,
            location.answer,
        )
        for host in routes.hosts
        for location in host.locations
        if location.namespace == namespace
    }
    upstreams = {upstream for upstream in routes.upstreams if upstream.namespace == namespace}
    return locations, upstreams, dict(routes.api_keys).get(namespace)
