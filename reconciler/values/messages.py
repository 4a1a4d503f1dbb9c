"""Messages: text from outside, short, on one line, and harmless to a terminal; times."""

from datetime import UTC, datetime


def excerpt(text: str, longest: int = 60) -> str:
    """Quote outside text for a message: ASCII, at most `longest` characters between the quotation marks."""
    return ascii(text if len(text) <= longest else text[: longest - 3] + "...")


def escape(line: str) -> str:
    """Escape the control characters of a line, so that a terminal does not obey text that the line quotes."""
    return line if line.isprintable() else "".join(part if part.isprintable() else ascii(part)[1:-1] for part in line)


def write_time(moment: float) -> str:
    """Write a time, in seconds since the epoch, as Kubernetes does."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
