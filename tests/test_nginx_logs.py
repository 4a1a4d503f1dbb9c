"""What reads nginx's logs: nobody's slowness, end or absence keeps nginx from answering, and what is lost is told."""

import fcntl
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from support.apiserver import ApiServer
from support.objects import namespace, pod, web
from support.pods import DECLARED, HOST, entry
from support.router import Router
from support.running_daemon import RunningDaemon, wait_until

from reconciler.loop import events
from reconciler.nginx import drain
from reconciler.nginx.logs import NginxLogs
from reconciler.nginx.program import NginxError
from reconciler.settings import read_settings

Start = Callable[..., Router]
Launch = Callable[..., RunningDaemon]


def find_readers(of: int) -> list[psutil.Process]:
    """Find the processes that read nginx's logs for a process."""
    return [one for one in psutil.Process(of).children() if any("drain.py" in part for part in one.cmdline())]


def await_reader(of: int) -> psutil.Process:
    """Wait for the one reader of a process; while a process replaces its program, it has no command line."""
    found: list[psutil.Process] = []
    wait_until(lambda: found.extend(find_readers(of)) or found)
    (reader,) = found
    return reader


@pytest.fixture
def logging(router: Start, ips: list[str]) -> Router:
    here = router(ACCESS_LOG="json", ADMIN_PORT="1", REQUEST_METRICS="on", ACCESS_LOG_QUERY="true")
    here.serve(namespace("a", {HOST: {}}), pod("a", "web-0", ips[0], [entry("/api")], DECLARED))
    return here


def told(router: Router, kind: type) -> list[events.Event]:
    return [event for event in router.events if isinstance(event, kind)]


def launch_into(launch: Launch, out: str) -> RunningDaemon:
    """Start a daemon whose standard output leads elsewhere; `lines` is its standard error."""
    settings = {"ACCESS_LOG": "json", "ACCESS_LOG_QUERY": "true"}
    daemon = launch("--version", **settings)
    daemon.end()
    daemon.before = ("sh", "-c", f'exec "$@" {out}', "sh")
    daemon.start(**settings)
    return daemon


def flood(daemon: RunningDaemon) -> None:
    """Send requests until the loss of lines is told; all of them must be answered."""
    while not daemon.count("lines of the access log are lost"):
        assert all(daemon.ask("a.dev", "/?" + "x" * 7000) == 200 for _ in range(50))


def test_stuck_standard_output(tmp_path: Path, server: ApiServer, launch: Launch, port: int) -> None:
    """If nobody reads standard output, all requests are answered, the loss is told once, and reloads go on."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    os.mkfifo(tmp_path / "stuck")
    reader = os.open(tmp_path / "stuck", os.O_RDWR)
    daemon = launch_into(launch, f">{tmp_path}/stuck")
    daemon.wait_until_serves("a.dev")
    flood(daemon)
    server.put(web("a", port, path="/new"))
    daemon.wait_for(lambda: daemon.ask("a.dev", "/new") == 200)
    assert daemon.end() == 0
    assert daemon.count("lines of the access log are lost") == 1
    assert daemon.count("lines of the access log were lost") == 1
    os.close(reader)


@pytest.mark.parametrize("out", [">/dev/full", "</dev/null >&0"])
def test_standard_output_that_takes_nothing(server: ApiServer, launch: Launch, port: int, out: str) -> None:
    """If standard output is on a full disk or cannot be written, requests are answered, and the loss is told."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch_into(launch, out)
    daemon.wait_until_serves("a.dev")
    flood(daemon)
    assert daemon.end() == 0


def test_closed_standard_output(server: ApiServer, launch: Launch, port: int) -> None:
    """If standard output is closed, requests are answered and counted all the same."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch_into(launch, ">&-")
    daemon.wait_until_serves("a.dev")
    assert all(daemon.ask("a.dev") == 200 for _ in range(50))
    assert daemon.end() == 0
    assert not daemon.count("lines of the access log") and not daemon.count("Traceback")


def test_ended_reader(logging: Router) -> None:
    """If the reader is killed, requests are answered, it is started again and told, and later lines are logged."""
    reader = await_reader(os.getpid())
    reader.kill()
    for _ in range(20):
        assert logging.ask(HOST, "/api").status == 200
    wait_until(lambda: told(logging, events.LogReaderEnded) and find_readers(os.getpid()))
    before = len(told(logging, events.RequestsCounted))
    logging.ask(HOST, "/api")
    wait_until(lambda: len(told(logging, events.RequestsCounted)) > before)


def test_stopped_reader(logging: Router) -> None:
    """A reader that does not run for ten seconds is replaced, so that nginx waits no longer than that."""
    reader = await_reader(os.getpid())
    reader.suspend()
    wait_until(lambda: told(logging, events.LogReaderEnded) and find_readers(os.getpid()))
    assert not psutil.pid_exists(reader.pid)
    assert logging.ask(HOST, "/api").status == 200


def test_killed_daemon(server: ApiServer, launch: Launch, port: int) -> None:
    """If the daemon is killed, its nginx answers on without a reader, and the next daemon logs again."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch(ACCESS_LOG="json")
    daemon.wait_until_serves("a.dev")
    assert daemon.process
    reader = await_reader(daemon.process.pid)
    daemon.end(signal.SIGKILL)
    reader.wait(30)
    assert all(daemon.ask("a.dev") == 200 for _ in range(30))
    daemon.start()
    daemon.wait_for(lambda: daemon.ask("a.dev", "/after") == 200 and daemon.count('"path":"/after"'))
    assert daemon.end() == 0


def test_stopped_daemon(server: ApiServer, launch: Launch, port: int) -> None:
    """While the daemon itself is stopped, requests are answered, however many."""
    server.load([namespace("a", {"a.dev": {}}), web("a", port)])
    daemon = launch(ACCESS_LOG="json", REQUEST_METRICS="on", ACCESS_LOG_QUERY="true")
    daemon.wait_until_serves("a.dev")
    assert daemon.process
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        assert all(daemon.ask("a.dev", "/?" + "x" * 7000) == 200 for _ in range(400))
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert daemon.end() == 0
    assert sum(line.startswith('{"time"') and "xxxxxxx" in line for line in daemon.lines) == 400


def test_folder_that_holds_another_file(tmp_path: Path, router: Start) -> None:
    """A file of the pipe's name, as an artefact's nginx leaves, makes way; a folder is refused in one line."""
    (tmp_path / "router-0").mkdir()
    (tmp_path / "router-0" / "access.log").write_text("old\n")
    here = router(ACCESS_LOG="json")
    assert (here.folder / "access.log").is_fifo()
    (tmp_path / "router-1" / "access.log").mkdir(parents=True)
    with pytest.raises(NginxError, match=r"router-1: nginx's logs cannot be read: Is a directory"):
        router(ACCESS_LOG="json")


def test_logs_that_are_turned_off(logging: Router) -> None:
    """If the next process has no logs, it still serves the last release, which has some, and has no reader."""
    logging.settings = replace(logging.settings, access_log="off", request_metrics=False)
    logging.restart()
    assert logging.ask(HOST, "/api").status == 200
    assert not find_readers(os.getpid())
    assert (logging.folder / "access.log").readlink() == Path(os.devnull)
    logging.settings = replace(logging.settings, access_log="json", request_metrics=True)
    logging.restart()
    assert logging.ask(HOST, "/api").status == 200
    assert (logging.folder / "access.log").is_fifo()


def test_reader_in_the_sandbox(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The reader cannot read the folder of the token either, and passes lines on all the same."""
    (tmp_path / "token").mkdir()
    settings = read_settings({"ACCESS_LOG": "combined", "REQUEST_METRICS": "on", "ADMIN_PORT": "1"})
    told: list[events.Event] = []
    logs = NginxLogs(tmp_path, settings, told.append, (str(tmp_path / "token"),))
    logs.start()
    (tmp_path / "access.log").write_bytes(b"one\ntwo\n")
    (tmp_path / "requests.log").write_bytes(b"a 204 0.001\n")
    reader = await_reader(os.getpid())
    wait_until(lambda: "NoNewPrivs:\t1" in Path(f"/proc/{reader.pid}/status").read_text())
    logs.stop()
    assert capfd.readouterr().out == "one\ntwo\n"
    (counted,) = told
    assert isinstance(counted, events.RequestsCounted)
    assert counted.tallies["a"].classes == (0, 1, 0, 0, 0)
    assert not find_readers(os.getpid())


# The reader's parts


def test_broken_lines_of_json() -> None:
    """What is not ASCII is escaped, a missing status is 0, and a line that another one cut is left out and counted."""
    line = b'{"time":"t","status":200,"agent":"a"}\n'
    assert drain.mend_json(line * 3) == (line * 3, 0)
    odd = '{"time":"t","status":000,"agent":"\x7f\u20ac\U0001f600"}\n'.encode() + b'{"time":"\xff"}\n'
    mended, lost = drain.mend_json(odd)
    first, second = map(json.loads, mended.splitlines())
    assert (first["status"], first["agent"], second["time"], lost) == (0, "\x7f\u20ac\U0001f600", "\ufffd", 0)
    assert drain.mend_json(line[:20] + line + line[20:] + line) == (line, 2)
    assert drain.mend_json(line[:20] + line) == (b"", 1), "the rest of the first line comes later"


def test_hurried_lines_of_json() -> None:
    """If there is no time to lose, each byte of a client that is not printable ASCII becomes a question mark."""
    odd = '{"time":"t","status":000,"agent":"\x7f\u20ac"}\n'.encode() + b'{"time":"\xff"}\n'
    mended, lost = drain.mend_json(odd, hurried=True)
    assert mended == b'{"time":"t","status":0,"agent":"????"}\n{"time":"?"}\n'
    assert lost == 0


@pytest.mark.parametrize("room", [1 << 16, 1 << 20])
def test_full_pipe_is_told(room: int) -> None:
    """Whoever takes lines learns that a pipe was full, whatever room it has; then nginx waits or is about to."""
    read, write = os.pipe2(os.O_NONBLOCK)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, room)
    taken: list[bool] = []
    pipe = drain.Pipe(read, lambda _, hurried: taken.append(hurried), lambda _: None)
    os.write(write, b"x\n")
    assert pipe.read()
    os.write(write, b"x\n" * (room // 2))
    assert pipe.read()
    assert taken == [False, True]
    os.close(read)
    os.close(write)


def test_pieces_become_lines(tmp_path: Path) -> None:
    """A line that arrives in pieces is passed on whole; one without an end is dropped when it is too long."""
    read, write = os.pipe2(os.O_NONBLOCK)
    taken: list[bytes] = []
    dropped: list[int] = []
    pipe = drain.Pipe(read, lambda lines, _: taken.append(lines), dropped.append)
    assert not pipe.read()
    for piece in (b"a\nb", b"c", b"d\ne"):
        os.write(write, piece)
        assert pipe.read()
    assert taken == [b"a\n", b"bcd\n"]
    for _ in range(10):
        os.write(write, b"x" * 60000)
        pipe.read()
    assert sum(dropped) >= 1
    os.close(read)
    os.close(write)


def test_output_that_is_stuck() -> None:
    """A stuck output takes four million bytes; further lines are dropped and counted, and closing does not wait."""
    read, write = os.pipe()
    output = drain.Output(write)
    for _ in range(50):
        output.put(b"x" * 99_999 + b"\n")
    assert 5 <= output.take_lost() <= 12
    assert output.take_lost() == 0
    output.close(0.0)
    os.close(read)  # the thread's write ends with an error
    output.close(20.0)
    os.close(write)
