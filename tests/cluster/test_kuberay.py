"""The manifests for KubeRay: what the two overlays come to, and what has to hold in it."""

import copy
import importlib.util
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from au_dist.cluster.packing import refuse_secrets
from au_dist.cluster.preflight import declared_resources

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "cluster/kuberay"
FILES = sorted(FOLDER.rglob("*.yaml"))
OVERLAYS = ("cluster", "job")
CRDS = os.environ.get("AU_DIST_CRDS")  # a folder with KubeRay's definitions
UNITS = {"Mi": 2**20, "Gi": 2**30}

Tree = dict[str, Any]


def steps(path: str, by: str) -> list[Any]:
    return [int(step) if step.isdigit() else step for step in path.strip(by).split(by)]


def at(tree: Any, path: list[Any]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def patch(tree: Tree, operation: Tree) -> None:
    assert operation["op"] == "add", "nothing else is needed"
    *path, last = steps(operation["path"], "/")
    place = at(tree, path)
    if last == "-":
        place.append(operation["value"])
    else:
        place[last] = operation["value"]


def compose(folder: Path) -> dict[str, Tree]:
    """Return what `kubectl kustomize` makes of a folder, by kind, as far as these folders use it."""
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found: dict[str, Tree] = {}
    for name in plan["resources"]:
        path = folder / name
        # Aliases become copies: what is patched is patched in one place.
        found |= compose(path) if path.is_dir() else {(one := yaml.safe_load(path.read_text()))["kind"]: one}
    found = {kind: unshared(tree) for kind, tree in found.items()}
    for one in plan.get("patches", []):
        assert found[one["target"]["kind"]]["metadata"]["name"] == one["target"]["name"]
        for operation in yaml.safe_load((folder / one["path"]).read_text()):
            patch(found[one["target"]["kind"]], operation)
    for one in plan.get("replacements", []):
        source = found[one["source"]["kind"]]
        assert source["metadata"]["name"] == one["source"]["name"]
        value = at(source, steps(one["source"]["fieldPath"], "."))
        for target in one["targets"]:
            assert found[target["select"]["kind"]]["metadata"]["name"] == target["select"]["name"]
            for path_ in target["fieldPaths"]:
                *path, last = steps(path_, ".")
                at(found[target["select"]["kind"]], path)[last] = copy.deepcopy(value)
    local = "config.kubernetes.io/local-config"
    return {kind: one for kind, one in found.items() if local not in one["metadata"].get("annotations", {})}


def unshared(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: unshared(value) for name, value in tree.items()}
    return [unshared(value) for value in tree] if isinstance(tree, list) else tree


COMPOSED = {name: compose(FOLDER / "overlays" / name) for name in OVERLAYS}
JOB = COMPOSED["job"]["RayJob"]["spec"]
#: What a RayCluster is to be, by overlay.
CLUSTERS: dict[str, Tree] = {"cluster": COMPOSED["cluster"]["RayCluster"]["spec"], "job": JOB["rayClusterSpec"]}


def groups(cluster: Tree) -> dict[str, Tree]:
    return {"head": cluster["headGroupSpec"]} | {one["groupName"]: one for one in cluster["workerGroupSpecs"]}


def nodes() -> Iterator[tuple[str, Tree, Tree]]:
    """Yield the name, the pod and the container of each of Ray's nodes."""
    for overlay, cluster in CLUSTERS.items():
        for name, group in groups(cluster).items():
            pod = group["template"]["spec"]
            (container,) = pod["containers"]
            yield f"{overlay} {name}", pod, container


def pods() -> Iterator[tuple[str, Tree, Tree]]:
    yield from nodes()
    submitter = JOB["submitterPodTemplate"]["spec"]
    yield "submitter", submitter, submitter["containers"][0]


def pinned(name: str) -> str:
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    return lock[name]


def amount(text: str) -> int:
    return int(text[:-2]) * UNITS[text[-2:]]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kustomize_makes_the_same_of_them(overlay: str) -> None:
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert {one["kind"]: one for one in yaml.safe_load_all(made)} == COMPOSED[overlay]


def test_the_job_runs_on_the_cluster_of_the_base() -> None:
    assert set(COMPOSED["cluster"]) == {"RayCluster", "ConfigMap"}
    assert set(COMPOSED["job"]) == {"RayJob"}
    # One name of a head's service in a namespace: both may be applied.
    assert COMPOSED["job"]["RayJob"]["metadata"]["name"] != COMPOSED["cluster"]["RayCluster"]["metadata"]["name"]


def test_versions_are_those_of_the_lock_and_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {cluster["rayVersion"] for cluster in CLUSTERS.values()} == {pinned("ray")}
    (image,) = {container["image"] for _, _, container in pods()}
    assert image.endswith(f"/au-dist:{version}")


def test_the_gpu_group_alone_asks_for_gpus() -> None:
    asking = {name for name, _, container in pods() if "nvidia.com/gpu" in container["resources"]["limits"]}
    assert asking == {"cluster gpu", "job gpu"}
    for name, pod, _ in pods():
        tolerated = {one["key"] for one in pod.get("tolerations", [])}
        assert tolerated == ({"nvidia.com/gpu"} if name in asking else set())


def test_what_is_asked_for_is_the_limit() -> None:
    autoscaler = CLUSTERS["cluster"]["autoscalerOptions"]
    for resources in (autoscaler["resources"], *(container["resources"] for _, _, container in pods())):
        assert {"cpu", "memory"} <= set(resources["limits"])
        assert resources["requests"] == resources["limits"]


def test_the_object_store_fits_in_shared_memory_and_that_in_the_container() -> None:
    for cluster in CLUSTERS.values():
        for group in groups(cluster).values():
            pod = group["template"]["spec"]
            (memory,) = [one["emptyDir"] for one in pod["volumes"] if one["name"] == "shm"]
            mounted = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}
            assert (mounted["/dev/shm"], memory["medium"]) == ("shm", "Memory")
            limit = amount(pod["containers"][0]["resources"]["limits"]["memory"])
            assert int(group["rayStartParams"]["object-store-memory"]) < amount(memory["sizeLimit"]) < limit / 2


@pytest.mark.parametrize("variable", ["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "RAY_JOB_STOP_WAIT_TIME_S"])
def test_a_pod_outlives_the_storing_of_a_checkpoint(variable: str) -> None:
    for name, pod, container in nodes():
        (wait,) = [int(one["value"]) for one in container["env"] if one["name"] == variable]
        assert wait >= 60
        assert wait + 30 <= pod["terminationGracePeriodSeconds"], name
        assert "lifecycle" not in container, "Kubernetes would count its time, too"


def test_ray_knows_the_variables() -> None:
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    folder = Path(str(spec.origin)).parent
    files = ("_private/ray_constants.py", "dashboard/modules/job/job_supervisor.py")
    code = "".join((folder / file).read_text() for file in files)
    for _, _, container in nodes():
        for one in container["env"]:
            assert f'"{one["name"]}"' in code


def test_nobody_is_root_or_may_become_it() -> None:
    autoscaler = CLUSTERS["cluster"]["autoscalerOptions"]["securityContext"]
    for context in (autoscaler, *(container["securityContext"] for _, _, container in pods())):
        assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    image = (ROOT / "cluster/Dockerfile").read_text()
    for name, pod, _ in pods():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert f"\nUSER {context['runAsUser']}:{context['runAsGroup']}\n" in image
        # Only the autoscaler, on the head, talks to Kubernetes.
        assert name == "cluster head" or pod["automountServiceAccountToken"] is False


def test_token_authentication_is_on() -> None:
    assert {cluster["authOptions"]["mode"] for cluster in CLUSTERS.values()} == {"token"}


def test_secrets_are_named_and_never_there() -> None:
    refuse_secrets([], {}, {}, {path.name + str(index): path.read_bytes() for index, path in enumerate(FILES)}, {})
    assert "Secret" not in {kind for composed in COMPOSED.values() for kind in composed}
    for name, _, container in nodes():
        assert container["envFrom"] == [{"secretRef": {"name": "au-dist-storage"}}], name
        assert all(one["value"].isdigit() for one in container["env"]), name


def test_an_attempt_that_fails_or_is_stopped_is_followed_by_one_that_resumes() -> None:
    assert JOB["backoffLimit"] > 0
    assert JOB["submissionMode"] == "K8sJobMode"
    assert "activeDeadlineSeconds" not in JOB, "what ends by it is not begun again"
    # A name of its own would be known to each new attempt's cluster; `suspend` belongs to Kueue and to people.
    assert not {"jobId", "suspend", "clusterSelector"} & set(JOB)


def test_kueue_may_queue_and_suspend_the_job() -> None:
    assert "kueue.x-k8s.io/queue-name" in COMPOSED["job"]["RayJob"]["metadata"]["labels"]
    assert JOB["shutdownAfterJobFinishes"]
    assert not CLUSTERS["job"].get("enableInTreeAutoscaling")
    assert len(groups(CLUSTERS["job"])) + 1 <= 8, "Kueue counts no more groups of pods"


def test_the_jobs_groups_have_a_size_that_is_allowed() -> None:
    for group in CLUSTERS["job"]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in CLUSTERS["cluster"]["workerGroupSpecs"]:
        assert "replicas" not in group, "the autoscaler's"


def test_the_jobs_command_reads_what_is_mounted() -> None:
    program, verb, recipe = JOB["entrypoint"].split()
    assert (program, verb) == ("au-dist", "train")
    head = CLUSTERS["job"]["headGroupSpec"]["template"]["spec"]
    mounts = {one["mountPath"]: one["name"] for one in head["containers"][0]["volumeMounts"]}
    assert {one["name"] for one in head["volumes"]} == set(mounts.values())
    assert str(Path(recipe).parent) in mounts


def test_the_preflight_counts_what_the_autoscaler_may_start(tmp_path: Path) -> None:
    name, text = next(iter(COMPOSED["cluster"]["ConfigMap"]["data"].items()))
    (tmp_path / name).write_text(text)
    head, *workers = groups(CLUSTERS["cluster"]).values()
    expected = [{"CPU": int(head["rayStartParams"]["num-cpus"])}]
    for group in workers:
        has = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        gpus = {"GPU": int(has["nvidia.com/gpu"])} if "nvidia.com/gpu" in has else {}
        expected += [{"CPU": int(has["cpu"]), **gpus}] * group["maxReplicas"]
    assert declared_resources(tmp_path / name) == expected
    mounts = head["template"]["spec"]["containers"][0]["volumeMounts"]
    assert f"/home/au-dist/{name}" in {one["mountPath"] for one in mounts}


def definitions() -> dict[str, Tree]:
    """Return the schemas of KubeRay's kinds."""
    found = {}
    for path in Path(str(CRDS)).glob("*.yaml"):
        crd = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for version in crd["spec"]["versions"]:
            if version["name"] == "v1":
                found[crd["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return found


def faults(schema: Tree, value: Any, where: str = "") -> list[str]:
    """Return where a value has another type than its schema says, a field that is not there, or lacks one that is."""
    if schema.get("x-kubernetes-int-or-string"):
        return [] if type(value) in (int, str) else [where]
    types = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict}
    kind = schema["type"]
    right = isinstance(value, types[kind]) and (kind == "boolean" or not isinstance(value, bool))
    if not right or value not in schema.get("enum", [value]):
        return [where]
    if kind == "array":
        return [fault for index, one in enumerate(value) for fault in faults(schema["items"], one, f"{where}.{index}")]
    if kind != "object":
        return []
    found = [f"{where}.{name}" for name in schema.get("required", []) if name not in value]
    for name, one in value.items():
        inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        if inner:
            found += faults(inner, one, f"{where}.{name}")
        elif where and not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.append(f"{where}.{name}")
    return found


@pytest.mark.skipif(not CRDS, reason="AU_DIST_CRDS names no folder with KubeRay's definitions")
def test_kuberay_knows_every_field() -> None:
    schemas = definitions()
    for kind, tree in (("RayCluster", COMPOSED["cluster"]["RayCluster"]), ("RayJob", COMPOSED["job"]["RayJob"])):
        assert tree["apiVersion"] == "ray.io/v1"
        spec = schemas[kind]["properties"]["spec"]
        assert not faults(spec, tree["spec"], "spec")
        assert faults(spec, {**tree["spec"], "backofLimit": 3}, "spec") == ["spec.backofLimit"]
        assert "spec.suspend" in faults(spec, {**tree["spec"], "suspend": "no"}, "spec")
