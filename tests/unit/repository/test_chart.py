"""The Helm chart: `serve` accepts the settings that it renders, and its objects fit together and ask for few rights."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from scripts.chart.rendering import CHART, ChartError, rendered, values_files
from sightline.v1 import lens_service_pb2
from sightline_server.cli.loading import load
from sightline_server.errors import ErrorKind, SightlineError
from sightline_server.rpc.listener.exposure import check_listener, check_metrics_listener
from sightline_server.settings import Settings
from sightline_server.triton.link import link_of
from tests.support.chart import (
    ALL,
    EMBEDDED,
    EVERYTHING,
    IN_MILVUS,
    REMOTE,
    REPLICAS,
    SIDECAR,
    WRITER,
    containers,
    copied,
    helm,
    named,
    objects,
    one,
    pod,
)
from tests.support.engine import CHECKOUT

LENS = lens_service_pb2.DESCRIPTOR.services_by_name["LensService"].full_name
ALLOWANCES = {"insecure": check_listener, "metrics_insecure": check_metrics_listener}
FOLDERS = {
    IN_MILVUS: {},
    REPLICAS: {"default": "/copies/default"},
    EVERYTHING: {"default": "/catalog/shop", "followed": "/copies/followed"},
}
NEVER_SECRET = re.compile(r"(?i)password|token:|BEGIN [A-Z ]*PRIVATE KEY")


def settings_text(values: str, *options: str) -> str:
    return str(one(values, "ConfigMap", *options, ends="-settings")["data"]["sightline.toml"])


def settings(text: str, folder: Path) -> Settings:
    (folder / "sightline.toml").write_text(text)
    return load(folder / "sightline.toml")


def test_every_values_file_is_tested() -> None:
    assert {str(path.relative_to(CHART)) for path in values_files()} == set(ALL)


@pytest.mark.parametrize("values", ALL)
def test_rendered_settings_are_accepted_by_serve(values: str, tmp_path: Path) -> None:
    served = settings(settings_text(values), tmp_path)
    check_listener(served.server)
    check_metrics_listener(served.server)
    folders = FOLDERS.get(values, {"default": "/catalog/shop"})
    assert {name: str(path) for name, path in served.catalog_folders.items()} == folders
    in_milvus = {IN_MILVUS: {"default"}, EVERYTHING: {"large", "Other.one"}}
    assert set(served.milvus_catalogs) == in_milvus.get(values, set())
    assert served.log.json_lines is True


@pytest.mark.parametrize("flag", ALLOWANCES)
def test_settings_without_each_allowance_are_refused(flag: str, tmp_path: Path) -> None:
    text, count = re.subn(rf"(?m)^ *{flag} = true\n", "", settings_text(EMBEDDED))
    assert count == 1
    with pytest.raises(SightlineError) as caught:
        ALLOWANCES[flag](settings(text, tmp_path).server)
    assert caught.value.kind is ErrorKind.CONFIGURATION
    assert flag in caught.value.message


def test_settings_of_the_user_reach_the_server(tmp_path: Path) -> None:
    served = settings(settings_text(EVERYTHING), tmp_path)
    assert (served.limits.max_photo_bytes, served.limits.default_deadline_s) == (10485760, 2.5)
    assert served.access.jwt_issuer == "https://login.shop.example"
    assert str(served.tracing.endpoint) == "http://otel-collector:4317"


@pytest.mark.parametrize("values", ALL)
def test_every_file_of_the_settings_is_mounted(values: str, tmp_path: Path) -> None:
    server = containers(values)["sightline"]
    [config] = [each.removeprefix("--config=") for each in server["args"] if each != "serve"]
    folders = {mount["mountPath"]: mount["name"] for mount in server["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(values)["spec"]["volumes"]}
    assert set(folders.values()) <= set(volumes)
    files = re.findall(r'"(/etc/sightline/[^"]+)"', settings_text(values))
    for path in map(Path, [*files, config]):
        volume = volumes[folders[str(path.parent)]]
        assert "subPath" not in str(server["volumeMounts"])
        if "configMap" in volume:
            assert path.name in one(values, "ConfigMap", ends=volume["configMap"]["name"])["data"]
        else:
            assert volume["secret"]["defaultMode"] == 0o440, "the server's group reads it, and no other user"
    mounted = {folder for folder in folders if folder.startswith("/etc/sightline/")}
    assert mounted == {str(Path(path).parent) for path in [*files, config]}, "a mount that no setting uses"


def test_changed_settings_replace_the_pods() -> None:
    sums = {
        pod(EMBEDDED, *options)["metadata"]["annotations"]["checksum/settings"]
        for options in ((), ("--set", "settings.limits.max_objects=3"), ("--set", "settings.log.level=DEBUG"))
    }
    assert len(sums) == 3


def test_tls_takes_the_place_of_insecure_and_of_the_grpc_probe() -> None:
    server = tomllib.loads(settings_text(EVERYTHING))["server"]
    assert "insecure" not in server
    assert {"tls_cert", "tls_key", "tls_client_ca"} <= server.keys()
    for probe in ("startupProbe", "readinessProbe"):
        assert "-tls" in containers(EVERYTHING)["sightline"][probe]["exec"]["command"]
    # Gateways speak plain HTTP/2 to a port that says so.
    ports = [one(values, "Service")["spec"]["ports"][0] for values in (EMBEDDED, EVERYTHING)]
    assert [port.get("appProtocol") for port in ports] == ["kubernetes.io/h2c", None]


def test_remote_triton_is_reached_with_mutual_tls_or_an_explicit_allowance(tmp_path: Path) -> None:
    link = link_of(settings(settings_text(REMOTE), tmp_path).engine)
    assert link is not None
    assert link.protection == "mutual TLS"
    options = ("--set", "engine.remote.tlsSecret=,engine.remote.insecure=true")
    link = link_of(settings(settings_text(REMOTE, *options), tmp_path).engine)
    assert link is not None
    link.check()
    assert "triton-tls" not in str(pod(REMOTE, *options))


def test_catalogs_in_milvus_have_its_address_its_secret_and_no_volume(tmp_path: Path) -> None:
    part = settings(settings_text(IN_MILVUS), tmp_path).milvus_catalogs["default"]
    assert (part.uri, part.path) == ("https://milvus.databases.svc:19530", None)
    assert (str(part.token_file), str(part.ca_file)) == ("/etc/sightline/milvus/token", "/etc/sightline/milvus/ca.crt")
    volumes = {volume["name"]: volume for volume in pod(IN_MILVUS)["spec"]["volumes"]}
    assert volumes["milvus"]["secret"]["secretName"] == "sightline-milvus"
    assert "catalog" not in volumes
    bare = ("--set", "milvus.secret=,milvus.token=false,milvus.ca=false")
    part = settings(settings_text(IN_MILVUS, *bare), tmp_path).milvus_catalogs["default"]
    assert (part.token_file, part.ca_file) == (None, None)
    assert "milvus" not in {volume["name"] for volume in pod(IN_MILVUS, *bare)["spec"]["volumes"]}


@pytest.mark.parametrize(
    ("values", "option", "message"),
    [
        (EVERYTHING, 'milvus.catalogs=["default"]', "both name default"),
        (EMBEDDED, 'catalog.folders={"default": null}', "there is no catalog to serve"),
        (WRITER, 'replication.publications={"other": "claim"}', "catalog.folders has no such catalog"),
        (REPLICAS, 'catalog.folders={"default": "shop"}', "both name default"),
    ],
)
def test_catalogs_that_cannot_be_served_are_refused(values: str, option: str, message: str) -> None:
    with pytest.raises(ChartError, match=message):
        rendered(helm(), "--values", str(CHART / values), "--set-json", option)


@pytest.mark.parametrize("values", ALL)
def test_probes_ask_for_the_search_service(values: str, tmp_path: Path) -> None:
    server = containers(values)["sightline"]
    port = getattr(settings(settings_text(values), tmp_path).server.listen, "port", None)
    assert "livenessProbe" not in server, "a replica restarts its engine by itself"
    for name in ("startupProbe", "readinessProbe"):
        if "grpc" in server[name]:
            assert server[name]["grpc"] == {"port": port, "service": LENS}
        else:
            command = server[name]["exec"]["command"]
            assert {f"-addr=127.0.0.1:{port}", f"-service={LENS}"} <= set(command)


@pytest.mark.parametrize("values", ALL)
def test_ports_are_those_that_are_listened_on(values: str, tmp_path: Path) -> None:
    server = settings(settings_text(values), tmp_path).server
    ports = {each["name"]: each["containerPort"] for each in containers(values)["sightline"]["ports"]}
    listened = {"grpc": server.listen, "metrics": server.metrics_listen, "catalog": server.catalog_listen}
    assert ports == {name: getattr(each, "port", None) for name, each in listened.items() if each is not None}
    known = {port["name"] for each in containers(values).values() for port in each["ports"]}
    for port in one(values, "Service")["spec"]["ports"]:
        assert port["targetPort"] in known
        assert port["name"] == port["targetPort"]


@pytest.mark.parametrize("values", [SIDECAR, EVERYTHING])
def test_triton_sidecar_is_reached_on_a_socket_that_only_the_two_containers_share(values: str, tmp_path: Path) -> None:
    triton, server = containers(values)["triton"], containers(values)["sightline"]
    options = dict(each.removeprefix("--").split("=", 1) for each in triton["args"] if "=" in each)
    url = settings(settings_text(values), tmp_path).engine.triton_url
    assert str(url) == f"{options['grpc-address']}:{options['grpc-port']}"
    folder = str(Path(options["grpc-address"].removeprefix("unix:")).parent)
    for each in (triton, server):
        [volume] = [mount["name"] for mount in each["volumeMounts"] if mount["mountPath"] == folder]
        assert {"name": "shm", "mountPath": "/dev/shm"} in each["volumeMounts"]
    [source] = [each for each in pod(values)["spec"]["volumes"] if each["name"] == volume]
    assert source["emptyDir"]["medium"] == "Memory"
    assert set(containers(values)) == {"triton", "sightline"}
    assert (options["allow-http"], triton["restartPolicy"]) == ("false", "Always")
    assert [each["containerPort"] for each in triton["ports"]] == [int(options["metrics-port"])]
    assert "runAsUser" not in {**triton["securityContext"], **server["securityContext"]}, "one user for both"


@pytest.mark.parametrize("values", ALL)
def test_every_container_has_no_more_rights_than_it_needs(values: str) -> None:
    spec = pod(values)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False, "variables SIGHTLINE_... of the cluster would reach the settings"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in containers(values).values():
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert containers(values)["sightline"]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("values", ALL)
def test_time_to_stop_covers_the_wait_and_the_grace(values: str, tmp_path: Path) -> None:
    wait = int(containers(values)["sightline"]["lifecycle"]["preStop"]["exec"]["command"][-1])
    grace = settings(settings_text(values), tmp_path).server.grace_s
    assert pod(values)["spec"]["terminationGracePeriodSeconds"] > wait + grace + 5


@pytest.mark.parametrize("values", ALL)
def test_selectors_find_the_pods_of_this_release_only(values: str) -> None:
    labels = pod(values)["metadata"]["labels"].items()
    specs = {each["kind"]: each["spec"] for each in objects(values) if each["kind"] != "ConfigMap"}
    selectors = [
        specs["Deployment"]["selector"]["matchLabels"],
        specs["PodDisruptionBudget"]["selector"]["matchLabels"],
        specs["NetworkPolicy"]["podSelector"]["matchLabels"],
        specs["Service"]["selector"],
    ]
    for selector in selectors:
        assert selector.items() <= labels
        assert selector["app.kubernetes.io/instance"] == "sightline"


@pytest.mark.parametrize("values", ALL)
def test_no_object_holds_a_credential(values: str) -> None:
    kinds = {each["kind"] for each in objects(values)}
    assert "Secret" not in kinds
    assert not NEVER_SECRET.search(settings_text(values))


def test_catalog_has_one_writer_at_a_time() -> None:
    spec = one(WRITER, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert one(REPLICAS, "Deployment")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    for option in ("replicas=2", "autoscaling.enabled=true"):
        with pytest.raises(ChartError, match="schema"):
            rendered(helm(), "--values", str(CHART / WRITER), "--set", option)


def test_replicas_follow_what_the_writer_publishes(tmp_path: Path) -> None:
    writer = settings(settings_text(WRITER), tmp_path)
    replica = settings(settings_text(REPLICAS), tmp_path)
    assert writer.published_catalogs == replica.followed_catalogs == {"default": Path("/publications/default")}
    claims = []
    for values, folder in ((WRITER, writer), (REPLICAS, replica)):
        writable = {mount["mountPath"]: mount for mount in containers(values)["sightline"]["volumeMounts"]}
        own = str(folder.catalog_folders["default"].parent)
        assert "readOnly" not in writable[own], "a catalog that is written, or a copy"
        assert writable["/publications/default"].get("readOnly", False) is (values == REPLICAS)
        volumes = {volume["name"]: volume for volume in pod(values)["spec"]["volumes"]}
        claims.append(volumes[writable["/publications/default"]["name"]]["persistentVolumeClaim"]["claimName"])
    assert claims[0] == claims[1]


def test_copies_are_in_a_volume_of_each_pod() -> None:
    def copies(*options: str) -> dict[str, object]:
        [volume] = [each for each in pod(REPLICAS, *options)["spec"]["volumes"] if each["name"] == "copies"]
        return dict(volume)

    assert copies()["emptyDir"] == {"sizeLimit": "20Gi"}
    claim = copies("--set", "replication.copies.storageClass=fast")["ephemeral"]
    assert claim == {
        "volumeClaimTemplate": {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "resources": {"requests": {"storage": "20Gi"}},
            }
        }
    }


def test_replica_has_time_for_its_first_copy_and_is_not_ready_before() -> None:
    server = containers(REPLICAS)["sightline"]
    assert server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"] == 600
    assert server["readinessProbe"]["grpc"] == server["startupProbe"]["grpc"] == {"port": 50051, "service": LENS}


def test_one_replica_does_not_block_the_drain_of_its_node() -> None:
    budget = one(EMBEDDED, "PodDisruptionBudget", "--set", "replicas=1")["spec"]
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_names_fit_for_every_release_name() -> None:
    for release, wanted in (("shop", "shop-sightline"), ("a" * 53, "a" * 43 + "-sightline")):
        items = rendered(helm(), release=release)
        assert {named(each) for each in items if each["kind"] in ("Service", "Deployment")} == {wanted}
        assert {named(each) for each in items if each["kind"] == "ConfigMap"} == {f"{wanted}-settings"}
        assert len(wanted) <= 63


def test_versions_are_those_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]
    assert containers(EMBEDDED)["sightline"]["image"] == f"sightline:{project['version']}"


def test_digest_takes_precedence_over_the_tag() -> None:
    options = ("--set", f"image.tag=edge,image.digest=sha256:{'0' * 64}")
    assert containers(EMBEDDED, *options)["sightline"]["image"] == f"sightline@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ("engine.mode=embedded", {"no encryption", "not identified"}),
        ("tls.secret=a,access.secret=b", set()),
        ("tls.secret=a,access.secret=b,networkPolicy.enabled=false", {"networkPolicy.enabled is false"}),
        ("tls.secret=a,access.secret=b,autoscaling.enabled=true", {"autoscaling.selector"}),
    ],
)
def test_notes_warn_of_what_is_not_protected(options: str, warned: set[str], tmp_path: Path) -> None:
    chart = copied(tmp_path)
    # Helm shows the notes only with a cluster.
    text = "".join(f"  {line}\n" for line in (chart / "templates" / "NOTES.txt").read_text().splitlines())
    (chart / "templates" / "shown.yaml").write_text(f"kind: Notes\ntext: |\n  Notes\n{text}")
    [notes] = [each["text"] for each in rendered(helm(), "--set", options, chart=chart) if each["kind"] == "Notes"]
    every = {"no encryption", "not identified", "networkPolicy.enabled is false", "autoscaling.selector"}
    assert {warning for warning in every if warning in notes} == warned
    assert "dns:///sightline.shop.svc:50051" in notes
