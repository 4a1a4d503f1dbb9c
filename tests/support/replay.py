"""Recorded requests to an API server and its answers, which are sent again to the test API server."""

import http.client
import re
from pathlib import Path

from support.apiserver import TOKEN
from support.objects import FIXTURES

_FOLDED = re.compile(r"([\w+/]*)… \((\d+) bytes in all\)")


class Recording:
    """A recorded request and its answer. `token` takes the place of the recorded one."""

    def __init__(self, path: Path, token: str = TOKEN) -> None:
        asked, _, told = path.read_text().partition("\n\nHTTP/1.1 ")
        asked, _, content = asked.partition("\n\n")
        (line, *headers), (head, _, self.body) = asked.splitlines(), told.partition("\n\n")
        self.name, self.content = path.stem, _unfold(content)
        self.method, self.target, _ = line.split(" ")
        self.headers = dict(each.split(": ", 1) for each in headers)
        if "Authorization" in self.headers:
            self.headers["Authorization"] = f"Bearer {token}"
        self.status, *headers = head.splitlines()
        self.answered = [tuple(each.split(": ", 1)) for each in headers]

    def send(self, connection: http.client.HTTPConnection) -> tuple[http.client.HTTPResponse, str]:
        """Send the request; give the response and its body."""
        connection.putrequest(self.method, self.target, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        if self.content:
            connection.putheader("Content-Length", str(len(self.content)))
        connection.endheaders(self.content)
        response = connection.getresponse()
        return response, response.read().decode()


def find_recordings(folder: str) -> dict[str, Path]:
    """Find the recordings in a folder of fixtures, by name."""
    return {path.stem: path for path in (FIXTURES / folder).glob("*.http")}


def _unfold(content: str) -> bytes:
    """Give a request's body; where a long text in it was cut off, some text of the recorded length."""
    cut = _FOLDED.search(content)
    if cut:
        begun, end = content[: cut.start()], '"}}'
        size = int(cut[2]) - len(begun) - len(end)
        content = begun + ("eHh4" * (size // 4)).ljust(size, "=") + end
    return content.encode()
