"""Host wishes: what the options of a host come to, once its TLS, the settings and its Namespace's hosts are known."""

from collections.abc import Collection, Iterator

from msgspec.structs import replace

from reconciler.routing.annotations import Fault
from reconciler.routing.host_options import HostOptions
from reconciler.routing.keys import host_redirect, http, keep_paths, maintenance
from reconciler.routing.keys.catalogue import HOST_KEYS
from reconciler.routing.keys.host_redirect import HostRedirect
from reconciler.routing.keys.hsts import Hsts
from reconciler.routing.keys.http import CLOSE, REDIRECT, SERVE, Http
from reconciler.routing.keys.keep_paths import KeepPaths
from reconciler.routing.keys.maintenance import Maintenance
from reconciler.routing.model import Match, Path, Plain, Tls, Upstream
from reconciler.routing.options import Option, Options, find_option
from reconciler.routing.paths import name_upstream
from reconciler.routing.sharing import list_wildcards
from reconciler.settings import Settings, believes_proxies
from reconciler.values.value import Value

_MODES = {REDIRECT: Plain.REDIRECTS, SERVE: Plain.SERVES, CLOSE: Plain.CLOSED}
# Clients that are sent to one of these ports may come back to the host, whatever is in front of the router.
_WEB_PORTS = (80, 443)


class Settled(Value, frozen=True):
    """What the plain port answers for a host, the options that are left, and what is not done as they say."""

    plain: Plain
    options: Options
    faults: tuple[Fault, ...]


def settle_host(host: HostOptions, tls: Tls | None, names: Collection[str], settings: Settings) -> Settled:
    """Settle what a host's options come to; `names` are all hosts of its Namespace."""
    faults: list[Fault] = []
    plain = choose_plain(host, tls)
    if tls and tls.client and plain is Plain.SERVES:
        faults.append(Fault("http", f"is {SERVE}, and clients must bring a certificate: PORT is closed", REDIRECT))
        plain = Plain.CLOSED
    if not tls and plain is Plain.REDIRECTS and not believes_proxies(settings):
        why = f"is {REDIRECT} on a host without ssl, and no trusted proxy tells the scheme: it would loop"
        faults.append(Fault("http", f"{why}, and is left out", "ssl, or TRUSTED_PROXIES without PROXY_PROTOCOL"))
        plain = Plain.SERVES
    if not tls and plain is Plain.CLOSED:
        faults.append(Fault("http", f"is {CLOSE} on a host without ssl: nothing serves it", f"ssl, or {SERVE}"))
    kept = [one for one in host.options if one.name not in (http.KEY.name, keep_paths.KEY.name)]
    if not tls and plain is Plain.REDIRECTS:
        kept.insert(0, Option(http.KEY.name, Http(REDIRECT)))
    target = find_option(kept, host_redirect.KEY.name)
    if isinstance(target, HostRedirect) and _comes_back(target, host.name, names, settings):
        why = "leads to the host itself, and is left out"
        faults.append(Fault(host_redirect.KEY.name, why, "the name of another host"))
        kept = [one for one in kept if one.name != host_redirect.KEY.name]
    return Settled(plain, tuple(kept), tuple(faults))


def choose_plain(host: HostOptions, tls: Tls | None) -> Plain:
    """Choose what the plain port answers, from `http` alone."""
    wanted = find_option(host.options, http.KEY.name)
    if not isinstance(wanted, Http):
        return Plain.REDIRECTS if tls else Plain.SERVES
    return _MODES.get(wanted.mode, Plain.CLOSED if tls else Plain.SERVES)


def _comes_back(target: HostRedirect, host: str, names: Collection[str], settings: Settings) -> bool:
    """Tell whether a redirect leads to the host itself, or to the wildcard that it is for."""
    if target.port not in (0, *_WEB_PORTS, settings.port, settings.ssl_port):
        return False
    if not target.hostname:
        return True
    return host == next((one for one in (target.hostname, *list_wildcards(target.hostname)) if one in names), "")


def list_kept(host: HostOptions, namespace: str, named: Collection[tuple[Match, str]]) -> Iterator[Path]:
    """List the paths that are kept on a host; `named` are those that Pods name."""
    wanted = find_option(host.options, keep_paths.KEY.name)
    if not isinstance(wanted, KeepPaths):
        return
    for match, path in wanted.paths:
        if (match, path) not in named:
            yield Path(None, Upstream(name_upstream(namespace, match, path), namespace, match, path, (), None))


def close_for_everyone(options: Options) -> Options:
    """Give the options with a maintenance from which nobody is exempt."""
    return tuple(
        Option(one.name, replace(one.value, allow=())) if isinstance(one.value, Maintenance) else one for one in options
    )


def is_open(plain: Plain, tls: Tls | None, options: Options) -> bool:
    """Tell whether a host serves its paths to somebody."""
    resting = find_option(options, maintenance.KEY.name)
    everyone = isinstance(resting, Maintenance) and not resting.allow
    moved = find_option(options, host_redirect.KEY.name) is not None
    return not everyone and not moved and (tls is not None or plain in (Plain.SERVES, Plain.REDIRECTS))


def name_asked(host: HostOptions) -> tuple[str, ...]:
    """Name the options that only the owner of a host can ask for."""
    return tuple(one.name for one in host.options if HOST_KEYS[one.name] is not keep_paths.KEY)


def asks_sub_domains(options: Options) -> bool:
    """Tell whether browsers are to ask for all names below a host by https too."""
    return drop_sub_domains(options) != options


def drop_sub_domains(options: Options) -> Options:
    """Give the options with an hsts for the host alone."""
    return tuple(
        Option(one.name, replace(one.value, sub_domains=False, preload=False)) if isinstance(one.value, Hsts) else one
        for one in options
    )
