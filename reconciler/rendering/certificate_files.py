"""Where certificates and keys are written: in the tree itself, or below SSL_CERT_DIR."""

from collections.abc import Iterator
from operator import attrgetter

from reconciler.rendering.quoting import Token, quote
from reconciler.routing.keys.pod_tls import find_pod_tls
from reconciler.routing.model import Routes
from reconciler.settings import Settings
from reconciler.values.files import SECRET, File
from reconciler.values.value import Value

# The folder of the default server's certificate. No host has this name, because an underscore is not legal in one.
DEFAULT_SERVER = "_default"
# The folder of the certificates that verify Pods. templates/options/tls.j2 names it too.
_PODS = "_pods"
CERTIFICATE, KEY, CLIENT_CERTIFICATE = "certificate.crt", "certificate.key", "clientCertificate.crt"


class Pair(Value, frozen=True):
    """The paths of a server's certificate and key, as a template writes them."""

    certificate: Token
    key: Token


def write_default_pair() -> Pair:
    """Write the paths of the default server's certificate and key."""
    folder = f"ssl/{DEFAULT_SERVER}"
    return Pair(quote(f"{folder}/{CERTIFICATE}"), quote(f"{folder}/{KEY}"))


def write_pair(host: str, settings: Settings) -> Pair:
    """Write the paths of a host's certificate and key."""
    folder = _find_folder(host, settings)
    return Pair(quote(f"{folder}/{CERTIFICATE}"), quote(f"{folder}/{KEY}"))


def write_client_path(host: str, settings: Settings) -> Token:
    """Write the path of the certificates by which a host verifies clients."""
    return quote(f"{_find_folder(host, settings)}/{CLIENT_CERTIFICATE}")


def collect_certificates(routes: Routes, settings: Settings) -> dict[str, File]:
    """Collect the files of all certificates and keys."""
    files: dict[str, File] = {}
    if settings.ssl_cert:
        folder = f"ssl/{DEFAULT_SERVER}"
        default = routes.default
        files[f"{folder}/{CERTIFICATE}"] = File(default.chain.pem if default else settings.ssl_cert)
        files[f"{folder}/{KEY}"] = File(default.key if default else settings.ssl_key, SECRET)
    for host in routes.hosts:
        if host.tls:
            folder = _find_folder(host.name, settings)
            files[f"{folder}/{CERTIFICATE}"] = File(host.tls.chain.pem)
            files[f"{folder}/{KEY}"] = File(host.tls.key, SECRET)
            if host.tls.client:
                files[f"{folder}/{CLIENT_CERTIFICATE}"] = File(host.tls.client.pem)
    return files | dict(_collect_for_pods(routes))


def _collect_for_pods(routes: Routes) -> Iterator[tuple[str, File]]:
    """Collect the files of the certificates that verify Pods; paths with the same ones share a file."""
    for upstream in filter(attrgetter("options"), routes.upstreams):
        tls = find_pod_tls(upstream.options)
        if tls and tls.chain:
            yield from ((f"ssl/{_PODS}/{digest}.crt", File(tls.chain.pem)) for digest in tls.digests)


def _find_folder(host: str, settings: Settings) -> str:
    return f"{settings.ssl_cert_dir.rstrip('/') or 'ssl'}/{host.strip('[]')}"
