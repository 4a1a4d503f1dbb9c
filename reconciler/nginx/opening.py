"""The folder from which nginx serves releases: it is opened once, and its errors are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.disk.releases import Releases
from reconciler.loop.events import EndpointsRefused
from reconciler.loop.ports import EndpointsError, Tell
from reconciler.nginx.program import NginxError, find_reader
from reconciler.rendering.routes_file import ROUTES_FILE
from reconciler.settings import Settings


def open_releases(folder: Path, settings: Settings, hidden: tuple[str, ...]) -> Releases:
    """Open the folder for this process alone. NginxError if it is another's, or cannot be used."""
    try:
        if (folder / ROUTES_FILE).exists():
            raise NginxError(f"{folder}: holds an artefact; releases need a folder of their own")
        releases = Releases(folder, find_reader(settings.nginx_binary, hidden))
    except OSError as error:
        raise NginxError(f"{folder}: cannot be used: {error.strerror}") from None
    if not releases.mine:
        raise NginxError(f"{folder}: another dispatcher serves this folder")
    return releases


@contextmanager
def explaining(folder: Path, name: str, tell: Tell) -> Iterator[None]:
    """Turn an error of the disk into an NginxError that names the folder and the release.

    Tell at once that nginx does not take Pods: what is tried then can take long.
    """
    try:
        yield
    except EndpointsError as error:
        tell(EndpointsRefused(str(error)))
        raise
    except OSError as error:
        raise NginxError(f"{folder}: release {name} cannot be written: {error.strerror}") from None
