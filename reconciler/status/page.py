"""The page for people: one document, with the policy that lets a browser run nothing but its own script and style."""

from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from http import HTTPStatus
from importlib.resources import files

from reconciler.status.answers import NO_CONTENT, HttpAnswer

_FILE = "page.html"


class _Parts(HTMLParser):
    """Collects the text of a document's inline scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        """Begin a text if this is a script or a style."""
        if tag in self.texts:
            self._inside = tag
            self.texts[tag].append("")

    def handle_data(self, data: str) -> None:
        """Add to the text."""
        if self._inside:
            self.texts[self._inside][-1] += data

    def handle_endtag(self, tag: str) -> None:
        """End a text."""
        if tag == self._inside:
            self._inside = ""


def read_page() -> HttpAnswer | None:
    """Read the page; None if the package has none."""
    path = files(__package__) / _FILE
    if not path.is_file():
        return None
    content = path.read_bytes()
    return HttpAnswer(HTTPStatus.OK, content, "text/html; charset=utf-8", write_policy(content.decode()))


def write_policy(document: str) -> str:
    """Write the Content-Security-Policy of a document.

    It allows its inline scripts and styles by their hashes, images inside of it, and requests to this server only.
    https://www.w3.org/TR/CSP3/#external-hash
    """
    parts = _Parts()
    parts.feed(document)
    parts.close()
    allowed = [f"{tag}-src {' '.join(_hash(text) for text in texts)}" for tag, texts in parts.texts.items() if texts]
    return "; ".join([NO_CONTENT, "connect-src 'self'", "img-src data:", *allowed])


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
