"""The fuzzers' corpus, run without a fuzzer: inputs that broke something, or could have, break nothing today."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import fuzz_annotations
import fuzz_certificates
import fuzz_cluster
import fuzz_endpoints
import fuzz_published
import fuzz_recording
import pytest
from support.stages import render

from reconciler.disk.trees import write_files
from reconciler.nginx.program import check_tree, find_version
from reconciler.routing.model import RoutingTable

CORPUS = Path(__file__).parent / "fuzz" / "corpus"
TARGETS = {
    "annotations": fuzz_annotations,
    "certificates": fuzz_certificates,
    "cluster": fuzz_cluster,
    "endpoints": fuzz_endpoints,
    "published": fuzz_published,
    "recording": fuzz_recording,
}
Place = tuple[str, str, str]


def find_inputs(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_target(target: str) -> None:
    """Each input of the corpus passes the check of its target."""
    for path in find_inputs(target):
        try:
            TARGETS[target].check(path.read_bytes())
        except Exception as error:
            error.add_note(f"by {path}")
            raise


def build(tenants: list[tuple[str, bytes]]) -> RoutingTable:
    made = [item for name, data in tenants for item in fuzz_annotations.make_tenant(name, data)]
    return fuzz_annotations.build(fuzz_annotations.NEIGHBOUR + made, fuzz_annotations.SETTINGS)


def find_places(table: RoutingTable) -> set[Place]:
    """List the places that are taken: the hosts' locations, each of which only one Namespace can have."""
    return {
        (host.name, location.match.value, location.path) for host in table.routes.hosts for location in host.locations
    }


def group_tenants() -> list[list[tuple[str, bytes]]]:
    """Put the corpus' tenants into few clusters, so that no tenant takes a place that another one wants."""
    clusters: list[tuple[set[Place], list[tuple[str, bytes]]]] = []
    nobody = find_places(build([]))
    for number, path in enumerate(find_inputs("annotations")):
        tenant = (f"tenant-{number}", path.read_bytes())
        wanted = find_places(build([tenant])) - nobody
        taken, tenants = next((one for one in clusters if not one[0] & wanted), (set(), []))
        if not tenants:
            clusters.append((taken, tenants))
        taken |= wanted
        tenants.append(tenant)
    return [tenants for _, tenants in clusters]


def test_nginx_takes_it(nginx_binary: str, tmp_path: Path) -> None:
    """With all tenants of the corpus side by side in few clusters, nginx accepts the tree of each cluster."""
    settings = replace(fuzz_annotations.SETTINGS, nginx_version=find_version(nginx_binary))
    groups = group_tenants()
    assert sum(map(len, groups)) == len(find_inputs("annotations"))
    for number, tenants in enumerate(groups):
        table = build(tenants)
        fuzz_annotations.check_tree(table.routes, settings)
        write_files(render(table.routes, settings), tmp_path / str(number))
        check_tree(nginx_binary, tmp_path / str(number))


def read_seed(name: str) -> Any:
    return build([("attacker", (CORPUS / "annotations" / name).read_bytes())])


def test_corpus_reaches_the_tree() -> None:
    """More than a third of the corpus' tenants have an upstream: the checks do not pass by refusing everything."""
    served = [read_seed(path.name).routes.upstreams[1:] for path in find_inputs("annotations")]
    assert sum(map(bool, served)) > len(served) // 3


INJECTED = ("original-base-path-closes-its-block", "original-host-injects", "original-pod-ip", "cve-2021-25745")


@pytest.mark.parametrize("name", INJECTED)
def test_injection_is_told(name: str) -> None:
    """An injection known from other software is a problem of the object that holds it, and nothing of it is served."""
    table = read_seed(name)
    assert [problem for problem in table.problems if problem.resource.name in ("attacker", "pod")]
    assert not [place for place in find_places(table) if "stolen" in "".join(place)]
