"""Unreadable answers of an API server: the daemon reports an error, and serves what it served before."""

from collections.abc import Callable

import pytest
from support.answers import Answer
from support.apiserver import ApiServer
from support.faults import answer_with
from support.objects import namespace, web
from support.running_daemon import RunningDaemon

_HEAD = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":['
_DEEP = b'{"metadata":{"name":"a","managedFields":' + b"[" * 200_000
# The deepest nesting differs between versions of Python; an array that is never closed is an error in all of them.
ANSWERS = {
    "nested too deeply": (_HEAD + _DEEP, " error   list pods: the answer is "),
    "nested too deeply, behind a wrong item": (
        _HEAD + b'{"metadata":1},' + _DEEP,
        " error   list pods: the answer is ",
    ),
    "no JSON, behind a wrong item": (_HEAD + b'{"metadata":1},{"metadata":{"name":"a"]}]}', "the answer is not JSON"),
    "no UTF-8, behind a wrong item": (_HEAD + b'{"metadata":1},{"metadata":{"name":"\xff"}}]}', "answer is not JSON"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_unreadable_answer(server: ApiServer, launch: Callable[..., RunningDaemon], port: int, case: str) -> None:
    """An unreadable answer is an error of one line; nginx serves as before until the next good answer."""
    body, told = ANSWERS[case]
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch()
    daemon.wait_until_serves("a.dev")
    server.fail(answer_with(Answer(200, (body,))), "/api/v1/*pods")
    daemon.wait_for_line(told)
    assert daemon.ask("a.dev") == 200
    server.mend()
    server.put(web("a", port, 3, "/new"))
    daemon.wait_for(lambda: daemon.ask("a.dev", "/new") == 200)
    assert daemon.count("Traceback") == 0
