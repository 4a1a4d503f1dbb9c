"""A tree whose Pods Lua chooses, read as one with nginx's own upstreams, so that it can be checked like those."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from reconciler.rendering.endpoints import STATE_FILE, read_state

Block = dict[str, Any]

_CODE = {
    "lua_package_path", "lua_package_cpath", "lua_shared_dict", "init_by_lua_block",
}  # fmt: skip
_DIGEST = 16  # digits of the digest of a path's rules, which goes before an upstream's name


def undo_lua(http: list[Block], folder: Path) -> list[Block]:
    """Give the blocks of `http` with upstreams, and without all that is there for Lua. Anything odd fails here."""
    state = folder / STATE_FILE
    if not state.exists():
        assert not [line for line in http if "lua" in line["directive"]]
        return http
    _, sets = read_state(state.read_text())
    kept = [_undo(block, sets) for block in http if not _is_code(block)]
    return [*kept, *_write_upstreams(sets)]


def _is_code(block: Block) -> bool:
    lines = [[line["directive"], *line["args"]] for line in block.get("block", ())]
    if block["directive"] == "upstream" and block["args"][0].startswith("_"):
        first, second, *rest = lines
        assert first == ["server", "0.0.0.1"]
        assert [word.strip() for word in second] == ["balancer_by_lua_block", 'require("pods").balance(ngx.var.pods)']
        assert {line[0] for line in rest} <= {"keepalive", "keepalive_timeout", "balancer_keepalive"}
        return True
    if ["listen", "unix:no-pods.sock"] in lines:
        assert [line[0] for line in lines] == ["listen", "access_log", "add_header", "return"]
        return True
    return block["directive"] in _CODE


def _undo(block: Block, sets: Mapping[str, str]) -> Block:
    """Give a block in which each location names its upstream in place of its Namespace's pool and its set."""
    if block["directive"] != "server":
        return block
    return {**block, "block": [_undo_location(line, sets) for line in block["block"]]}


def _undo_location(line: Block, sets: Mapping[str, str]) -> Block:
    named = [one["args"][1] for one in line.get("block", ()) if one["directive"] == "set" and one["args"][0] == "$pods"]
    if not named:
        assert not [one for one in line.get("block", ()) if "_pods." in "".join(one["args"])]
        return line
    (name,) = named
    assert name in sets
    namespace = name.partition(".")[2]
    lines = []
    for one in line["block"]:
        if one["args"][:1] != ["$pods"]:
            args = [word.replace(f"http://_pods.{namespace}", f"http://{name[_DIGEST:]}") for word in one["args"]]
            lines.append({**one, "args": args} if one["directive"] == "proxy_pass" else one)
    return {**line, "block": lines}


def _write_upstreams(sets: Mapping[str, str]) -> Iterator[Block]:
    for name, pods in sets.items():
        servers = [{"directive": "server", "args": _read_server(line)} for line in pods.splitlines()]
        yield {"directive": "upstream", "args": [name[_DIGEST:]], "block": servers}


def _read_server(line: str) -> list[str]:
    address, port, weight, *backup = line.split()
    host = f"[{IPv6Address(address)}]" if ":" in address else address
    return [f"{host}:{port}", *([f"weight={weight}"] if weight != "1" else []), "max_fails=0", *backup]
