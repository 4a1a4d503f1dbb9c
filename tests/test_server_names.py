"""nginx's hashes of server names: which names fit, tested with nginx."""

from pathlib import Path

from reconciler.loop.ports import RefusedError
from reconciler.nginx.program import check_tree
from reconciler.routing.server_names import Named, bucket_size, find_crowded, find_slots, hash_size


def hash_of(text: str) -> int:
    ((_, key, _),) = find_slots(text)
    return key


def own(names: list[str], owner: str = "a") -> list[Named]:
    return [Named(name, owner, find_slots(name)) for name in names]


def load(binary: str, folder: Path, names: list[str], size: int) -> bool:
    """Tell whether nginx builds its hash of these names at this size."""
    folder.mkdir()
    servers = "".join(f"server {{ listen 127.0.0.1:18080; server_name {name}; }}\n" for name in names)
    sizes = f"server_names_hash_max_size {size};\nserver_names_hash_bucket_size {bucket_size(max(map(len, names)))};\n"
    # A plain user may not write to nginx's default folders.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "access_log off;\n" + "".join(f"{kind}_temp_path {kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(f"pid nginx.pid;\nevents {{}}\nhttp {{\n{places}{sizes}{servers}}}\n")
    try:
        check_tree(binary, folder)
    except RefusedError as error:
        assert "could not build server_names_hash" in str(error)
        return False
    return True


def test_only_what_would_stop_nginx_is_crowded(tmp_path: Path, nginx_binary: str) -> None:
    """Names that collide only at the hash's size stop nginx; without the crowded names nginx starts."""
    size, end = 512, ".".join(["", "x" * 60, "x" * 60, "x" * 60, "com"])
    shift, rest = 31 ** len(end), hash_of(end)  # so that the long end is hashed once
    prefixes = [
        text for text in map("h{:x}".format, range(0, 2**40, 2**22 + 3)) if (hash_of(text) * shift + rest) % size == 7
    ]
    names = [prefix + end for prefix in prefixes][:450]
    assert {hash_of(name) % size for name in names} == {7}
    # No hash alone fills a bucket: only the size brings the names together.
    assert not [*find_crowded(own(names), 2**64)]
    crowded = {*find_crowded(own(names), size)}
    assert 0 < len(crowded) < len(names)
    assert not load(nginx_binary, tmp_path / "all", names, size)
    assert load(nginx_binary, tmp_path / "fitting", [name for name in names if name not in crowded], size)


def test_nobody_pushes_anothers_name_out() -> None:
    """If one owner's names overfill a bucket, this owner loses names; owners with few names there keep theirs."""
    place = ("", 7, "x" * 200)
    flood = [Named(f"evil-{number}", "evil", (("", 7, f"{number:0200}"),)) for number in range(400)]
    guests = [Named(f"guest-{number}", "guest", (("", 7, f"{number:0199}"),)) for number in range(3)]
    crowded = [*find_crowded([*flood, *guests, Named("victim", "victim", (place,))], 512)]
    assert crowded == [f"evil-{number}" for number in range(400 - len(crowded), 400)]
    assert len(crowded) > 100


def test_ordinary_names_are_never_crowded() -> None:
    """Ten thousand ordinary names fit."""
    names = [f"{prefix}team-{number}.example.com" for number in range(5000) for prefix in ("", "*.")]
    assert not [*find_crowded(own(names), hash_size(len(names)))]
