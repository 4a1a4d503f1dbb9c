"""Answers of an API server that are not what was asked for: their status and message; and why no answer came."""

import json
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import TypeVar

import requests
import urllib3

from reconciler.cluster.connection import Connection
from reconciler.cluster.protobuf_pages import read_message
from reconciler.values.messages import excerpt

# http.client raises ValueError for a chunk with a negative length.
FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
_LONGEST_MESSAGE = 300  # of a Status; a service account's name alone may have 300 characters
_LONGEST_BODY = 65536
# https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
PROTOBUF = "application/vnd.kubernetes.protobuf"

Answered = TypeVar("Answered")


def is_protobuf(response: requests.Response) -> bool:
    """Tell whether an answer is in protobuf."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip() == PROTOBUF


class StatusError(Exception):
    """An answer whose status says that a request failed.

    `text` is one line for a person; `message` is that of the Status as it was sent, empty if there is none.
    """

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        reason = excerpt(response.reason or "")[1:-1]
        self.message = _read_message(response)
        said = f": {excerpt(self.message, _LONGEST_MESSAGE)}" if self.message else ""
        self.text = f"{self.status} {reason}{said}"
        self.retry_after = 0.0
        with suppress(ValueError):
            self.retry_after = max(0.0, float(response.headers.get("Retry-After", 0)))


def send_with_newest(connection: Connection, send: Callable[[], Answered]) -> Answered:
    """Send a request; after a 401 once more, if the credentials are renewed by then. StatusError if it is refused."""
    try:
        return send()
    except StatusError as error:
        if error.status != HTTPStatus.UNAUTHORIZED or not connection.renew(refused=True):
            raise
    return send()


def _read_message(response: requests.Response) -> str:
    """Read the message of a Status, if the answer is a Status."""
    with suppress(RecursionError, *FAILURES):
        body = response.raw.read(_LONGEST_BODY, decode_content=True)
        if is_protobuf(response):
            return read_message(body)
        status = json.loads(body or b"null")
        if isinstance(status, dict) and isinstance(status.get("message"), str):
            return str(status["message"])
    return ""
