"""A test API server in its own process, so that its work does not count as the benchmark's.

Its arguments are a folder and the number of Pods.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from fleet import make_objects
from support.apiserver import ApiServer
from support.authority import Authority
from support.objects import Object
from support.publishers import HOME, Site

_HERE = Path(__file__).parent


class RemoteApiServer:
    """Holds a cluster of `pods` Pods; a kubeconfig needs `url` and `pem`, the certificate of its authority.

    The tokens of publishers and routers have the rights that these need.
    """

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
        """Hold this object; it replaces an object of the same name."""
        self._ask({"put": given})

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Remove this object."""
        self._ask({"delete": [kind, namespace, name]})

    def count_ticks(self) -> int:
        """Count the cycles of the client: each begins with one request for Namespaces."""
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
    """Serve, and carry out the lines of standard input, until standard input ends."""
    authority = Authority(Path(sys.argv[1]))
    with ApiServer(authority) as server:
        server.load([*make_objects(int(sys.argv[2])), HOME])
        Site(server, authority, Path(sys.argv[1]))
        _write({"url": server.url, "pem": authority.pem.decode()})
        for line in sys.stdin:
            asked = json.loads(line)
            if "put" in asked:
                server.put(asked["put"])
            if "delete" in asked:
                server.delete(*asked["delete"])
            _write({"ticks": sum(one.path == "/api/v1/namespaces" for one in server.requests)})


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
