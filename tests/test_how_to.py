"""The how-to pages: their manifests are routed, their jobs are valid, and their commands run as they are written."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.authority import Authority
from support.backends import Backends
from support.command import COMMAND, environment
from support.objects import HOSTS, namespace, pod, secret
from support.pages import read_block, read_blocks
from support.pods import DECLARED, HOST, entry
from support.ports import free_port, loopback
from support.router import Router
from support.workloads import run_pods

Start = Callable[..., Router]


def run_shell(script: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a page in a folder, as CI does: it ends at the first command that fails.

    Its output goes to files, because an nginx that it starts keeps the output open.
    """
    path = f"{COMMAND.parent}:{os.environ['PATH']}:/usr/sbin"
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        done = subprocess.run(
            ["sh", "-ec", script], cwd=folder, env={**environment(**settings), "PATH": path, "HOME": str(folder)},
            stdout=to_out, stderr=to_err, check=False, timeout=60,
        )  # fmt: skip
    return subprocess.CompletedProcess(done.args, done.returncode, out.read_text(), err.read_text())


def write_manifests(folder: Path, path: str) -> None:
    """Write a Namespace and a Pod with one path as manifests."""
    folder.mkdir(parents=True)
    objects = [namespace("shop", {HOST: {}}), pod("shop", "web-0", "10.244.0.9", [entry(path)], DECLARED)]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(objects))


@pytest.fixture
def branch(tmp_path: Path) -> Path:
    """Make a folder as the jobs find it: manifests, and those of the branch to merge into in base/."""
    write_manifests(tmp_path / "manifests", "/new")
    write_manifests(tmp_path / "base/manifests", "/old")
    return tmp_path


# CI


def join_github() -> str:
    """Join the commands of the GitHub job, as its runner runs them one after the other."""
    job = yaml.safe_load(read_block("how-to/ci.md", "github"))["jobs"]["routes"]
    assert job["container"]["image"].partition("/")[2].startswith("dispatcher:")
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


def join_gitlab() -> str:
    """Join the commands of the GitLab job."""
    jobs = yaml.safe_load(read_block("how-to/ci.md", "gitlab"))
    assert jobs["routes"]["needs"] == ["routes-base"]
    return "\n".join(jobs["routes"]["script"])


@pytest.mark.parametrize("join", [join_github, join_gitlab])
def test_ci_job(join: Callable[[], str], branch: Path) -> None:
    """The job shows what would change, and makes an artefact."""
    done = run_shell(join(), branch, GITHUB_STEP_SUMMARY=str(branch / "summary.md"))
    assert done.returncode == 0, done.stderr
    changes = (branch / "changes.txt").read_text()
    assert f"+ path {HOST}/new" in changes
    assert f"- path {HOST}/old" in changes
    assert (branch / "router/nginx.conf").is_file()
    if join is join_github:
        assert changes in (branch / "summary.md").read_text()


@pytest.mark.parametrize("join", [join_github, join_gitlab])
def test_ci_job_finds_a_mistake(join: Callable[[], str], branch: Path) -> None:
    """The job fails if something would be left out, and says what."""
    shutil.rmtree(branch / "manifests")
    write_manifests(branch / "manifests", "no-slash")
    done = run_shell(join(), branch, GITHUB_STEP_SUMMARY=str(branch / "summary.md"))
    assert done.returncode == 1
    assert "basePath is 'no-slash'" in done.stderr


def test_ci_job_finds_a_broken_base(branch: Path) -> None:
    """A comparison that cannot be made fails the job; that --diff finds something does not."""
    (branch / "manifests/all.yaml").write_text("{")
    compare = read_block("how-to/ci.md", "compare").partition("\n")[2]
    assert run_shell(compare, branch).returncode != 0
    assert "is not JSON" in (branch / "stderr").read_text()


def test_ci_commands_with_git(tmp_path: Path) -> None:
    """The commands of the page compare a change with the commit before it."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@a.test", "-c", "commit.gpgsign=false"]
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    for path in ("/old", "/new"):
        shutil.rmtree(tmp_path / "manifests", ignore_errors=True)
        write_manifests(tmp_path / "manifests", path)
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", path]):
            subprocess.run([*git, *arguments], cwd=tmp_path, check=True, timeout=30)
    script = read_block("how-to/ci.md", "check") + read_block("how-to/ci.md", "compare")
    done = run_shell(script, tmp_path, BASE="HEAD^")
    assert done.returncode == 0, done.stderr
    assert f"+ path {HOST}/new" in done.stdout


# Replay, upgrade, recover


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Make a folder with a recording: a Namespace with an API key, and a Pod."""
    objects = [
        namespace("shop", {"shop.example.com": {}}),
        pod("shop", "web-0", "10.244.0.9", [entry("/api")], DECLARED),
        secret("shop", api_key="secret"),
    ]
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings/0001.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    return tmp_path


def test_replay_s_python_test(recorded: Path) -> None:
    """The sample test of the page passes for a path with an API key, and fails without one."""
    (recorded / "test_routes.py").write_text(read_block("how-to/replay-in-tests.md", "test_routes.py"))
    sample = f"{shlex.quote(sys.executable)} -m pytest -q -p no:cacheprovider test_routes.py"
    assert "1 passed" in run_shell(sample, recorded).stdout
    text = (recorded / "recordings/0001.json").read_text().replace('"api-key"', '"other"')
    (recorded / "recordings/0001.json").write_text(text)
    assert "1 failed" in run_shell(sample, recorded).stdout


def test_replay_s_answers(recorded: Path) -> None:
    """The commands of the page start nginx with the tree, and get the answers that the page names."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    done = run_shell(read_block("how-to/replay-in-tests.md", "answers").replace("8080", str(free_port())), recorded)
    assert done.returncode == 0, done.stderr


def test_upgrade_s_comparison(recorded: Path) -> None:
    """The page's commands compare what two versions make of a recording."""
    lines = read_block("how-to/upgrade.md", "compare").splitlines()
    assert lines[0].startswith("dispatcher record recordings ")
    for version in ("old", "new"):
        (recorded / version / "bin").mkdir(parents=True)
        (recorded / version / "bin/dispatcher").symlink_to(COMMAND)
    assert run_shell("\n".join(lines[1:]), recorded).returncode == 0


def test_recover_by_hand(recorded: Path) -> None:
    """The page's commands make a tree of a recording and serve it; without a Pod its path still needs the key."""
    port = free_port()
    script = read_block("how-to/recover.md", "by hand").replace("8080", str(port))
    done = run_shell(script, recorded, LISTEN_ADDRESSES="127.0.0.1")
    try:
        assert done.returncode == 0, done.stderr
        assert (recorded / "router/nginx.pid").is_file()
    finally:
        run_shell("nginx -p router/ -c nginx.conf -s quit", recorded)


# Manifests


def test_api_keys(router: Start, ips: list[str]) -> None:
    """The page's option closes a host without a key, and its header is the one that opens it."""
    hosts = {HOST: json.loads(read_block("how-to/api-keys.md", "hosts"))["shop.example.com"]}
    here, web = router(), pod("a", "web-0", ips[0], [entry("/")], DECLARED)
    here.serve(namespace("a", hosts), web)
    assert here.ask(HOST, "/").status == 403
    script = 'curl() { printf %s "$2"; }; KEY=secret; ' + read_block("how-to/api-keys.md", "request")
    sent = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True, timeout=10).stdout
    name, _, value = sent.partition(": ")
    assert value == base64.b64encode(b"secret").decode()
    here.serve(namespace("a", hosts), web, secret("a", api_key="secret"))
    assert here.ask(HOST, "/", **{name: value}).status == 200


def test_cert_manager(router: Start, ips: list[str], authority: Authority) -> None:
    """With the fields that cert-manager writes, both hosts of the page are served over TLS."""
    certificate, tenant = yaml.safe_load_all(read_block("how-to/cert-manager.md", "certificate.yaml"))
    hosts = json.loads(tenant["metadata"]["annotations"][HOSTS])
    assert set(hosts) == set(certificate["spec"]["dnsNames"])
    here = router()
    assert certificate["spec"]["secretName"] == here.settings.api_key_secret_name
    chain, key = authority.issue("shop.example.com")
    here.serve(
        namespace("shop", hosts),
        pod("shop", "web-0", ips[0], [entry("/")], DECLARED),
        secret("shop", tls_crt=chain, tls_key=key),
    )
    assert here.ask_tls("shop.example.com", "/").status == 200
    assert here.peer("www.shop.example.com") == here.peer("shop.example.com")


def test_public_and_private(router: Start, backends: Backends) -> None:
    """The page's manifest gives each router its own host, path and port."""
    address, ports = loopback("10.244.0.10"), {8080: free_port(), 8081: free_port()}
    for port in ports.values():
        backends.listen(address, port)
    objects = run_pods(read_block("how-to/public-private.md", "shop.yaml"), address, ports)
    asked = {"public": ("shop.example.com", "/"), "private": ("shop.internal", "/admin")}
    for number, (side, (host, path)) in enumerate(asked.items()):
        here = router(
            HOSTS_ANNOTATION=f"github.com/30x.dispatcher.hosts.{side}",
            PATHS_ANNOTATION=f"github.com/30x.dispatcher.paths.{side}",
        )
        assert here.serve(*objects).table.problems == ()
        assert here.ask(host, path).told["pod"].endswith(f":{[*ports.values()][number]}")
        other = asked["private" if side == "public" else "public"][0]
        assert here.is_closed_on(other)


def test_readme_s_quick_start(router: Start, backends: Backends) -> None:
    """The README's commands label and annotate a Namespace and a Deployment so that the request is answered."""
    (script,) = (block.text for block in read_blocks("../README.md") if "kubectl annotate" in block.text)
    image, label, annotate, patch, request = (shlex.split(line, comments=True) for line in join_lines(script))
    assert image[-2:] == ["-k", "k8s/base"]
    assert label[:4] == ["kubectl", "label", "namespace", "shop"]
    labels = dict([label[4].split("=")])
    metadata = {"name": "shop", "labels": labels, "annotations": dict([annotate[4].split("=", 1)])}
    template = json.loads(patch[-1])["spec"]["template"]
    template["spec"] = {"containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]}
    web = {"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": template}}
    address, port = loopback("10.244.0.11"), free_port()
    backends.listen(address, port)
    text = yaml.safe_dump_all([{"kind": "Namespace", "metadata": metadata}, web])
    here = router()
    assert here.serve(*run_pods(text, address, {8080: port})).table.problems == ()
    assert here.ask(request[2].removeprefix("Host: "), "/").status == 200


def join_lines(script: str) -> list[str]:
    """Split a script into commands; an indented line goes on with the one before."""
    return script.strip().replace("\n  ", " ").splitlines()
