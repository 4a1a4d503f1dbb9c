"""Run the daemon in a network where lo leads everywhere, watch each packet, and write the targets as JSON."""

import json
import os
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

from support.apiserver import ApiServer
from support.authority import Authority
from support.objects import namespace, secret, web
from support.running_daemon import RunningDaemon

WITNESS = ("192.0.2.1", 9)  # https://www.rfc-editor.org/rfc/rfc5737: an address that nobody has
_EVERY_PROTOCOL = 0x0003
_SYN_ALONE = 0x02


class Watch:
    """Counts the attempts to connect by TCP, and all packets of other protocols, by address and port."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
        self._socket.bind(("lo", _EVERY_PROTOCOL))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            packet, about = self._socket.recvfrom(65536)
            if about[2] == socket.PACKET_OUTGOING and (target := read_target(packet)):
                self.seen[target] += 1


def read_target(packet: bytes) -> str | None:
    """Name the target of a packet; None for TCP packets after the first one of a connection."""
    four = packet[0] >> 4 == 4
    protocol, at = (packet[9], (packet[0] & 15) * 4) if four else (packet[6], 40)
    address = socket.inet_ntop(*((socket.AF_INET, packet[16:20]) if four else (socket.AF_INET6, packet[24:40])))
    if protocol == socket.IPPROTO_TCP and packet[at + 13] & 0x17 != _SYN_ALONE:
        return None
    return f"{protocol} {address} {int.from_bytes(packet[at + 2 : at + 4])}"


def run_daemon(server: ApiServer, daemon: RunningDaemon) -> None:
    """Let the daemon serve, follow changes, lose the API server, find it again, and end."""
    server.load([namespace("a", {"a.dev": {}, "*.example.org": {}}), web("a", 3000), secret("a", api_key="x")])
    daemon.start()
    daemon.wait_for_line("applied")
    server.put(web("a", 3000, 3))
    daemon.wait_for_line("applied", 2)
    server.refuse()
    daemon.wait_for_line(" error   ")
    server.accept()
    server.delete("Pod", "a", "web-3")
    daemon.wait_for_line("applied", 3)
    assert daemon.end() == 0


def main(folder: Path) -> None:
    """Watch the network while the daemon runs."""
    watch = Watch()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as witness:
        witness.sendto(b"", WITNESS)
    authority = Authority(folder)
    with ApiServer(authority) as server:
        daemon = RunningDaemon(folder / "daemon", server, authority, HEALTH_PORT="0", ADMIN_PORT="0")
        try:
            run_daemon(server, daemon)
        finally:
            daemon.close()
        api = f"{socket.IPPROTO_TCP} 127.0.0.1 {server.port}"
    told = json.dumps({"witness": f"{socket.IPPROTO_UDP} 192.0.2.1 9", "api": api, "all": watch.seen})
    os.write(1, told.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
