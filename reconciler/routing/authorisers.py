"""Authorisers: who decides about the requests to a path on one host, and whether that Namespace serves them there."""

from collections.abc import Callable
from urllib.parse import quote

from msgspec.structs import replace

from reconciler.routing.annotations import Refused
from reconciler.routing.keys.catalogue import filter_passing
from reconciler.routing.keys.external_auth import NAME, Authoriser, ExternalAuth, SignIn
from reconciler.routing.keys.protocol import speaks_grpc
from reconciler.routing.model import Path
from reconciler.routing.options import Option, Options, find_option
from reconciler.values.messages import excerpt

# Gives the path of the same Namespace on the same host with this basePath, if there is one.
Find = Callable[[str], Path | None]


def appoint(options: Options, own: Path, find: Find) -> Options:
    """Give the options of a path with the authoriser on one host. Refused if nobody can decide there."""
    return tuple(
        Option(option.name, _appoint(option.value, own, find)) if isinstance(option.value, ExternalAuth) else option
        for option in options
    )


def _appoint(auth: ExternalAuth, own: Path, find: Find) -> ExternalAuth:
    asked = _find(auth.path, "path", find)
    if asked.upstream.name == own.upstream.name:
        raise Refused(f"{NAME}.path", "is the path itself", "another path, whose Pods decide")
    if speaks_grpc(asked.upstream.options):
        raise Refused(f"{NAME}.path", "speaks gRPC", "a path whose Pods speak HTTP")
    passing = filter_passing(asked.upstream.options)
    uri = _write(auth.path) if asked.target is None else asked.target
    authoriser = Authoriser(asked.upstream.name, uri, bool(asked.upstream.servers), passing)
    pages: tuple[SignIn, ...] = ()
    if auth.sign_in:
        page = _find(auth.sign_in, "signInPath", find)
        if find_option(page.upstream.options, NAME):
            raise Refused(f"{NAME}.signInPath", f"has {NAME} itself: nobody could sign in", "a path without it")
        pages = (SignIn(page.upstream.name, _write(auth.sign_in)),)
    return replace(auth, authorisers=(authoriser,), pages=pages)


def _find(path: str, part: str, find: Find) -> Path:
    found = find(path)
    if not found or found.upstream.closed:
        why = f"is {excerpt(path)}, which {'is closed' if found else 'the Namespace does not serve here'}"
        raise Refused(f"{NAME}.{part}", why, "a basePath of the Namespace on the same host, no regular expression")
    return found


def _write(path: str) -> str:
    return quote(path, errors="surrogateescape")
