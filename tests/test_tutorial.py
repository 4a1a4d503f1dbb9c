"""The tutorial: its manifests go to a real nginx, and its openssl and curl commands run as they are written."""

import base64
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.backends import Backends
from support.command import run
from support.manifests import K8S
from support.objects import PATHS, Object
from support.pages import DOCS, read_block, read_blocks
from support.ports import free_port, loopback
from support.router import Router
from support.workloads import run_pods

Start = Callable[..., Router]
PAGE = "tutorial.md"
ADDRESS = loopback("10.244.0.9")
CURLS = [block.text.strip() for block in read_blocks(PAGE) if block.text.startswith("curl ")]


@pytest.fixture(scope="module")
def port(backends: Backends) -> int:
    """Let the application's Pod answer: give its port."""
    number = free_port()
    backends.listen(ADDRESS, number)
    return number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the certificate that the tutorial's command makes."""
    where = tmp_path_factory.mktemp("tutorial")
    subprocess.run(
        ["sh", "-ec", read_block(PAGE, "certificate")], cwd=where, capture_output=True, check=True, timeout=60
    )
    return where


def make_secret(folder: Path) -> Object:
    """Make the Secret that the tutorial's kubectl command makes."""
    words = shlex.split(read_block(PAGE, "secret"))
    assert words[:7] == ["kubectl", "-n", "hello", "create", "secret", "generic", "routing"]
    files = dict(word.removeprefix("--from-file=").split("=") for word in words[7:])
    data = {name: base64.b64encode((folder / file).read_bytes()).decode() for name, file in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "routing", "namespace": "hello"}, "data": data}


def ask(command: str, here: Router, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a curl command of the page, with the ports of this router in place of the page's."""
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("curl is not installed")
    words = shlex.split(command.replace(":8080", f":{here.port}").replace(":8443", f":{here.ssl_port}"))
    return subprocess.run(
        [curl, "-sS", *words[1:]], cwd=folder, capture_output=True, text=True, check=False, timeout=30
    )


def test_step_2_nginx_answers(router: Start, folder: Path) -> None:
    """Before any host is known, the status path answers 200."""
    here = router()
    here.serve()
    assert ask(CURLS[0], here, folder).stdout.startswith("HTTP/1.1 200 OK")


def test_step_3_the_application_answers(router: Start, folder: Path, port: int) -> None:
    """The manifest routes the page's request to the application's Pod."""
    here = router()
    assert here.serve(*run_pods(read_block(PAGE, "hello.yaml"), ADDRESS, {8080: port})).table.problems == ()
    assert json.loads(ask(CURLS[1], here, folder).stdout)["uri"] == "/hello"


def test_step_4_the_mistake_is_told(router: Start, folder: Path, port: int) -> None:
    """With the wrong port the request gets 404, and the problem is the one that the page shows."""
    text = read_block(PAGE, "hello.yaml")
    wrong = text.replace('"containerPort": 8080}', '"containerPort": 9999}')
    assert wrong != text
    here = router()
    (problem,) = here.serve(*run_pods(wrong, ADDRESS, {})).table.problems
    assert f"problem: {problem}".replace("hello-0:", "hello-:") == read_block(PAGE, "problem").strip()
    answer = ask(f"{CURLS[1]} -w '%{{http_code}}'", here, folder)
    assert answer.stdout.endswith("404")


def test_step_5_tls(router: Start, folder: Path, port: int) -> None:
    """With the certificate and the Secret the host answers over TLS, and sends plain requests there."""
    here = router()
    application = run_pods(read_block(PAGE, "hello.yaml"), ADDRESS, {8080: port})[1:]
    (tenant,) = run_pods(read_block(PAGE, "hello-tls.yaml"), ADDRESS, {})
    assert here.serve(tenant, *application, make_secret(folder)).table.problems == ()
    assert json.loads(ask(CURLS[2], here, folder).stdout)["uri"] == "/hello"
    plain = ask(f"{CURLS[1]} -w '%{{http_code}} %{{redirect_url}}'", here, folder)
    assert plain.stdout.endswith("308 https://hello.test/hello")


def test_whole_command(folder: Path, tmp_path: Path) -> None:
    """The command makes a tree of the manifests and leaves nothing out; the pair is a good default certificate too."""
    objects = [*run_pods(read_block(PAGE, "hello.yaml"), "10.244.0.9", {})[1:], make_secret(folder)]
    objects += run_pods(read_block(PAGE, "hello-tls.yaml"), "10.244.0.9", {})
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    made = run(
        "--once", "--snapshot", "-", "--output", tmp_path / "router", "--strict", stdin=text.encode(),
        SSL_CERT=str(folder / "hello.crt"), SSL_KEY=str(folder / "hello.key"),
    )  # fmt: skip
    assert (made.returncode, made.stderr) == (0, "")
    (host,) = map(json.loads, (tmp_path / "router/routes.jsonl").read_text().splitlines()[:1])
    assert host["host"] == "hello.test"


def test_what_the_commands_name_is_there() -> None:
    """The folders, files and objects that the other commands name exist."""
    commands = " ".join(block.text for block in read_blocks(PAGE) if block.language == "sh")
    for name in ("base", "overlays/tls"):
        assert f"kubectl apply -k k8s/{name}\n" in commands
        assert (K8S / name / "kustomization.yaml").is_file()
    certificate = yaml.safe_load((K8S / "overlays/tls/certificate.yaml").read_text())
    (volume,) = certificate["spec"]["template"]["spec"]["volumes"]
    assert f"create secret tls {volume['secret']['secretName']} " in commands
    daemonset = yaml.safe_load((K8S / "base/daemonset.yaml").read_text())
    image = daemonset["spec"]["template"]["spec"]["containers"][0]["image"]
    assert f"kind load docker-image {image}\n" in commands
    assert f"minikube image load {image}\n" in commands
    (node,) = yaml.safe_load(read_block(PAGE, "kind.yaml"))["nodes"]
    assert {one["containerPort"]: one["hostPort"] for one in node["extraPortMappings"]} == {80: 8080, 443: 8443}
    assert f"dispatcher.{PATHS.rpartition('.')[2]}" in (DOCS / PAGE).read_text()
