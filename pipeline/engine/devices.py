"""Where training and prediction run, in which precision, and what they use."""

from __future__ import annotations

import dataclasses
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from accelerate import (  # type: ignore[import-untyped]
    Accelerator,
    DistributedDataParallelKwargs,
    PartialState,
)
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from torch import Tensor, nn

from pipeline.distributed import process_count
from pipeline.engine.memory import keep_freed_memory


def pick_device() -> torch.device:
    """The device of this process: accelerate's choice, one GPU per process, or the CPU.

    Joins the process group when `accelerate launch` or `torchrun` started the process.
    """
    device: torch.device = PartialState(cpu=_on_cpu()).device
    return device


def make_accelerator(precision: Literal["auto", "fp32", "bf16"]) -> Accelerator:
    """Accelerate for this process.  precision: auto is bf16 on a GPU that computes in it, else fp32."""
    bf16 = precision == "bf16" or (precision == "auto" and _has_bf16(pick_device()))
    # One process may train several runs; accelerate keeps the first one's precision otherwise.
    AcceleratorState._reset_state()
    # A network may have parts that a batch does not reach.
    spread = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision="bf16" if bf16 else "no", cpu=_on_cpu(), kwargs_handlers=[spread])


def half_precision(device: torch.device) -> torch.autocast:
    """Context of a forward pass without gradients: bf16 where it pays, as in training, else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=_has_bf16(device))


def _has_bf16(device: torch.device) -> bool:
    """Whether bf16 pays: older GPUs and CPUs emulate it, more slowly than float32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _on_cpu() -> bool:
    """Several processes without GPUs form a group only if accelerate is told to stay on the CPU."""
    return "LOCAL_RANK" in os.environ and not torch.cuda.is_available()


@contextmanager
def prepared(accelerator: Accelerator, module: nn.Module) -> Iterator[nn.Module]:
    """The module on its device, wrapped for mixed precision and for several processes.

    In bf16 the forward runs under autocast and its outputs are float32 again, so losses are computed
    in full precision.  Afterwards the module itself is as it was, but on the device.
    """
    half = accelerator.mixed_precision == "bf16"
    hook = module.register_forward_hook(_full_precision) if half else None
    try:
        yield accelerator.prepare(module)
    finally:
        if hook is not None:
            hook.remove()
        for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
            module.__dict__.pop(name, None)


def _full_precision(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    """Accelerate converts tensors, lists and dicts; this converts the fields of dataclasses."""
    return _to_float32(outputs)


def _to_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_to_float32(item) for item in value)
    if isinstance(value, dict):
        return {name: _to_float32(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: _to_float32(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **changes)
    return value


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """`threads` CPU threads and deterministic kernels where there are any; afterwards as before.

    It has one lasting effect: the process keeps the memory that it frees.
    """
    keep_freed_memory()
    # cuBLAS reads it when it starts; without it, its results vary.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    memory: Any = torch.utils.deterministic
    before = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.benchmark,
        memory.fill_uninitialized_memory,
    )
    torch.set_num_threads(threads)
    # As `use_deterministic_algorithms(True, warn_only=True)`, which imports a compiler: a second per process.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False
    memory.fill_uninitialized_memory = False  # only finds bugs, and costs time
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        torch.backends.cudnn.benchmark = before[2]
        memory.fill_uninitialized_memory = before[3]


def device_title(device: torch.device) -> str:
    """`cpu`, or the GPU's name; with the number of processes if there are several."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return name if process_count() == 1 else f"{process_count()} x {name}"


def peak_memory_mib(device: torch.device) -> int:
    """The most memory this process has used so far, in MiB: of the GPU, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) // 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
