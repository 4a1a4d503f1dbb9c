"""The main job without a cluster: the recorded story through a real nginx, with real servers for its Pods."""

import argparse
import math
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from support.authority import Authority
from support.backends import Backends
from support.ports import free_port
from support.router import Answer, Router
from support.story import STORY, Ask, Stage, name_recording

from reconciler import __version__
from reconciler.loop.events import Applied, Idle, Started
from reconciler.loop.ports import SinkError, Tell
from reconciler.modes.observers import tell_all
from reconciler.modes.reception import Reception
from reconciler.nginx.program import find_binary
from reconciler.settings import describe_settings
from reconciler.status.health import Health
from reconciler.status.log import Log


def main() -> None:
    """Play the story; with --keep, go on serving its last step until a signal comes."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="go on serving until a signal comes")
    keep = parser.parse_args().keep
    binary = find_binary("nginx")
    if not binary:
        sys.exit("dispatcher: error: nginx is missing")
    with tempfile.TemporaryDirectory(prefix="dispatcher-demo-") as folder, Backends() as backends:
        environment = {"NGINX_WORKER_CONNECTIONS": "256"} | ({"ADMIN_PORT": str(free_port())} if keep else {})
        router = Router(Path(folder) / "router", binary, Authority(Path(folder)), environment)
        reception = Reception(router.settings, Health(math.inf))
        tell = tell_all(reception.observers)
        tell(Started(__version__, describe_settings(environment), "the recorded story"))
        try:
            with ExitStack() as stack:
                reception.open(stack, router.settings, router.nginx.read_figures)
                play(router, Stage(backends), tell)
                if keep:
                    tell_how_to_ask(router)
                    signal.sigwait([signal.SIGINT, signal.SIGTERM])
        finally:
            router.stop()


def play(router: Router, stage: Stage, tell: Tell) -> None:
    """Play each step: show what the loop did, then what requests got."""
    log = Log(sys.stdout, "text")
    sys.stdout.write("Servers on 127.0.0.0/8 and ::1 stand in for the recorded Pods.\n\n")
    for step, asks in STORY.items():
        last = router.last
        cycle = router.serve(*stage.read(step))
        log.tell_recording(name_recording(step), cycle, last)
        for event in [*router.events, Applied(cycle, last) if cycle.applied else Idle(cycle, last)]:
            tell(event)
        router.events.clear()
        for ask in asks:
            show(ask, list(stage.ask(router, ask)))
        sys.stdout.write("\n")


def show(ask: Ask, answers: list[tuple[Answer | None, str]]) -> None:
    """Show a request, its answer and the Pods that answered."""
    answer = answers[-1][0]
    status = f"{answer.status}" if answer else "closed"
    names = sorted({name for _, name in answers if name})
    pods = f"  by {shorten(names)}" if names else ""
    key = f"  key {ask.key!r}" if ask.key else ""
    arrived = f", as {answer.told['uri']}" if answer and pods and ask.sent else ""
    request = f"{'https' if ask.tls else 'http'}://{ask.host}{ask.uri}{key}"
    sys.stdout.write(f"    {status:>6}  {request:<55}{pods}{arrived}".rstrip() + "\n")


def shorten(names: list[str]) -> str:
    """Name Pods briefly: their Namespace once, then the part of each name that differs."""
    namespace = names[0].partition("/")[0]
    parts = [name.partition("/")[2] for name in names]
    return f"{namespace}: " + " ".join(f"...{part[-5:]}" if part.count("-") > 1 else part for part in parts)


def tell_how_to_ask(router: Router) -> None:
    """Show how to send your own requests."""
    lines = (
        f"nginx goes on serving the last step on port {router.port} (TLS: {router.ssl_port}). Ctrl-C ends it. Try:",
        f"  curl -i http://127.0.0.1:{router.port}/nodejs -H 'Host: b.example.com'",
        f"  curl -i http://127.0.0.1:{router.port}/nodejs -H 'Host: test.k8s.local'",
        f"  curl -i http://127.0.0.1:{router.port}/nodejs -H 'Host: test.k8s.local' "
        "-H 'X-ROUTING-API-KEY: cm90YXRlZC1zZWNyZXQ='",
        f"  curl -ik https://secure.dev:{router.ssl_port}/ --resolve secure.dev:{router.ssl_port}:127.0.0.1",
        f"  http://127.0.0.1:{router.settings.admin_port}/, the page on which the router tells about itself",
        f"  less {router.folder / 'current' / 'nginx.conf'}",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM] if "--keep" in sys.argv else [])
    try:
        main()
    except SinkError as error:
        sys.exit(f"dispatcher: error: {error}")
