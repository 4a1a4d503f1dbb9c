"""What the daemon talks to: it runs in its own network, in which the test sees every packet that leaves a socket."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# lo is the only interface and the default route: packets that would leave the machine are seen on it.
_NETWORK = 'ip link set lo up && ip route add default dev lo && ip -6 route add default dev lo && exec "$@"'
HELPERS = {"PYTHONPATH": str(Path(__file__).parent)}
ALONE = ["unshare", "--net", "sh", "-c", _NETWORK, "-"]


def can_be_alone() -> bool:
    """Tell whether a network can be made here: root may do it, unless a container forbids it."""
    return os.geteuid() == 0 and subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_be_alone(), reason="only root can make a network, with unshare and ip")


def test_nothing_but_the_api_server_is_contacted(tmp_path: Path) -> None:
    """From start to end, over changes and a lost API server, the daemon and nginx contact only the API server."""
    script = Path(__file__).parent / "support" / "network.py"
    run = subprocess.run(
        [*ALONE, sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | HELPERS,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["witness"] in seen["all"], "the packets that leave are not seen"
    assert seen["all"].pop(seen["witness"]) == 1
    assert set(seen["all"]) == {seen["api"]}
