"""The names of Ray and DeepSpeed that their makers call private, why each is used, and what would take its place.

`tests/compat/test_names.py` fails with these words when a release has moved one of them; pyproject.toml bounds the
releases (docs/decisions/0010-versions.md). The variables of the environment that Ray Train reads are in
`au_dist.runs.session`; one attribute, the time of the elastic policy's last look, stands in `au_dist.compat.ray_train`
alone.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PrivateName:
    """A private name.

    Attributes:
        name: Module, and the path in it after a colon.
        takes: The parameters that it is called with or overridden with; None where it is no function.
        why: What it is used for.
        instead: What would replace it.
        every_run: Whether every run depends on it; otherwise only elastic ones.
    """

    name: str
    takes: tuple[str, ...] | None
    why: str
    instead: str
    every_run: bool = True


_POLICY = "ray.train.v2._internal.execution.scaling_policy:ElasticScalingPolicy"
_OWN_POLICY = "a public way to hand Ray Train a scaling policy, or sizes in steps in ScalingConfig"
_OWN_GROUP = "a ray.train.torch.TorchConfig whose module does not import torch"
_OWN_DATA = "a DataParallelTrainer that starts no manager of datasets where it is given none"

PRIVATE_NAMES = (
    PrivateName(
        "ray.data._internal.execution.execution_callback:ExecutionCallback.on_execution_step",
        ("self", "executor"),
        "makes Ray Data's scheduler pause between its steps (docs/decisions/0005-what-a-run-waits-for.md)",
        "a public class for DataContext.custom_execution_callback_classes, which is public itself",
    ),
    PrivateName(
        "ray._private.state:state.get_draining_nodes",
        (),
        "tells which nodes are about to go, as Ray Train asks it itself (docs/decisions/0008-elastic.md)",
        "a public list of draining nodes; ray.train.get_preemption_info is a barrier of all workers",
    ),
    PrivateName(
        "ray.core.generated.gcs_service_pb2_grpc:NodeInfoGcsServiceServicer.CheckAlive",
        ("self", "request", "context"),
        "tells in seconds that nobody, or no Ray, is at an address; ray.init is silent for ten minutes",
        "a timeout of ray.init",
        every_run=False,
    ),
    PrivateName(
        "ray._private.services:get_ray_address_from_environment",
        ("addr", "temp_dir"),
        "finds the last cluster of this machine for the address `auto`, so that it can be asked whether it lives",
        "a timeout of ray.init",
        every_run=False,
    ),
    PrivateName(
        "ray._common.utils:get_ray_address_file",
        ("temp_dir",),
        "names the file in which the address `auto` is looked up",
        "a timeout of ray.init",
        every_run=False,
    ),
    PrivateName(
        "ray.train.v2._internal.exceptions:WorkerHealthCheckTimeoutError",
        None,
        "tells a worker that does not answer any more from one that failed",
        "a public exception of Ray Train",
    ),
    PrivateName(
        "ray.train.v2._internal.exceptions:WorkerGroupStartupTimeoutError",
        None,
        "tells a run whose workers were not placed in time from one that failed",
        "a public exception of Ray Train",
    ),
    PrivateName(
        "ray._private.state:state.available_resources_per_node",
        (),
        "tells a campaign what is free on each node; ray.available_resources adds all nodes up",
        "what is free in ray.nodes",
        every_run=False,
    ),
    PrivateName(
        "ray._private.state:state.job_table",
        (),
        "names who else uses a cluster that a campaign waits for; tells whether the driver of failed workers is gone",
        "a list of jobs without the dashboard",
        every_run=False,
    ),
    PrivateName(
        "ray._private.state:state.actor_table",
        ("actor_id", "job_id", "actor_state_name"),
        "names who else uses a cluster that a campaign waits for",
        "a list of actors without the dashboard",
        every_run=False,
    ),
    PrivateName(
        "ray.train.v2._internal.execution.worker_group.worker:RayTrainWorker",
        None,
        "tells by its name whether a run has been given its place, or waits for room",
        "a list of the workers of a run of Ray Train",
    ),
    PrivateName(
        "ray.experimental.internal_kv:_internal_kv_get",
        ("key", "namespace"),
        "tells a run that waits for room that nodes are being started, by what the autoscaler of `ray up` writes",
        "nodes that are being started in ray.autoscaler.sdk",
        every_run=False,
    ),
    PrivateName(
        "ray.autoscaler.v2.sdk:get_cluster_status",
        ("gcs_address", "timeout"),
        "tells a run that waits for room that nodes are being started, on Kubernetes",
        "nodes that are being started in ray.autoscaler.sdk",
        every_run=False,
    ),
    PrivateName(
        "deepspeed.ops:__compatible_ops__",
        None,
        "keeps DeepSpeed from compiling its CPU collectives (docs/decisions/0002-deepspeed-without-a-compiler.md)",
        "a setting of DeepSpeed that leaves them out",
    ),
    PrivateName(
        f"{_POLICY}._count_possible_workers",
        ("self", "reserved_resources"),
        "rounds the number of workers down to one that shares the lanes; draining nodes are no room",
        _OWN_POLICY,
        every_run=False,
    ),
    PrivateName(
        f"{_POLICY}.make_decision_for_non_running_worker_group",
        ("self",),
        "ends a run that has no room for its smallest group for too long",
        _OWN_POLICY,
        every_run=False,
    ),
    PrivateName(
        f"{_POLICY}.make_decision_for_running_worker_group",
        ("self", "worker_group_state", "worker_group_status"),
        "changes the number of workers when a checkpoint has just been stored",
        _OWN_POLICY,
        every_run=False,
    ),
    PrivateName(
        "ray.train.v2._internal.execution.scaling_policy:ResizeDecision",
        None,
        "is what a scaling policy answers",
        _OWN_POLICY,
        every_run=False,
    ),
    PrivateName(
        "ray.train.v2._internal.execution.scaling_policy:NoopDecision",
        None,
        "is what a scaling policy answers",
        _OWN_POLICY,
        every_run=False,
    ),
    PrivateName(
        "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer._initialize_and_run_controller",
        ("self", "controller_init_kwargs"),
        "hands the scaling policy to Ray Train",
        _OWN_POLICY,
        every_run=False,
    ),
    PrivateName(
        "ray.train.v2.api.data_parallel_trainer:DataParallelTrainer._create_default_callbacks",
        ("self",),
        "leaves out the manager of datasets: ranks make their own (docs/decisions/0017-who-loads-torch.md)",
        _OWN_DATA,
    ),
    PrivateName(
        "ray.train.v2._internal.callbacks:DatasetsCallback",
        None,
        "is what is left out",
        _OWN_DATA,
    ),
    PrivateName(
        "ray.train.v2._internal.execution.worker_group:ExecutionGroup.execute_single_async",
        ("self", "rank", "fn", "fn_args", "fn_kwargs"),
        "has a worker join the others",
        _OWN_GROUP,
    ),
    PrivateName(
        "ray.train._internal.utils:get_address_and_port",
        (),
        "finds where the workers of a run meet",
        _OWN_GROUP,
    ),
    PrivateName(
        "ray.train.torch.config:_set_torch_distributed_env_vars",
        (),
        "tells torch and DeepSpeed a worker's rank",
        _OWN_GROUP,
    ),
    PrivateName(
        "ray.train.torch.config:_setup_torch_process_group",
        ("backend", "world_rank", "world_size", "init_method", "timeout_s"),
        "joins the workers of a run, from a controller that does not load torch",
        _OWN_GROUP,
    ),
    PrivateName(
        "ray.train.torch.config:_shutdown_torch",
        ("destroy_process_group",),
        "parts the workers of a run, from a controller that does not load torch",
        _OWN_GROUP,
    ),
    PrivateName(
        "ray.train.torch.config:TorchConfigContextManager",
        (),
        "makes a worker's GPU the current one",
        _OWN_GROUP,
    ),
)

#: Loggers of Ray that say what nobody needs to know.
CHATTY_LOGGERS = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
