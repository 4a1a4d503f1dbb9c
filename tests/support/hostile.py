"""Strategies that draw what tenants could write: legal, odd and hostile Namespaces, Pods and Secrets."""

import json
from typing import Any

from hypothesis import strategies as st
from support import objects
from support.option_examples import EXAMPLES, HOST_EXAMPLES

REVISION = "github.com/30x.dispatcher.app.rev"
FRAGMENTS = (
    *("/", "//", "/foo", "/foo/", "/foobar", "=/foo", "~", "~*", "^~", "~^/a", "~*.(png)$", "/..", "/.", "?a=b", "@"),
    *("%2e%2e", "%2F", "%00", "%0a", "%0A}", "%22", "%5c", "%5C%22", "%FF", "%C3%A9", "%7B", "%24", "/etc/passwd"),
    *(
        "$",
        "$uri",
        "${uri}",
        "\\",
        '"',
        "'",
        "\n",
        "\r",
        "\t",
        "\0",
        " ",
        ";",
        "{",
        "}",
        "#",
        "[",
        "(",
        "*",
        "?",
        "|",
        "-",
    ),
    *(
        "}} server { listen 81; location / { return 200; ",
        "/x { return 200; } location /y",
        "(a+)+$",
        "_",
        ".",
        "include",
    ),
    *("default", "{{ 7 }}", "{% for %}", "a" * 70, "/" * 9, "test.k8s.local", "*.example.com", "::1", "127.0.0.1"),
    *("\u00e9", "\u2028", "\u212a", "\ud7ff"),
)

texts = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=5).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)
odd = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def mostly(legal: st.SearchStrategy[Any], rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a legal value seven times out of eight, so that whole objects are accepted and odd parts meet good ones."""
    return st.integers(0, 7).flatmap(lambda number: legal if number else rest)


base_paths = st.one_of(
    st.sampled_from(
        ["/", "/a", "/a/", "/a/b", "=/a", "/a%20b", "/caf%C3%A9", "/a%2Fb", "~^/r", "~*.(png)$", "/%22%7D"]
    ),
    st.sampled_from(
        ["/a%5C", "/a%5C%22", "/%FF", "/a;b", "/a'b", "/a$uri", "/%24%7Buri%7D", "/%7B%7D%3B", "/%23", "/%3F"]
    ),
)


def place(options: dict[str, Any]) -> dict[str, Any]:
    """Put options where an entry has them: a dot in a name stands for an object around it."""
    placed: dict[str, Any] = {}
    for name, value in options.items():
        outer, _, inner = name.partition(".")
        if inner:
            placed.setdefault(outer, {})[inner] = value
        else:
            placed[outer] = value
    return placed


def draw_options(examples: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw some options, most of them legal."""
    return st.dictionaries(st.sampled_from(sorted(examples)), st.none(), max_size=4).flatmap(
        lambda names: st.fixed_dictionaries(
            {name: mostly(st.sampled_from(examples[name]), texts | odd) for name in names}
        )
    )


options = draw_options(EXAMPLES)
plain_entries = st.fixed_dictionaries(
    {
        "basePath": mostly(base_paths, texts | odd),
        "containerPort": mostly(st.sampled_from([3000, "3000", "http"]), odd),
    },
    optional={
        "targetPath": mostly(st.sampled_from(["/", "/t", "/t/", "/$uri", "/%20", "/a'b;c"]), texts | odd),
        "weight": mostly(st.sampled_from([1, 3, 1_000_000]), odd),
    },
)
redirects = st.fixed_dictionaries(
    {"basePath": mostly(base_paths, texts | odd), "redirect": mostly(st.sampled_from(EXAMPLES["redirect"]), odd)}
)
entries = st.tuples(
    mostly(plain_entries, redirects), mostly(options.map(place), st.dictionaries(texts, odd, max_size=2))
).map(lambda both: {**both[1], **both[0]})
# An entry in which a key appears twice, with another value.
doubled = st.tuples(entries, base_paths).map(
    lambda both: f'[{{"basePath": {json.dumps(both[1])}, {json.dumps(both[0])[1:]}]'
)
path_annotations = mostly(
    st.lists(mostly(entries, odd), min_size=1, max_size=6).map(json.dumps), doubled | texts | odd.map(json.dumps)
)
hosts = mostly(
    st.sampled_from(["a.example.com", "b.example.com", "A.Example.com", "*.example.com", "::1", "x" * 63, "default"]),
    texts,
)
names = st.sampled_from(["default", "a", "b-1", "x" * 63, "include", "0"])
shared = mostly(st.lists(names, max_size=3) | st.just(["*"]), odd)
ownership = st.fixed_dictionaries({}, optional={"sharedWith": shared, "requireApiKey": mostly(st.booleans(), odd)})
options_of_hosts = st.tuples(ownership, st.just({}) | draw_options(HOST_EXAMPLES)).map(
    lambda both: {**both[0], **both[1]}
)
host_options = mostly(options_of_hosts, odd | st.builds(objects.tls, st.sampled_from(["ssl.crt", "x", ""]), texts))


def write_with_repeats(pairs: list[tuple[str, Any]]) -> str:
    """Write a JSON object in which keys may appear more than once."""
    return "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs) + "}"


repeating = st.lists(st.tuples(hosts, host_options), min_size=1, max_size=5).map(write_with_repeats)
host_annotations = mostly(
    st.dictionaries(hosts, host_options, min_size=1, max_size=5).map(json.dumps),
    repeating | texts | odd.map(json.dumps),
)
moments = st.integers(0, 59).map(lambda second: f"2026-11-22T18:06:{second:02}Z")
addresses = mostly(
    st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "FD00:0::1"]), texts | st.ip_addresses().map(str)
)
ports = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([3000, 8080, 80, 443, 0, -1, 70000])},
        optional={"name": st.sampled_from(["http", "x"]) | texts, "protocol": st.sampled_from(["TCP", "UDP", "SCTP"])},
    ),
    max_size=3,
).map(lambda some: [{"containerPort": 3000, "name": "http"}, *some])
seconds = st.integers(0, 2**31 - 1)
http_probes = st.fixed_dictionaries(
    {"port": st.sampled_from([3000, "http", "x"])},
    optional={"path": mostly(st.just("/status?a=b"), texts), "scheme": st.just("HTTP") | texts},
)
probes = st.fixed_dictionaries(
    {"httpGet": http_probes},
    optional={"periodSeconds": seconds, "timeoutSeconds": seconds, "failureThreshold": seconds},
)
secret_names = st.sampled_from(["api_key", "api-key.next", "api-key.x", "ssl_crt", "x"])
passwords = mostly(
    st.sampled_from([b"alice:$apr1$saltsalt$" + b"./09AZaz" * 2 + b"abcdef\n", b"bob:{SSHA}" + b"A" * 32]),
    st.binary(max_size=60) | st.sampled_from([b"a:$apr1$s$short", b"a:$2y$12$" + b"a" * 53, b"#c\n\n", b"a" * 70_000]),
)
secret_fields = st.builds(
    lambda some, one: some | one,
    st.dictionaries(secret_names, st.binary(max_size=60)),
    st.fixed_dictionaries({}, optional={"htpasswd": passwords}),
)


# What a kubelet, or the control plane for a node that is lost, writes into a Pod's status. Most Pods are ready.
conditions = st.lists(
    st.fixed_dictionaries({"type": st.just("Ready"), "status": st.sampled_from(["True", "False", "Unknown", ""])}),
    max_size=2,
)
states = mostly(
    st.just({}),
    st.fixed_dictionaries(
        {},
        optional={
            "conditions": conditions,
            "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
            "podIP": st.just(""),
        },
    ),
)


@st.composite
def tenants(draw: st.DrawFn, name: str | None = None) -> list[objects.Object]:
    """Draw one Namespace and the objects in it."""
    name = name or draw(names)
    made: list[dict[str, Any]] = [objects.namespace(name, draw(host_annotations), draw(moments))]
    for place in range(draw(st.integers(1, 3))):
        one = objects.pod(
            name, f"pod-{place}", draw(addresses), draw(path_annotations), draw(ports), creationTimestamp=draw(moments)
        )
        one["spec"]["containers"][0]["readinessProbe"] = draw(probes)
        one["status"] |= draw(states)
        one["metadata"]["labels"][REVISION] = draw(st.sampled_from(["1", "2"]))
        made.append(one)
    if draw(st.booleans()):
        made.append(objects.secret(name, **draw(secret_fields)))
    return made


clusters = st.lists(names, unique=True, max_size=4).flatmap(
    lambda some: st.tuples(*map(tenants, some)).map(lambda each: [item for one in each for item in one])
)
