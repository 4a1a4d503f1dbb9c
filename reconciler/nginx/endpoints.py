"""Changes the Pods of a running nginx without a reload: speaks to templates/lua/pods.lua on the release's unix socket.

Only one process may do this at a time: whoever holds the folder's lock.
"""

import re
from pathlib import Path

from reconciler.loop.ports import EndpointsError
from reconciler.nginx.proof import exchange
from reconciler.rendering.endpoints import LOCATION, Change, UnwritableError, write_parts
from reconciler.status.figures import Standing
from reconciler.values.messages import excerpt

# A part takes a worker some milliseconds. It may have to wait for a CPU.
_TIMEOUT = 5.0
_ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) .*?\r\n\r\n([^\r\n]{1,300})\n", re.DOTALL)
_VERSION = re.compile(r"(?:refused: )?version ([0-9]{1,12}) tried ([0-9]{1,12})")
_STANDING = re.compile(_VERSION.pattern + " unknown ([0-9]+) empty ([0-9]+) errors ([0-9]+) free ([0-9]+)")
_OK, _CONFLICT = 200, 409
_LONGEST = 250  # of a line that is told


class OutdatedError(EndpointsError):
    """A change is based on another version than the present one."""

    def __init__(self, version: int) -> None:
        super().__init__(f"nginx has version {version} of the Pods, and the change is for another one")


def read_standing(folder: Path, timeout: float = _TIMEOUT) -> Standing:
    """Ask the nginx that runs in a folder which version of the Pods it serves. EndpointsError if it does not answer.

    `timeout` is in seconds, for each step.
    """
    status, line = _request(folder, f"GET {LOCATION} HTTP/1.0\r\n\r\n".encode(), timeout)
    found = _STANDING.fullmatch(line)
    if status != _OK or not found:
        raise EndpointsError(f"nginx does not tell its version of the Pods: {excerpt(line, _LONGEST)}")
    return Standing(*map(int, found.groups()))


def post_change(folder: Path, change: Change, base: int) -> int:
    """Change the Pods of the nginx that runs in a folder, and give the new version.

    From then on no worker begins a request with older Pods. After EndpointsError nothing has changed, unless nginx did
    not answer the last part: the version that it serves then tells. OutdatedError if `base` is not that version.
    """
    standing = read_standing(folder)
    if standing.version != base:
        raise OutdatedError(standing.version)
    version = max(standing.version, standing.tried) + 1
    try:
        parts = write_parts(change, base, version)
    except UnwritableError as error:
        raise EndpointsError(str(error)) from None
    said = ""
    for part in parts:
        said = _post(folder, part.encode())
    found = _VERSION.fullmatch(said)
    if not found or int(found[1]) != version:
        raise EndpointsError(
            f"nginx does not tell that it took version {version} of the Pods: {excerpt(said, _LONGEST)}"
        )
    return version


def _post(folder: Path, part: bytes) -> str:
    status, line = _request(folder, f"POST {LOCATION} HTTP/1.0\r\nContent-Length: {len(part)}\r\n\r\n".encode() + part)
    if status == _CONFLICT and (found := _VERSION.fullmatch(line)):
        raise OutdatedError(int(found[1]))
    if status != _OK:
        raise EndpointsError(f"nginx does not take a change of Pods: {excerpt(line, _LONGEST)}")
    return line


def _request(folder: Path, request: bytes, timeout: float = _TIMEOUT) -> tuple[int, str]:
    """Send a request, and give the status and the line of the answer."""
    try:
        answer = exchange(folder, request, timeout)
    except OSError as error:
        reason = "it takes too long" if isinstance(error, TimeoutError) else error.strerror
        raise EndpointsError(f"nginx does not answer about its Pods: {reason}") from None
    found = _ANSWER.fullmatch(answer)
    if not found:
        raise EndpointsError(f"nginx does not answer about its Pods: {excerpt(answer.decode('ascii', 'replace'))}")
    return int(found[1]), found[2].decode("ascii", "replace")
