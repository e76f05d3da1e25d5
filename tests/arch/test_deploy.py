"""What .deploy/ has: manifests that parse, configurations that load, nobody in particular, nothing
to write but the data directory."""

import configparser
import re

import pytest
import yaml

from kproxy.config import Config, Overrides, load
from tests.arch.tree import ROOT

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


def configured(name, folder) -> Config:
    """The manifest's configuration, with its secrets where a file can be."""
    text = next(one for one in documents(name) if one["kind"] == "ConfigMap")["data"]["kproxy.toml"]
    (folder / "openai").write_text("sk-secret")
    file = folder / "kproxy.toml"
    file.write_text(text.replace("/run/secrets/kproxy", str(folder)))
    return load(Overrides(config=file), {"HOME": str(folder)})


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_configuration_that_loads_with_operators_apart(name, tmp_path):
    config = configured(name, tmp_path)
    ports = {one.admin: one.place.port for one in config.listeners}
    assert ports == {False: 4000, True: 9100}
    assert (config.auth == "none") == (name == "sidecar")


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
    text = (DEPLOY / "Dockerfile").read_text()
    said = re.sub(r"\\\n\s*", " ", text).splitlines()
    steps = [line.split(maxsplit=1) for line in said if line and not line.startswith("#")]
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK",
             "CMD", "STOPSIGNAL", "ENTRYPOINT"}  # fmt: skip
    assert {name for name, _ in steps} <= known
    assert [rest for name, rest in steps if name == "USER"] == ["65532:65532"]
    copied = [rest.split()[:-1] for name, rest in steps if name == "COPY" and "--from" not in rest]
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
