"""The page of the admin port in a real Chromium: what it says, that everyone can use it, that no text breaks it."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support import reports
from support.page_server import PageServer, read_page

pytest.importorskip("playwright", reason="playwright is not installed; `make test` installs it")

from playwright.sync_api import Browser, Page, expect
from support.browser import find_chromium, find_violations, start_browser
from support.status_picture import serve_walkthrough

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium: `.ci/setup chromium` installs it, as root or by sudo"
)

REPORTS: dict[str, Callable[[], reports.Report]] = {
    "small": reports.make_small,
    "empty": reports.make_empty,
    "hostile": reports.make_hostile,
    "large": reports.make_large,
}
WAYS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 740}},
}

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests of this file."""
    with start_browser(CHROMIUM or "") as running:
        yield running


@pytest.fixture
def site() -> Iterator[PageServer]:
    """Serve the page and the report of a small cluster."""
    server = PageServer(reports.make_small())
    yield server
    server.stop()


@pytest.fixture
def visit(browser: Browser, site: PageServer) -> Iterator[Visit]:
    """Open the page, and wait until it shows a report. When the test ends, nothing may have been refused by the CSP."""
    said: list[str] = []
    contexts = []

    def open_page(fragment: str = "", **way: Any) -> Page:
        contexts.append(browser.new_context(**way))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(site.url + fragment)
        expect(page.locator("#facts dl")).to_be_visible()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [line for line in said if not line.startswith("Failed to load resource")] == []


def update(page: Page) -> None:
    """Let the page ask the router now, as it does when its tab comes to the front."""
    with page.expect_response("**/status.json"):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def text_of(page: Page, part: str) -> str:
    return page.locator(part).inner_text()


@pytest.mark.parametrize("report", REPORTS)
def test_reports_are_as_a_router_writes_them(report: str) -> None:
    """What these tests show the page fits the schema of /status.json."""
    schema = json.loads((Path(__file__).parents[1] / "docs" / "status.schema.json").read_text())
    assert [
        error.message for error in Draft202012Validator(schema).iter_errors(reports.share_pods(REPORTS[report]()))
    ] == []


def test_page_needs_nothing_else() -> None:
    """The page names no other resource, has no handlers or styles in attributes, and never makes HTML from text."""
    page = read_page()
    assert set(re.findall(r"https?://[^\s\"'<>)]+", page)) == {"http://www.w3.org/2000/svg"}
    assert re.findall(r"\s(?:src|style|on[a-z]+)=", page) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|Function\(", page) == []
    assert re.findall(r"transition|animation|@keyframes|behavior:\s*smooth", page) == []


def test_what_one_sees_first(visit: Visit) -> None:
    """The first lines say what is served, since when, how far behind, from where, what is wrong, what ends next."""
    page = visit()
    assert text_of(page, "#state") == "✓ Serving every change of the cluster is served"
    facts = dict(
        zip(page.locator("#facts dt").all_inner_texts(), page.locator("#facts dd").all_inner_texts(), strict=True)
    )
    assert facts["Release serves since"].startswith("08:12:03\n")
    assert facts["Behind the cluster"].startswith("no\nread at 08:12:33 (")
    assert facts["Comes from"] == "live cluster\nthe cluster at https://10.96.0.1:443"
    assert facts["Problems"] == "▲ 2\n1 Namespace held back"
    assert facts["Certificates"] == "✕ 1 expired\nnext in ▲ 7 days: soon.example.com"
    assert facts["nginx"].endswith("36 MB\nPods change without a reload")
    assert facts["Release"] == "4d14143516aeda27c8c5630dbb22eaf2"
    assert page.title() == "✓ Serving · 2 problems · dispatcher"


def test_from_disk(visit: Visit, site: PageServer) -> None:
    """A release of a former process is told as such, and the age of the last good reading with its error."""
    read = {"read": "2026-03-02T07:02:34Z", "behind": 4200.0}
    site.report["serving"] |= {"state": "stale", "origin": "disk", "error": "it answers 503", **read}
    page = visit()
    assert text_of(page, "#state").startswith("▲ Serving an old state")
    assert "disk\nA former process served it." in text_of(page, "#facts")
    assert "▲ 1 h\nit answers 503" in text_of(page, "#facts")


@pytest.mark.parametrize(
    ("chosen", "why", "told"),
    [
        ("lua", "it is full", "\n▲ each change of Pods reloads it: it is full"),
        ("reload", "no module", "\neach change of Pods reloads it: no module"),
        ("reload", None, "\neach change of Pods reloads it"),
        (None, None, " 36 MB"),
    ],
)
def test_how_pods_come_and_go(visit: Visit, site: PageServer, chosen: str | None, why: str | None, told: str) -> None:
    """If a change of Pods reloads nginx, the page says so and why, unless a person chose that."""
    without = False if chosen else None
    site.report["nginx"]["endpoints"] = {"chosen": chosen, "without_reload": without, "why": why, "version": None}
    fact = visit().locator("#facts dl > div").filter(has_text="running")
    assert fact.locator("dd").inner_text().endswith(told)


def test_every_part_is_told(visit: Visit) -> None:
    """Problems, held Namespaces, routes, changes, reloads, certificates, answers and settings are all on the page."""
    page = visit()
    assert "Namespace frantic is held back" in text_of(page, "#problems")
    assert "github.com/30x.dispatcher.paths is not JSON\n\nExpected: a JSON array of entries" in text_of(
        page, "#problems"
    )
    assert re.search(
        r"/api\s+→ /v1\s+open\s+timeouts read 90s\s+access.allow 10.0.0.0/8\s+2 Pods", text_of(page, "#routes")
    )
    assert "hsts 8760h" in text_of(page, "#routes")
    assert "503: no Pod is ready" in text_of(page, "#routes")
    assert "TLS until 2026-03-10 00:00, clients need a certificate" in text_of(page, "#routes")
    assert "path shop.example.com/api (namespace shop, access open)" in text_of(page, "#changes")
    lines = page.locator("#changes ol > li > p:first-child").all_inner_texts()
    assert [line.endswith("without a reload") for line in lines[:3]] == [False, True, False]
    chart = page.locator("#reloads svg.chart").first
    assert chart.get_attribute("aria-label") == "write 10 ms, test 240 ms, load 80 ms"
    assert chart.locator("rect").count() == 3
    assert re.search(r"secure\.example\.com\s+2026-02-28 20:12\s+✕ expired", text_of(page, "#certificates"))
    assert re.search(r"secrets\s+▲ 403\s+812\s+71 kB", text_of(page, "#source"))
    assert re.search(r"PORT\s+8080\s+80", text_of(page, "#settings"))
    assert "SETTING_3" not in text_of(page, "#settings")
    page.locator("summary").click()
    assert re.search(r"SETTING_3\s+10\s+the same", text_of(page, "#settings"))


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("way", WAYS)
def test_all_people_can_use_it(visit: Visit, site: PageServer, way: str, report: str) -> None:
    """axe-core finds no violation, with Pods shown too, and nothing has to be scrolled sideways."""
    site.report = REPORTS[report]()
    page = visit(**WAYS[way])
    for button in page.get_by_role("button", name="Show all Pods").all():
        button.click()
    assert find_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("way", WAYS)
def test_all_people_can_use_it_in_trouble(visit: Visit, site: PageServer, way: str) -> None:
    """axe-core finds no violation while the router cannot be reached."""
    page = visit(**WAYS[way])
    site.stop()
    expect(page.locator("#state")).to_contain_text("No contact")
    assert find_violations(page) == []


def test_hostile_text_stays_text(visit: Visit, site: PageServer) -> None:
    """Markup in names is shown as it was written and makes no element; characters that turn text around are named."""
    site.report = reports.make_hostile()
    page = visit()
    page.get_by_role("button", name="Show all Pods").click()
    for text in reports.HOSTILE[:3]:
        assert text in text_of(page, "#routes")
        assert text in text_of(page, "#problems")
    assert page.locator("main").locator("script, img, [onclick], [onerror]").count() == 0
    assert "owned" not in page.title()
    assert "abc\\u202egnp.exe\\u202c\\u200b\\u0000" in text_of(page, "#routes")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00]", text_of(page, "main"))


@pytest.mark.parametrize("fragment", ["#find=%E0%A4%A", "#find=", "#find=<script>", "#x=1", "#problems"])
def test_hostile_links(visit: Visit, fragment: str) -> None:
    """Whatever stands in a link's fragment, the page shows the router."""
    page = visit(fragment)
    assert text_of(page, "#state").startswith("✓ Serving")


def test_finding(visit: Visit) -> None:
    """All words must be found in a row and the rows that it belongs to. A Pod that matches is shown without others."""
    page = visit()
    page.get_by_label("Find").fill("b.example web-b-2")
    assert "1 host, 1 path, 1 Pod found" in text_of(page, "#routes")
    assert page.locator("tr.pod").all_inner_texts() == ["web-b-2\t\t10.244.2.7:3000\t1"]
    assert "0 of 2" in text_of(page, "#problems")
    page.get_by_label("Find").fill("503")
    assert page.locator("tr.path").all_inner_texts() == ["/w\topen\t▲ 503: no Pod is ready\t"]


def test_finding_a_namespace(visit: Visit, site: PageServer) -> None:
    """A Namespace's name is a link that finds its routes and problems, and not those of a longer name."""
    site.report["hosts"].append(reports.make_host("other.example.com", "shop-2", ["/"], pods=1))
    page = visit()
    page.get_by_role("link", name="shop", exact=True).first.click()
    expect(page.get_by_label("Find")).to_have_value("namespace:shop")
    assert "2 hosts, 4 paths" in text_of(page, "#routes")
    page.go_back()
    expect(page.locator("#routes")).to_contain_text("5 hosts")


def test_link_can_be_shared(visit: Visit) -> None:
    """What one looks for stands in the address, and a page that is opened with this address finds the same."""
    page = visit()
    page.get_by_label("Find").fill("Shop /api")
    expect(page).to_have_url(re.compile(r"#find=shop\+%2Fapi$"))
    other = visit(page.url.partition("/#")[2] and "#" + page.url.partition("#")[2])
    assert other.get_by_label("Find").input_value() == "shop /api"
    assert "1 host, 1 path" in text_of(other, "#routes")


def test_update_keeps_the_place(visit: Visit, site: PageServer) -> None:
    """While rows come and go, scroll position, filter, focus, selection and what was opened stay as they are."""
    page = visit(viewport={"width": 1280, "height": 500})
    page.get_by_label("Find").fill("example")
    page.locator("summary").click()
    row = page.locator("tr.path", has_text="/b").get_by_role("button")
    row.press("Enter")
    page.evaluate("getSelection().selectAllChildren(document.querySelector('tr.pod th'))")
    selected = page.evaluate("getSelection().toString()")
    before = row.bounding_box()
    assert before
    assert page.evaluate("window.scrollY") > 0
    site.report["hosts"][:1] = [reports.make_host(f"a{number}.example.com", "a", ["/a"], 1) for number in range(9)]
    site.report["problems"].append(reports.make_problem("Pod", "a", "p", "example", "came"))
    update(page)
    expect(page.locator("#routes")).to_contain_text("a8.example.com")
    assert abs(row.bounding_box()["y"] - before["y"]) < 2
    assert row.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement === document.querySelector('tr.path button[aria-expanded=true]')")
    assert page.evaluate("getSelection().toString()") == selected != ""
    assert page.get_by_label("Find").input_value() == "example"
    assert page.locator("#settings details").get_attribute("open") is not None


def test_only_the_state_is_read_aloud(visit: Visit, site: PageServer) -> None:
    """One part is live for screen readers, and it does not change while only ages do."""
    page = visit()
    assert page.locator("[aria-live], [role=status], [role=alert]").evaluate_all("all => all.map(e => e.id)") == [
        "state"
    ]
    page.evaluate(
        "new MutationObserver(all => window.seen = (window.seen || 0) + all.length)"
        ".observe(document.getElementById('state'), {subtree: true, childList: true, characterData: true})"
    )
    fact = page.locator("#facts dl div").first
    expect(fact).not_to_have_text(fact.text_content() or "")
    assert page.evaluate("window.seen") is None
    site.report["serving"]["text"] = "something else"
    expect(page.locator("#state")).to_contain_text("something else")
    assert page.evaluate("window.seen")


def test_unchanged_report_is_not_sent_again(visit: Visit, site: PageServer) -> None:
    """The page asks only this server, and with the last answer's ETag."""
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_response(lambda answer: answer.status == 304):
        update(page)
    assert set(asked) == {f"{site.url}status.json"}
    first, *rest = [tag for path, tag in site.asked if path == "/status.json"]
    assert first is None
    assert all(rest)


def test_lost_and_found(visit: Visit, site: PageServer) -> None:
    """A router that is gone is told, and since when; what it said last stays, and is marked. Then it comes back."""
    page = visit()
    site.stop()
    expect(page.locator("#state")).to_have_text(
        re.compile(r"^✕ No contact with the router since 08:\d\d:\d\d: no connection. Everything below is from then.$")
    )
    assert "shop.example.com" in text_of(page, "#routes")
    assert "Behind the cluster\nunknown" in text_of(page, "#facts")
    assert page.title() == "✕ No contact with the router · dispatcher"
    site.start()
    expect(page.locator("#state")).to_contain_text("✓ Serving")
    assert page.locator("main.old").count() == 0


@pytest.mark.parametrize(
    ("status", "report", "why"),
    [
        (500, {}, "it answered with status 500"),
        (200, b'{"version": 1, "prog', "its answer was cut off or is no JSON"),
        (200, {"version": 2}, "it was updated and speaks another version: load this page again"),
    ],
)
def test_answers_that_are_none(visit: Visit, site: PageServer, status: int, report: object, why: str) -> None:
    """An answer that the page cannot use is told with the reason, and the last good one stays."""
    page = visit()
    site.status, site.report = status, report
    expect(page.locator("#state")).to_contain_text(why)
    assert "shop.example.com" in text_of(page, "#routes")


def test_ten_thousand_pods(visit: Visit, site: PageServer) -> None:
    """Of 10,000 Pods only one page of rows is in the document; each can be found, and pages can be turned."""
    site.report = reports.make_large()
    page = visit()
    assert "1,000 hosts, 2,000 paths, 10,000 Pods" in text_of(page, "#routes")
    page.get_by_role("button", name="Show all Pods").click()
    assert page.locator("#routes tr").count() < 110
    assert "Rows 1 to 100 of 13,000" in text_of(page, "#routes")
    following = page.get_by_role("button", name="Next")
    following.press("Enter")
    assert "Rows 101 to 200 of 13,000" in text_of(page, "#routes")
    first, second = page.locator("#routes tbody tr").all_inner_texts()[:2]
    assert first.startswith("host-7.example.com")
    assert second.startswith("▾/p1")
    assert page.evaluate("document.activeElement.textContent") == "Next"
    page.get_by_label("Find").fill("web-777-p1-3")
    assert page.locator("tr.pod").all_inner_texts() == ["web-777-p1-3\t\t10.244.3.7:3000\t1"]


def test_long_lists_come_in_parts(visit: Visit, site: PageServer) -> None:
    """Of many problems the first are shown, and a button shows more of them."""
    site.report["problems"] *= 200
    for number, problem in enumerate(copy.deepcopy(site.report["problems"])):
        site.report["problems"][number] = problem | {"name": f"p-{number}"}
    page = visit()
    assert page.locator("#problems li").count() == 21
    page.get_by_role("button", name="Show 100 more of 400").click()
    assert page.locator("#problems li").count() == 121


def test_keyboard(visit: Visit) -> None:
    """The skip link is first, each stop shows its focus, the order is that of the page, and there is no trap."""
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the problems"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "problems"
    stops = page.locator("a, button, input, summary").count()
    page.evaluate("document.activeElement.blur(); document.querySelector('.skip').focus()")
    tops = []
    for _ in range(stops - 1):
        page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
        tops.append(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert tops == sorted(set(tops))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement === document.body")


def test_structure(visit: Visit) -> None:
    """Landmarks, headings and tables say to a screen reader what the page is made of."""
    page = visit()
    for role in ("banner", "main", "contentinfo", "search"):
        assert page.get_by_role(role).count() == 1, role
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    assert headings[:2] == ["Problems", "Routes"]
    assert len(headings) == 7
    regions = page.get_by_role("region").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-labelledby') || e.ariaLabel)"
    )
    assert regions == ["Facts", *(f"{part}-title" for part in (
        "problems", "routes", "certificates", "changes", "reloads", "source", "settings"
    ))]  # fmt: skip
    table = page.get_by_role("table", name="Hosts, their paths, and the Pods of paths")
    assert table.get_by_role("columnheader").all_inner_texts() == ["Path or Pod", "Access", "Answered by", "Weight"]
    assert table.get_by_role("rowheader").count() == 10


@pytest.mark.parametrize("way", WAYS)
def test_real_router(browser: Browser, way: str) -> None:
    """A real router serves the page under its own policy, with what the walkthrough's tenants did well and wrong."""
    said: list[str] = []
    with serve_walkthrough() as url, browser.new_context(**WAYS[way]) as context:
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        expect(page.locator("#state")).to_contain_text("✓ Serving")
        assert "github.com/30x.dispatcher.paths is not JSON at line 1, column 19" in text_of(page, "#problems")
        assert re.search(
            r"test\.k8s\.local.*\s+.*/env\s+→ /nodejs/env/\s+with API key\s+3 Pods", text_of(page, "#routes")
        )
        assert "mtls.dev" in text_of(page, "#certificates")
        assert "host v6.example.com (namespace v6, listens plain)" in text_of(page, "#changes")
        assert page.locator("#reloads svg.chart").count() == 8
        assert find_violations(page) == []
        page.get_by_label("Find").fill("six-855f59d6c5-zsr5q")
        assert "1 host, 1 path, 1 Pod found" in text_of(page, "#routes")
    assert said == []
