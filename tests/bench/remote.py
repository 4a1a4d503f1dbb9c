"""A test API server in a process of its own, so that its work is not the bench's: run with a folder and a size."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from fleet import make_objects
from support.apiserver import ApiServer
from support.authority import Authority
from support.objects import Object

_HERE = Path(__file__).parent


class RemoteApiServer:
    """Holds a cluster of so many Pods; `url` and `pem` (of its authority) are what a kubeconfig wants."""

    def __init__(self, folder: Path, pods: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, folder, str(pods)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": f"{_HERE}:{_HERE.parent}"},
        )  # fmt: skip
        told = self._read()
        self.url: str = told["url"]
        self.pem = told["pem"].encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin
            process.stdin.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def put(self, given: Object) -> None:
        """Hold this object, in place of one of its name."""
        self._ask({"put": given})

    def count_ticks(self) -> int:
        """Count the cycles of whoever asks: each begins with one request for Namespaces."""
        return int(self._ask({})["ticks"])

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(question)}\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        return dict(json.loads(self._process.stdout.readline()))


def main() -> None:
    """Serve, and do what lines on standard input ask for, until it ends."""
    authority = Authority(Path(sys.argv[1]))
    with ApiServer(authority) as server:
        server.load(make_objects(int(sys.argv[2])))
        _write({"url": server.url, "pem": authority.pem.decode()})
        for line in sys.stdin:
            if given := json.loads(line).get("put"):
                server.put(given)
            _write({"ticks": sum(one.path == "/api/v1/namespaces" for one in server.requests)})


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
