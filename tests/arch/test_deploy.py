"""What .deploy/ has: manifests that parse, configurations that load, nobody in particular, nothing
to write but the data directory."""

import configparser
import json
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import trustme
import yaml

from kproxy.cli.serve import serve
from kproxy.config import Config, Overrides, load
from tests.arch.tree import ROOT
from tests.fakes.tls import write_files

DEPLOY = ROOT / ".deploy"
MANIFESTS = ("edge", "sidecar")


def documents(name):
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / f"{name}.yaml").read_text()))


def pod(name):
    found = next(one for one in documents(name) if one["kind"] in ("Deployment", "Pod"))
    return found["spec"]["template"]["spec"] if found["kind"] == "Deployment" else found["spec"]


def container(name):
    spec = pod(name)
    return next(
        one for one in (*spec.get("initContainers", ()), *spec["containers"])
        if one["name"] == "kproxy"
    )  # fmt: skip


def steps():
    """The image's instructions, each with its rest as one line."""
    said = (DEPLOY / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    return [line.split(maxsplit=1) for line in said if line and not line.startswith("#")]


def environment():
    """What the image's processes find in their environment."""
    words = [word for name, rest in steps() if name == "ENV" for word in rest.split()]
    return dict(word.split("=", 1) for word in words)


def command():
    """What the image runs where nobody says another command."""
    return next(json.loads(rest) for name, rest in steps() if name == "CMD")


def project():
    """What pyproject.toml says of the project."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ports(name):
    """The ports of the container, by name."""
    return {row["name"]: row["containerPort"] for row in container(name).get("ports", ())}


def served(args, file, **environ) -> Config:
    """What `kproxy` with these arguments serves in the image, `file` being the one it reads."""
    assert args[0] == "serve"
    given = serve.make_context("serve", list(args[1:])).params
    environ = environment() | environ
    assert given["config"] or environ["KPROXY_CONFIG"]
    return load(Overrides(**given | {"config": file}), environ)


def configured(name, folder) -> Config:
    """The manifest's configuration in the image, with its secrets where a file can be."""
    text = next(one for one in documents(name) if one["kind"] == "ConfigMap")["data"]["kproxy.toml"]
    (folder / "openai").write_text("sk-secret")
    file = folder / "kproxy.toml"
    file.write_text(text.replace("/run/secrets/kproxy", str(folder)))
    one = container(name)
    environ = {row["name"]: row["value"] for row in one.get("env", ())}
    return served(one.get("args", command()), file, **environ)


def healthy(**environ) -> bool:
    """What the image's HEALTHCHECK makes of it."""
    text = next(rest for name, rest in steps() if name == "HEALTHCHECK")
    words = json.loads(text.split(" CMD ", 1)[1])
    assert words[0] == "python"
    asked = subprocess.run([sys.executable, *words[1:]], env=environ, capture_output=True)
    return asked.returncode == 0


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_configuration_that_loads_with_operators_apart(name, tmp_path):
    config = configured(name, tmp_path)
    ports = {one.admin: one.place.port for one in config.listeners}
    assert ports == {False: 4000, True: 9100}
    assert (config.auth == "none") == (name == "sidecar")
    assert str(config.data_dir) == "/data"


@pytest.mark.parametrize("name", MANIFESTS)
def test_one_image_and_probes_on_the_operators_port(name):
    one = container(name)
    assert one["image"] == f"kproxy:{project()['version']}"
    assert f"-t {one['image']} ." in (DEPLOY / "Dockerfile").read_text()
    probes = {key: probe["httpGet"] for key, probe in one.items() if key.endswith("Probe")}
    assert probes["livenessProbe"]["path"] == "/livez"
    assert {probe["path"] for probe in probes.values()} == {"/livez", "/readyz"}
    assert {ports(name).get(probe["port"], probe["port"]) for probe in probes.values()} == {9100}


def test_an_ingress_may_bring_all_callers_and_metrics_are_not_for_all(tmp_path):
    limits = configured("edge", tmp_path).limits
    assert limits.connections_per_address >= limits.connections
    policy = next(one for one in documents("edge") if one["kind"] == "NetworkPolicy")["spec"]
    deployment = next(one for one in documents("edge") if one["kind"] == "Deployment")["spec"]
    assert policy["podSelector"] == deployment["selector"]
    free = [row["ports"] for row in policy["ingress"] if not row.get("from")]
    assert free == [[{"port": "http"}]]
    named = {port["port"] for row in policy["ingress"] for port in row["ports"]}
    assert named == set(ports("edge"))


def test_the_image_has_the_extras_that_it_is_asked_for_on_top_of_what_is_locked():
    extras = dict(rest.split("=") for name, rest in steps() if name == "ARG")["EXTRAS"].split(",")
    offered = re.findall(r"--build-arg EXTRAS=(\S+)", (DEPLOY / "Dockerfile").read_text())
    asked = {*extras, *offered[0].split(",")}
    assert asked == {"vault", "heal", "otel", "guardrails", "pdf"}
    assert asked <= set(project()["optional-dependencies"])
    installs = [rest for name, rest in steps() if name == "RUN" and "pip install" in rest]
    assert [("--require-hashes" in rest, "$EXTRAS" in rest) for rest in installs] == [
        (True, False), (False, True)
    ]  # fmt: skip


def test_the_image_by_itself_is_reached_from_outside():
    copied = [rest.split() for name, rest in steps() if name == "COPY"]
    assert [".deploy/image.toml", environment()["KPROXY_CONFIG"]] in copied
    config = served(command(), DEPLOY / "image.toml")
    assert [str(one.place) for one in config.listeners] == ["0.0.0.0:4000"]
    assert (config.auth, config.workers) == ("keys", 1)
    assert "4000" in next(rest for name, rest in steps() if name == "EXPOSE")


def test_a_file_of_ones_own_opens_what_it_says_and_nothing_else(tmp_path):
    write_files(tmp_path, trustme.CA())
    file = tmp_path / "kproxy.toml"
    file.write_text(
        '[[listeners]]\naddress = "0.0.0.0:443"\n'
        'tls = { certificate = "cert.pem", key = "key.pem" }\n'
    )
    for args in (command(), ["serve", "--config", "kproxy.toml"]):
        config = served(args, file)
        assert [(str(one.place), bool(one.tls)) for one in config.listeners] == [
            ("0.0.0.0:443", True)
        ]


class Operators(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, format, *args):
        """Says nothing."""


@pytest.mark.loopback
def test_the_image_asks_where_it_is_told_to_whether_it_lives():
    with HTTPServer(("127.0.0.1", 0), Operators) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.server_port
            proxied = {"http_proxy": "http://127.0.0.1:1"}
            assert healthy(KPROXY_HEALTH=f"http://127.0.0.1:{port}/livez", **proxied)
            assert healthy(PORT=str(port))
            assert not healthy(KPROXY_HEALTH=f"http://127.0.0.1:{port}/elsewhere")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", MANIFESTS)
def test_nobody_in_particular_and_nothing_to_write(name):
    spec, one = pod(name), container(name)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount["mountPath"] for mount in one["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["/data"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_pod_ends_after_its_streams(name, tmp_path):
    assert pod(name)["terminationGracePeriodSeconds"] > configured(name, tmp_path).drain_timeout


def test_the_image_runs_as_nobody_and_is_built_of_what_is_there():
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE",
             "HEALTHCHECK", "CMD", "STOPSIGNAL", "ENTRYPOINT"}  # fmt: skip
    assert {name for name, _ in steps()} <= known
    assert [rest for name, rest in steps() if name == "USER"] == ["65532:65532"]
    copied = [
        rest.split()[:-1] for name, rest in steps() if name == "COPY" and "--from" not in rest
    ]
    assert all((ROOT / path).exists() for paths in copied for path in paths)


def test_the_units_are_units_and_the_service_outlasts_its_drain():
    service, socket = configparser.ConfigParser(strict=False), configparser.ConfigParser()
    for parser, name in ((service, "kproxy.service"), (socket, "kproxy.socket")):
        parser.optionxform = str  # type: ignore[assignment]
        parser.read(DEPLOY / name)
    assert service.sections() == ["Unit", "Service", "Install"]
    assert socket.sections() == ["Unit", "Socket", "Install"]
    assert int(service["Service"]["TimeoutStopSec"]) > 600, "the default of drain_timeout"
    hardened = ("NoNewPrivileges", "PrivateTmp", "DynamicUser", "ProtectHome")
    assert all(service["Service"][key] == "yes" for key in hardened)
    assert service["Service"]["ExecStart"].split()[1] == "serve"
