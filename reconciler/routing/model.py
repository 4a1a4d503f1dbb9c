"""What is routed, as values: a tenant's hosts and paths, and the routing table that is made of all tenants."""

from enum import Enum

from reconciler.objects.snapshot import Probe
from reconciler.routing.allowances import Allowance
from reconciler.routing.options import Options
from reconciler.routing.problems import Problem
from reconciler.routing.server_names import Slot
from reconciler.values.certificates import Chain
from reconciler.values.value import Value

# Whoever answers below this path gets certificates for the host: https://www.rfc-editor.org/rfc/rfc8555#section-8.3
# Those who ask come to the plain port, without an API key.
CHALLENGES = "/.well-known/acme-challenge"


class Match(Enum):
    """How a location matches a request's path: nginx's own modifiers."""

    EXACT = "="
    PREFIX = ""
    REGEX = "~"
    IREGEX = "~*"

    @property
    def is_regex(self) -> bool:
        """Whether the location is a regular expression."""
        return self in (Match.REGEX, Match.IREGEX)


class Answer(Enum):
    """What answers a request to a location, once it has brought the API key that it needs."""

    PODS = "Pods"
    UNAVAILABLE = "503"  # no Pod of the path is ready
    REDIRECT = "redirect"  # a Location, and no Pod is asked
    RESERVED = "reserved"  # DEFAULT_LOCATION_RETURN: the path is kept for the host's owner, who does not serve it
    CLOSED = "403"  # nobody may use it: the Namespace's keys, or what protects the path, cannot be used


class Plain(Enum):
    """What the plain port answers for a host, except for challenges of its owner."""

    SERVES = "serves"
    REDIRECTS = "redirects"  # 308 to https
    CLOSED = "closed"  # as for an unknown host
    WAITS = "waits"  # 503: the host's certificate cannot be served, and may be about to come


class Server(Value, frozen=True, order=True):
    """A Pod behind a path: `address` is ip:port, with an IPv6 address in brackets.

    A `backup` gets requests only if the others do not answer.
    """

    address: str
    weight: int
    pod: str
    backup: bool = False


class Upstream(Value, frozen=True):
    """The Pods of one Namespace that serve one basePath, sorted by address; `check` is an active health check.

    It has no servers while no Pod of the path is ready, or if the path redirects. If it is `closed`, what protects the
    path cannot be honoured.
    """

    name: str
    namespace: str
    match: Match
    path: str
    servers: tuple[Server, ...]
    check: Probe | None
    options: Options = ()
    closed: bool = False


class Path(Value, frozen=True):
    """One basePath of a Namespace, on all of its hosts; `target` replaces it in requests to the Pods."""

    target: str | None
    upstream: Upstream

    @property
    def match(self) -> Match:
        """How the path matches requests."""
        return self.upstream.match

    @property
    def path(self) -> str:
        """The path itself, decoded."""
        return self.upstream.path


class Tls(Value, frozen=True):
    """A host's certificates and key, as PEM. Without `client`, clients are not verified."""

    chain: Chain
    key: bytes
    client: Chain | None

    def __repr__(self) -> str:
        return f"Tls(client={self.client is not None})"

    @property
    def weight(self) -> int:
        """The weight of all its certificates, as `Chain.weight` counts it."""
        return self.chain.weight + (self.client.weight if self.client else 0)


class TenantHost(Value, frozen=True):
    """A host that a Namespace names. If it cannot be served at all, `served` is False; `broken` if its options are why.

    If it `waits`, it is not served only for want of a certificate. `problems` say what cannot be served as its options
    say; they are reported only if the Namespace owns the host. `kept` are paths that no Pod of the Namespace names.
    `asked` names the options that only an owner can ask for.
    """

    name: str
    served: bool
    tls: Tls | None = None
    problems: tuple[Problem, ...] = ()
    shared_with: tuple[str, ...] = ()
    require_api_key: bool = False
    plain: Plain = Plain.SERVES
    options: Options = ()
    kept: tuple[Path, ...] = ()
    waits: bool = False
    asked: tuple[str, ...] = ()
    broken: bool = False


class ApiKey(Value, frozen=True):
    """The header values that are valid in a request. If there are none, the Namespace is closed to everyone."""

    values: tuple[str, ...]

    def __repr__(self) -> str:
        return f"ApiKey({len(self.values)} usable)"


class Tenant(Value, frozen=True):
    """What one Namespace asks for, sorted, what it uses of nginx's room, and the problems in it.

    Without `api_key`, requests need no key.
    """

    name: str
    created: float
    hosts: tuple[TenantHost, ...]
    paths: tuple[Path, ...]
    api_key: ApiKey | None
    used: Allowance
    problems: tuple[Problem, ...]

    @property
    def age(self) -> tuple[float, str]:
        """What sorts Tenants oldest first."""
        return self.created, self.name

    @property
    def kept(self) -> tuple[Path, ...]:
        """The paths that no Pod names and that are kept on some host, each once."""
        kept = {path.upstream.name: path for host in self.hosts for path in host.kept}
        return tuple(kept[name] for name in sorted(kept))


class Location(Value, frozen=True):
    """One nginx location of a host. `target` replaces the request's URI; None passes the URI on as it is.

    `upstream` is empty if the location is RESERVED.

    `more_keys` is the number of API keys that open it besides the first one.
    """

    match: Match
    path: str
    namespace: str
    upstream: str
    target: str | None
    answer: Answer
    api_key: bool
    more_keys: int
    options: Options = ()

    @property
    def is_challenge(self) -> bool:
        """Whether it answers challenges. Only a host's owner can have such a path; with a target it is like others."""
        return not self.match.is_regex and is_challenge(self.path) and self.target is None


def is_challenge(path: str) -> bool:
    """Tell whether a path lies at or below CHALLENGES."""
    return f"{path}/".startswith(f"{CHALLENGES}/")


class Host(Value, frozen=True):
    """A host and its locations, in serving order. `namespace` owns it; `slots` are its places in nginx's hashes.

    If it is not `open`, only locations for challenges are left, and something else answers everything else.
    """

    name: str
    slots: tuple[Slot, ...]
    namespace: str
    tls: Tls | None
    locations: tuple[Location, ...]
    plain: Plain = Plain.SERVES
    options: Options = ()
    open: bool = True

    @property
    def usual_plain(self) -> Plain:
        """What the plain port answers for such a host if its owner says nothing about that."""
        return Plain.REDIRECTS if self.tls else Plain.SERVES

    @property
    def challenges(self) -> tuple[Location, ...]:
        """The locations for challenges."""
        return tuple(location for location in self.locations if location.is_challenge)

    @property
    def is_plain(self) -> bool:
        """Whether the plain port knows the host."""
        return self.plain is not Plain.CLOSED or bool(self.challenges)


class Shadow(Value, frozen=True):
    """A host that answers like an unknown one on the plain port, or on that for TLS, or on both.

    Without it, a wildcard above it would answer there.
    """

    name: str
    plain: bool
    tls: bool


class Size(Value, frozen=True):
    """How much is routed: the number of hosts and of Pods."""

    hosts: int
    pods: int


class Routes(Value, frozen=True):
    """What nginx is to serve: hosts by name, upstreams by Namespace, the API key of each Namespace that has one.

    `names_hash_size` is a size of nginx's hash of server names in which all hosts fit. `default` is for unknown hosts;
    if it is None, what the settings have is used.
    """

    hosts: tuple[Host, ...]
    upstreams: tuple[Upstream, ...]
    api_keys: tuple[tuple[str, ApiKey], ...]
    names_hash_size: int
    default: Tls | None = None
    shadows: tuple[Shadow, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names that nginx's hash of server names holds; a host may appear twice."""
        return (*(host.name for host in self.hosts), *(shadow.name for shadow in self.shadows))

    @property
    def size(self) -> Size:
        """The number of hosts, and of the Pods behind them."""
        pods = {(upstream.namespace, server.pod) for upstream in self.upstreams for server in upstream.servers}
        return Size(len(self.hosts), len(pods))


NO_ROUTES = Routes((), (), (), 512)


class RoutingTable(Value, frozen=True):
    """The routes, the sorted problems, and what each Namespace asks for.

    Until the time `good_until`, in seconds since the epoch, both stay the same if the Snapshot stays the same.
    """

    routes: Routes
    problems: tuple[Problem, ...]
    good_until: float
    tenants: tuple[Tenant, ...] = ()
