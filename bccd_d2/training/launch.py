"""Starting one process or several: alone, spawned here, or under torchrun; CPU or GPU."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from detectron2.utils import comm


@dataclass(frozen=True)
class Processes:
    """How many processes train together.

    Attributes:
        per_machine: processes on each machine; on GPUs one a GPU.
        machines: number of machines.
        machine_rank: which of them this is, from 0.
        url: where they meet, "tcp://host:port"; "auto" on a single machine.
        device: "cpu" or "cuda".
    """

    per_machine: int = 1
    machines: int = 1
    machine_rank: int = 0
    url: str = "auto"
    device: str = "cpu"


def device_type(device: str) -> str:
    """"cpu" or "cuda" of a device such as "cuda:1"; for "auto" a GPU where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device.split(":")[0]


def launch(function: Callable[..., Any], processes: Processes, *args: Any) -> Any:
    """Call ``function(*args)`` in every process, with a process group where there are several.

    Under torchrun its environment decides and nothing is spawned. The back end is nccl on GPUs and
    gloo on the CPU; detectron2's own `launch` refuses several processes on a CPU.

    Returns:
        What the function returns when it runs in this process; None when processes were spawned.

    Raises:
        ValueError: more processes than GPUs, or several machines without a url.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        local, local_world = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
        _join("env://", rank, world, local, local_world, processes.device)
        return _leave_together(function, args)
    world = processes.per_machine * processes.machines
    if world == 1:
        return function(*args)
    if processes.device == "cuda" and processes.per_machine > torch.cuda.device_count():
        raise ValueError(
            f"--processes {processes.per_machine}, but there are {torch.cuda.device_count()} GPUs; "
            "add --device cpu to train in several processes on the CPU"
        )
    url = processes.url
    if url == "auto":
        if processes.machines > 1:
            raise ValueError("--dist-url tcp://HOST:PORT is needed with several machines")
        url = f"tcp://127.0.0.1:{_free_port()}"
    torch.multiprocessing.spawn(
        _worker, nprocs=processes.per_machine, args=(function, processes, url, args)
    )
    return None


def _worker(local: int, function: Callable, processes: Processes, url: str, args: tuple) -> None:
    world = processes.per_machine * processes.machines
    rank = processes.machine_rank * processes.per_machine + local
    _join(url, rank, world, local, processes.per_machine, processes.device)
    _leave_together(function, args)


def _leave_together(function: Callable, args: tuple) -> Any:
    """Call the function; when it went well, wait for the others before leaving the group.

    A process that leaves while another still talks to it can be aborted by gloo's threads, and so
    can one that exits while detectron2 still holds groups it made: they are let go first.
    """
    try:
        result = function(*args)
        dist.barrier()
        return result
    finally:
        comm._LOCAL_PROCESS_GROUP = None
        comm._get_global_gloo_group.cache_clear()
        dist.destroy_process_group()


def _join(url: str, rank: int, world: int, local: int, local_world: int, device: str) -> None:
    """Join the process group and tell detectron2 which ranks share this machine."""
    on_gpu = device == "cuda"
    if on_gpu:
        torch.cuda.set_device(local)
    else:
        # Spinning OpenMP threads of one process starve those of the next.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_world))
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, init_method=url, rank=rank, world_size=world)
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(local_world)
    else:
        _local_groups_of_0_6(rank, world, local_world)


def _local_groups_of_0_6(rank: int, world: int, local_world: int) -> None:
    for first in range(0, world, local_world):
        ranks = list(range(first, first + local_world))
        group = dist.new_group(ranks)
        if rank in ranks:
            comm._LOCAL_PROCESS_GROUP = group


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
