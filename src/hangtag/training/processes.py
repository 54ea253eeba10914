"""This process among those of a training run; alone, it is the first of one.

They are started by `accelerate launch` or `torchrun`, which leave their numbers in the environment. All of them run the
same program; what must be one man's work or word - the run folder, the log, an error - goes by the first of them.
"""

from __future__ import annotations

import atexit
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, broadcast_object_list
from torch import distributed
from torch.distributed.fsdp import MixedPrecisionPolicy

from hangtag.errors import RunError, ToldElsewhere, UsageError
from hangtag.files import Run
from hangtag.recipe import Train

# The first may compute alone for long: CLIP's features of a large catalogue, the hashes of a checkpoint.
PATIENCE = timedelta(hours=12)
_MPI = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
T = TypeVar("T")


class Processes:
    """Set up from what the launcher left in the environment; without any, this process is alone.

    Raises:
        UsageError: launched in a way that cannot train here.
    """

    _runs = 0

    def __init__(self) -> None:
        Processes._runs += 1
        self._failed = f"hangtag/{Processes._runs}/failed"
        problem = _unusable_launch()
        if problem:
            raise UsageError(problem) if os.environ.get("LOCAL_RANK", "0") == "0" else ToldElsewhere
        launched = "LOCAL_RANK" in os.environ
        # Not told so, Accelerate takes each of several processes without an accelerator for a run of its own.
        self.on_cpu = _is_set("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        self.state = PartialState(cpu=self.on_cpu, timeout=PATIENCE)
        self.index: int = self.state.process_index
        self.number: int = self.state.num_processes
        self.main = self.index == 0
        asked = int(os.environ.get("WORLD_SIZE", "1"))
        if launched and asked != self.number:
            raise UsageError(
                f"{asked} processes were launched, but they cannot work together on this machine's accelerator; "
                "set ACCELERATE_USE_CPU=true to train on CPUs"
            )

    @property
    def sharded(self) -> bool:
        """Whether the launcher asks for FSDP2: each process then holds a share of the weights."""
        return self.state.distributed_type != DistributedType.NO and _is_set("ACCELERATE_USE_FSDP")

    def wait(self) -> None:
        """Until all processes have come here."""
        self.state.wait_for_everyone()

    def told(self, value: T) -> T:
        """The first process's `value`, in all of them."""
        box = [value]
        if self.number > 1:
            broadcast_object_list(box)
        return box[0]

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Which of the flags are set in any process."""
        if self.number == 1:
            return list(flags)
        found = torch.tensor([int(each) for each in flags], device=self.state.device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return [bool(each) for each in found.tolist()]

    @contextmanager
    def of_one_voice(self) -> Iterator[None]:
        """Where processes fail, the first to do so tells why; the others, which fail for want of it, end in silence.

        Raises:
            ToldElsewhere: instead of an error that another process tells, or that follows from its end.
        """
        try:
            yield
        except Exception as error:
            if self.number == 1 or self._fails_first():
                raise
            silent = ToldElsewhere()
            silent.exit_code = getattr(error, "exit_code", 1)
            raise silent from error
        if self.number > 1:
            atexit.register(_part)  # only now: after a failure others might wait for what never comes

    def has_failed(self) -> bool:
        """Whether an error has ended any process."""
        if self.number == 1:
            return False
        try:
            return bool(distributed.distributed_c10d._get_default_store().check([self._failed]))
        except (RuntimeError, ValueError):
            return True  # the process that kept count is gone

    def _fails_first(self) -> bool:
        try:
            return bool(distributed.distributed_c10d._get_default_store().add(self._failed, 1) == 1)
        except (RuntimeError, ValueError):
            return False

    def require_shared(self, run: Run) -> None:
        """Raise a UsageError where this process does not see the run folder that the first has begun."""
        if not run.recipe.is_file():
            raise UsageError(
                f"{socket.gethostname()} does not see {run.path}, which the first process has begun; "
                "--out must lie in a folder that all machines share"
            )

    def prepare_for(self, settings: Train) -> None:
        """Raise a UsageError where the recipe asks for what sharded weights do not allow."""
        if not self.sharded:
            return
        if settings.vision_cache and not settings.part_rates()["clip"]:
            # The launcher's default loads weights in the first process alone; here each encodes pictures beforehand.
            os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
        problems = {
            'optimizer = "muon"': settings.optimizer == "muon",
            'optimizer = "adamw_8bit"': settings.optimizer == "adamw_8bit",
            'method = "qlora"': settings.method == "qlora",
        }
        for what, is_so in problems.items():
            if is_so:
                raise UsageError(
                    f"{what} needs whole matrices in each process, and FSDP2 shards them; launch without --use_fsdp"
                    + (', or take optimizer = "adamw"' if "optimizer" in what else "")
                )

    def require_own_kind(self, checkpoint: Path) -> None:
        """Raise a RunError where a checkpoint holds sharded weights and this launch whole ones, or the reverse."""
        sharded = any(checkpoint.glob("pytorch_model_fsdp*"))
        if sharded != self.sharded:
            kinds = {True: "with FSDP2 (accelerate launch --use_fsdp --fsdp_version 2)", False: "without FSDP2"}
            raise RunError(
                f"{checkpoint} was written {kinds[sharded]} and this launch is {kinds[self.sharded]}; "
                "go on as the run began, with any number of processes"
            )

    def set_up_sharding(self, accelerator: Accelerator) -> None:
        """Shard on CPUs too, as torch can and Accelerate does not; in bfloat16, add gradients up in float32."""
        if not self.sharded:
            return
        state = accelerator.state
        if accelerator.distributed_type == DistributedType.MULTI_CPU:
            state.fsdp_plugin = FullyShardedDataParallelPlugin()
            state.distributed_type = DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        if accelerator.mixed_precision == "bf16":
            state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)


def is_first() -> bool:
    """Whether this process, which has been set up, is the one that speaks."""
    return bool(PartialState().is_main_process)


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("true", "1", "yes")


def _unusable_launch() -> str | None:
    """Why the way this process was launched cannot train, or None."""
    if _is_set("ACCELERATE_USE_DEEPSPEED"):
        return "DeepSpeed is not supported; shard with FSDP2: accelerate launch --use_fsdp --fsdp_version 2"
    if _is_set("ACCELERATE_USE_MEGATRON_LM"):
        return "Megatron-LM is not supported; shard with FSDP2: accelerate launch --use_fsdp --fsdp_version 2"
    if _is_set("ACCELERATE_USE_FSDP") and os.environ.get("FSDP_VERSION", "1") != "2":
        return "FSDP1 is not supported; add --fsdp_version 2 to accelerate launch"
    alone = not any(name in os.environ for name in ("RANK", *_MPI))
    if alone and _is_set("ACCELERATE_USE_CPU") and "MASTER_ADDR" in os.environ:
        return (
            "accelerate launch --cpu starts one process without MPI, however many are asked for; "
            "give --multi_gpu instead of --cpu: where there is no GPU, the processes compute on CPUs"
        )
    return None
