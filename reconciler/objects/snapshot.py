"""Snapshot: what routing reads of a cluster, frozen, sorted and grouped by Namespace, with a digest."""

from reconciler.values.value import Value


class Resource(Value, frozen=True, order=True):
    """The kind, Namespace and name of an object; the Namespace of a Namespace is empty."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Probe(Value, frozen=True):
    """A container's readiness probe, or else its liveness probe. Times are in seconds; port 0 means not declared."""

    path: str | None  # None for a TCP probe
    port: int
    period: int
    timeout: int
    rise: int
    fall: int


class Port(Value, frozen=True):
    """A TCP port that a container declares, and the probe of that container."""

    number: int
    name: str | None
    probe: Probe | None


class Pod(Value, frozen=True):
    """A Pod that names paths. `ip` is empty while it gets no traffic.

    `created` is in seconds since the epoch, or infinite; `paths` is an annotation.
    """

    namespace: str
    name: str
    created: float
    ip: str
    paths: str
    ports: tuple[Port, ...]
    app: str
    revision: str

    @property
    def resource(self) -> Resource:
        """The name of this object."""
        return Resource("Pod", self.namespace, self.name)


class Secret(Value, frozen=True):
    """The fields of a routing Secret, sorted by name. A value that is not base64 is None."""

    namespace: str
    name: str
    data: tuple[tuple[str, bytes | None], ...]

    @property
    def resource(self) -> Resource:
        """The name of this object."""
        return Resource("Secret", self.namespace, self.name)

    def __repr__(self) -> str:
        return f"Secret({self.namespace}/{self.name}: {', '.join(name for name, _ in self.data)})"


class PemPair(Value, frozen=True):
    """A certificate chain and its private key, as PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "PemPair()"


class KeptPair(Value, frozen=True):
    """A pair that was served for these hosts and is served on."""

    hosts: tuple[str, ...]
    pair: PemPair

    def __repr__(self) -> str:
        return f"KeptPair({', '.join(self.hosts)})"


class Namespace(Value, frozen=True):
    """A routable Namespace with what routing reads of its objects.

    `created` is in seconds since the epoch, infinite if unknown; `hosts` is the annotation, None if there is none.
    The last two fields say what its last good state still counts for: whether it had an API key that is gone, and pairs
    that are served in place of pairs that cannot be used.
    """

    name: str
    created: float
    hosts: str | None
    organization: str
    environment: str
    secret: Secret | None
    pods: tuple[Pod, ...]
    terminating: bool = False
    key_lost: bool = False
    kept: tuple[KeptPair, ...] = ()

    @property
    def resource(self) -> Resource:
        """The name of this object."""
        return Resource("Namespace", "", self.name)


class Snapshot(Value, frozen=True):
    """What routing reads of a cluster; equal Snapshots have equal digests.

    `strays` names the Namespaces that were not listed although routable Pods in them were listed. `default_pair` is for
    the default server, if it is not that of the settings. If it is `settled`, a publisher has decided what the last
    good state of each Namespace still counts for.
    """

    namespaces: tuple[Namespace, ...]
    strays: tuple[str, ...]
    digest: bytes
    default_pair: PemPair | None = None
    settled: bool = False

    def __repr__(self) -> str:
        return f"Snapshot({len(self.namespaces)} namespaces)"


NOTHING = Snapshot((), (), b"")
