"""Messages: text from outside, short, on one line, and harmless to a terminal; times."""

from collections.abc import Iterator
from datetime import UTC, datetime


def excerpt(text: str, longest: int = 60) -> str:
    """Quote outside text for a message: ASCII, at most `longest` characters between the quotation marks."""
    return ascii(text if len(text) <= longest else text[: longest - 3] + "...")


def escape(line: str) -> str:
    """Escape the control characters of a line, so that a terminal does not obey text that the line quotes."""
    return line if line.isprintable() else "".join(part if part.isprintable() else ascii(part)[1:-1] for part in line)


def defuse(text: str) -> str:
    """Break what runners of GitHub take for a command wherever it stands in a line that a job prints."""
    return text.replace("##[", "# #[")


def defuse_json(text: str) -> str:
    """Do the same with a text of JSON, which stays the same JSON: the sign can only stand in its strings."""
    return text.replace("##[", "#\\u0023[")


def write_time(moment: float) -> str:
    """Write a time, in seconds since the epoch, as Kubernetes does."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find_reason(error: BaseException) -> str:
    """Find the first cause of an error: libraries wrap it in texts with memory addresses, which differ each time."""
    causes: Iterator[BaseException | None] = iter(
        (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args)
    )
    below = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    if below:
        return find_reason(below)
    return getattr(error, "strerror", None) or excerpt(str(error)) or type(error).__name__
