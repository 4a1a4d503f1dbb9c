"""A fleet in small: the command that publishes, and routers that read; tests/bench/test_scale.py has a thousand."""

from pathlib import Path

from trial import Fleet, Site

PODS, ROUTERS, CHANGES = 400, 50, 4


def test_no_router_diverges(tmp_path: Path) -> None:
    """All routers read exactly what the cluster holds, after each change, and after another publisher took over."""
    with Site(tmp_path, PODS) as site, site.publishing() as publisher, Fleet(site, "published", ROUTERS, 0.5) as fleet:
        fleet.wait_for(site.churn.digest)
        for turn in range(CHANGES):
            if turn == CHANGES // 2:
                publisher.end()
                publisher.start("publish")
            site.churn.change()
            fleet.wait_for(site.churn.digest)
        (report,) = fleet.end()
    known = {digest for _, digest in site.churn.changes}
    for one in report.seen:
        assert not one.failures
        assert {digest for _, digest in one.digests[1:]} <= known
