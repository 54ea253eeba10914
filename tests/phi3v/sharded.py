"""Several processes that share a model's weights: `python sharded.py FOLDER PROCESSES`.

The first forks the others, once it has imported what all need. FOLDER holds the model, work.pt (for each rank what to
generate and what to learn from) and gets answers-RANK.pt.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hangtag.errors import ModelError
from hangtag.phi3v import Phi3VForCausalLM


def answer(model: Phi3VForCausalLM, inputs: dict[str, Any]) -> Any:
    """The ids that come back, or the error's text."""
    try:
        return model.generate(**inputs).tolist()
    except ModelError as error:
        return str(error)


def main(folder: Path, rank: int, processes: int) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder.absolute()}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
    mesh = init_device_mesh("cpu", (processes,))
    model = Phi3VForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    for module in [each for each in model.modules() if type(each).__name__ in model._no_split_modules]:
        fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    work = torch.load(folder / "work.pt")[rank]
    answers = [answer(model, inputs) for inputs in work["generate"]]
    model(**work["learn"]).loss.backward()
    gradients = {name: each.grad.full_tensor() for name, each in model.named_parameters() if each.grad is not None}
    torch.save({"answers": answers, "gradients": gradients}, folder / f"answers-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    processes = int(sys.argv[2])
    rank = next((rank for rank in range(1, processes) if os.fork() == 0), 0)
    main(Path(sys.argv[1]), rank, processes)
    if rank == 0:
        sys.exit(any(os.wait()[1] for _ in range(1, processes)))
