"""cors: which other sites may use a path from a browser.

nginx answers for the Pods, as browsers expect it: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from reconciler.routing.annotations import Refused, parse_boolean, parse_text
from reconciler.routing.keys.key import Key, Kind
from reconciler.routing.keys.shapes import Parse, integer, parse_header_name, parse_list, parse_object
from reconciler.settings import Settings
from reconciler.values.messages import excerpt
from reconciler.values.patterns import HTTP_METHOD, ORIGIN
from reconciler.values.value import Literal, Value

_MOST_ORIGINS = 20
_MOST_NAMES = 50  # of 64 characters, which fit into a parameter of nginx
_MOST_AGE = 86_400
_DEFAULT_PORTS = {"http": "80", "https": "443"}
# A longer text does not fit into nginx's hash of a map, whose buckets have 128 bytes.
_LONGEST_KEY = 100
# What `*.` stands for: one label of a name as browsers write it.
_ONE_LABEL = "[a-z0-9_-]+"


class Cors(Value, frozen=True):
    """The origins that may use a path, sorted, and what they may do. `*` stands for all; what is empty is not sent."""

    origins: tuple[str, ...]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int | None = None

    def __str__(self) -> str:
        credentials = " with credentials" if self.credentials else ""
        more = {
            "methods": self.method_list, "headers": self.header_list, "exposes": self.exposed_list, "max age": self.age
        }  # fmt: skip
        return "; ".join(
            [" ".join(self.origins) + credentials, *(f"{name} {text}" for name, text in more.items() if text)]
        )

    @property
    def digest(self) -> str:
        """A name that only equal origins with equal credentials have, for variables of nginx."""
        return blake2b(" ".join((*self.origins, *self.trusted)).encode(), digest_size=8).hexdigest()

    @property
    def otherwise(self) -> str:
        """What a client from no origin of a map is told."""
        return "*" if self.origins == ("*",) else ""

    @property
    def exact(self) -> tuple[str, ...]:
        """The origins that a map holds as they are."""
        return tuple(one for one in self.origins if "*" not in one and len(one) <= _LONGEST_KEY)

    @property
    def patterns(self) -> tuple[Literal, ...]:
        """The other origins, as expressions."""
        others = (one for one in self.origins if one != "*" and one not in self.exact)
        return tuple(Literal(f"~^{re.escape(one).replace(re.escape('*'), _ONE_LABEL)}$") for one in others)

    @property
    def trusted(self) -> tuple[str, ...]:
        """What an origin is told that may send cookies and passwords."""
        return ("true",) if self.credentials else ()

    @property
    def method_list(self) -> str:
        """The methods as a header has them."""
        return ", ".join(self.methods)

    @property
    def header_list(self) -> str:
        """The headers of requests as a header has them."""
        return ", ".join(self.headers)

    @property
    def exposed_list(self) -> str:
        """The headers of answers as a header has them."""
        return ", ".join(self.exposed)

    @property
    def age(self) -> str:
        """How long a browser may keep the answer, in seconds, as a header has it."""
        return "" if self.max_age is None else str(self.max_age)


def _parse_origin(value: object, what: str) -> str:
    if value == "*":
        return "*"
    text = parse_text(value, what, ORIGIN).lower()
    scheme, _, port = re.split(r"://|:", f"{text}:")[:3]
    if port and not 1 <= int(port) <= 65535:
        raise Refused(what, f"is {excerpt(text)}", "a port from 1 to 65535")
    # Browsers leave out the port that a scheme has by default.
    return text.removesuffix(f":{_DEFAULT_PORTS[scheme]}")


def _parse_method(value: object, what: str) -> str:
    return "*" if value == "*" else parse_text(value, what, HTTP_METHOD)


def _parse_name(value: object, what: str) -> str:
    return "*" if value == "*" else parse_header_name(value, what)


def _listing(parse: Parse[str], most: int) -> Parse[tuple[str, ...]]:
    """Make the parser of an array of texts, or of `*` alone, which gives each once and sorted."""

    def parse_all(value: object, what: str) -> tuple[str, ...]:
        found = tuple(sorted(set(parse_list(value, what, parse, most))))
        if "*" in found and len(found) > 1:
            raise Refused(what, 'has "*" beside others', '"*" alone, or others')
        return found

    return parse_all


_MEMBERS: dict[str, tuple[str, Parse[Any]]] = {
    "allowOrigins": ("origins", _listing(_parse_origin, _MOST_ORIGINS)),
    "allowMethods": ("methods", _listing(_parse_method, _MOST_NAMES)),
    "allowHeaders": ("headers", _listing(_parse_name, _MOST_NAMES)),
    "exposeHeaders": ("exposed", _listing(_parse_name, _MOST_NAMES)),
    "allowCredentials": ("credentials", parse_boolean),
    "maxAge": ("max_age", integer(0, _MOST_AGE)),
}


def _parse(value: Any, what: str, _: Settings) -> Cors:
    given = parse_object(value, what, {name: parse for name, (_, parse) in _MEMBERS.items()})
    if "allowOrigins" not in given:
        raise Refused(f"{what}.allowOrigins", "is missing", f'an array of 1 to {_MOST_ORIGINS} origins, or ["*"]')
    if given.get("allowCredentials"):
        # Browsers refuse this too: https://fetch.spec.whatwg.org/#cors-protocol-and-credentials
        for name, one in given.items():
            if one == ("*",):
                raise Refused(f"{what}.{name}", 'is "*" beside allowCredentials', "each by its name")
    return Cors(**{_MEMBERS[name][0]: one for name, one in given.items()})


def _list_variables(value: Cors) -> Iterator[str]:
    yield from (f"{value.digest} {word}" for word in ("origin", *value.trusted))


KEY = Key(
    name="cors",
    kind=Kind.FUNCTION,
    list_variables=_list_variables,
    parse=_parse,
    shape='{"allowOrigins": ["https://name", "https://*.name:port"] or ["*"], "allowMethods": [], "allowHeaders": [], '
    f'"exposeHeaders": [], "allowCredentials": boolean, "maxAge": 0-{_MOST_AGE}}}',
    default="what the Pods answer",
    weight=2,  # a block for preflights, variables, and two families of headers
    needs_pods=False,
    does="Which other sites may use the path from a browser. nginx answers preflights itself, without an API key, and "
    "leaves out what the Pods say about it. A `*.` stands for one label.",
)
