"""`dvc repro` with independent stages side by side, one per core (or per GPU).

DVC runs stages one after the other.  Two one-thread trainings side by side give 1.75 times the throughput of
one, one training on two threads 1.29 times, so the launcher starts every stage as soon as what it
depends on is done, if it has changed by then.  Plain `dvc repro` gives the same bytes.

On a CPU it runs as many stages as there are cores; more would take the cache from each other.  Where only one
more could start, it does, too: three trainings on two cores end together instead of leaving a core idle
during the last.  The first stage has precedence, so that the one that most stages wait for is not held up.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO

from pipeline.errors import UserError
from pipeline.layout import Layout
from pipeline.params import Params
from pipeline.workflow.changes import open_changes
from pipeline.workflow.check import check_networks, check_params, check_supervision
from pipeline.workflow.dag import dependencies

_POLL_SECONDS = 0.1
_NICE = 5  # of every stage that starts beside others: it has a third of their weight
_NEWS_SECONDS = 15.0
_STOP_SECONDS = 120.0  # that stages have to end by themselves after an interrupt: a step and a checkpoint


@dataclass
class _Running:
    stage: str
    slot: int
    process: subprocess.Popen[bytes]
    log: Path
    output: IO[bytes]
    started: float


def repro(root: Path, jobs: int = 0) -> None:
    """Bring the whole pipeline up to date, up to `jobs` stages at a time (0: as many as fit).

    Raises UserError for the first stage that fails, after those beside it have ended, and when another
    launch runs here already.  SIGTERM and a closed terminal stop it as Ctrl-C does, with all its stages.
    """
    params = check_params(root)
    with _only_launch(root) as lock, _stopped_by_signals():
        _repro(root, params, jobs, lock)


def _repro(root: Path, params: Params, jobs: int, lock: int) -> None:
    began = time.monotonic()
    gpus = count_gpus()
    slots = jobs or gpus or max(1, (os.cpu_count() or 1) // most_threads(params))
    spare = 0 if jobs or gpus else 1
    with open_changes(root) as changes:
        changes.release_dead()
        check_supervision(root, changes.dag, params)
        waits_for = dependencies(changes.dag)
        stale = set(filter(changes.changed, waits_for))
        if stale:
            check_networks(params)
        times = _run_stages(root, stale, waits_for, changes.changed, slots, gpus, lock, spare=spare)
    if times:
        _confirm(root)
    for stage, seconds in sorted(times.items(), key=lambda item: -item[1]):
        print(f"{seconds:8.1f} s  {stage}")
    total = time.monotonic() - began
    print(f"{total:8.1f} s  in all, up to {slots} stages at a time" if times else "everything is up to date")
    print(f"report: {Layout(root, params.benchmark).reports / 'index.html'}")


def _confirm(root: Path) -> None:
    """What the launcher did must be all there is to do: DVC has the last word."""
    with open_changes(root) as changes:
        if not any(map(changes.changed, changes.dag)):
            return
    if subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=root, check=False).returncode:
        raise UserError("dvc repro", "", "did not end well", "see the lines above")


def most_threads(params: Params) -> int:
    """The largest thread count that any stage of these params computes with."""
    threads = [params.predict.threads, *(method.train.threads for method in params.methods.values())]
    threads += [made.labeling.threads for made in params.pseudo_labels.values()]
    if any(run.task == "masks_in_boxes" for run in params.runs.values()):
        threads.append(params.predict.labeling.threads)
    threads += [start.threads for start in params.backbones.values() if start.kind == "shapes_pretraining"]
    maps = (params.all_cams, params.semantic_methods, params.spread, params.semantic_predict)
    threads += _threads([row.model_dump() for table in maps for row in table.values()])
    return max(threads)


def _threads(value: object) -> Iterator[int]:
    """All that is called `threads` in nested dicts and sequences."""
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _threads(entry)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if name == "threads":
                yield entry
            yield from _threads(entry)


def count_gpus() -> int:
    """NVIDIA GPUs that nvidia-smi lists and CUDA_VISIBLE_DEVICES leaves visible."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    if listed.returncode:
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


@contextmanager
def _only_launch(root: Path) -> Iterator[int]:
    """Hold the repository's launch lock and yield its descriptor.

    The stages inherit it, so that it is still held while a stage runs on whose launcher was killed.
    Raises UserError while another launch holds it.
    """
    path = root / ".checkpoints" / "repro.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode().strip() or "unknown"
            raise UserError(
                root.resolve(),
                "",
                f"`python -m pipeline repro` (process {owner}), or a stage of it, runs here already",
                "wait until it has ended",
            ) from None
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP as Ctrl-C; a SIGHUP that is ignored (nohup) stays so.

    A shell starts background jobs with SIGINT ignored, and the stages, which SIGINT is to stop, would inherit
    that: then SIGINT is handled here too, as a handled signal is the default one again in a new program.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    replaced = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.SIG_IGN}
    replaced = {number: usual for number, usual in replaced.items() if signal.getsignal(number) is usual}
    for number in replaced:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, usual in replaced.items():
            signal.signal(number, usual)


def _by_weight(waits_for: dict[str, set[str]], stale: set[str]) -> list[str]:
    """Stale stages and all that follow from them, those that most others wait for first."""

    @cache
    def before(name: str) -> frozenset[str]:
        return frozenset(waits_for[name]).union(*map(before, waits_for[name]))

    weights = Counter(other for name in waits_for for other in before(name))
    todo = [name for name in waits_for if name in stale or before(name) & stale]
    return sorted(todo, key=lambda name: (-weights[name], name))


def _run_stages(
    root: Path,
    stale: set[str],
    waits_for: dict[str, set[str]],
    changed: Callable[[str], bool],
    slots: int,
    gpus: int,
    lock: int,
    *,
    spare: int = 0,
) -> dict[str, float]:
    """Run the stale stages and what follows from them, each as soon as it can; returns the seconds each took.

    spare: slots more, taken only by all stages that can start.
    A stage that waited for one that ran is asked again whether it has changed: what comes out as it was
    makes no work, and costs no process.
    """
    todo = _by_weight(waits_for, stale)
    times: dict[str, float] = {}
    running: list[_Running] = []
    failed: _Running | None = None
    news = time.monotonic()
    try:
        while running or (todo and failed is None):
            while failed is None and (ready := _ready(todo, waits_for, running)):
                some = len(running) + len(ready) > slots + spare
                if len(running) >= (slots if some else slots + spare):
                    break
                stage = ready[0]
                todo.remove(stage)
                if changed(stage) if waits_for[stage] & times.keys() else stage in stale:
                    free = min(set(range(slots + spare)) - {job.slot for job in running})
                    running.append(_start(root, stage, free, gpus, lock, nice=bool(running)))
            for job in [job for job in running if job.process.poll() is not None]:
                running.remove(job)
                job.output.close()
                times[job.stage] = time.monotonic() - job.started
                if job.process.returncode:
                    failed = failed or job
                    beside = ", ".join(other.stage for other in running)
                    _tell(job.stage, f"FAILED; still to end: {beside}" if beside else "FAILED")
                else:
                    _tell(job.stage, f"done in {times[job.stage]:.1f} s")
                    for line in _log_lines(job.log):
                        if line.startswith("warning: "):  # what was left out must not end in a log alone
                            _tell(job.stage, line)
            if time.monotonic() - news > _NEWS_SECONDS:
                news = time.monotonic()
                for job in running:
                    _tell(job.stage, _last_line(job.log))
            time.sleep(_POLL_SECONDS)
    except BaseException:
        _stop(running)
        raise
    if failed is not None:
        print("\n".join(_log_lines(failed.log)[-15:]), file=sys.stderr)
        raise UserError(
            "stage",
            failed.stage,
            f"failed; see {failed.log.relative_to(root)}",
            "correct what it says and repeat the command: finished stages are kept",
        )
    return times


def _stop(running: list[_Running]) -> None:
    """Interrupt the stages, as Ctrl-C does, and wait until they have ended; kill them if that is in vain.

    A training saves a checkpoint first.  The signal goes to DVC and to the stage that it runs: DVC alone
    would die and leave the stage behind.
    """
    if not running:
        return
    stages = ", ".join(job.stage for job in running)
    print(f"stopping {stages} (Ctrl-C again to kill)", file=sys.stderr, flush=True)
    _signal(running, signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        while any(job.process.poll() is None for job in running) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        pass
    _signal(running, signal.SIGKILL)
    for job in running:
        job.process.wait()
        job.output.close()


def _signal(running: list[_Running], number: signal.Signals) -> None:
    for job in running:
        with suppress(ProcessLookupError):  # nothing is left of its group
            os.killpg(job.process.pid, number)


def _ready(todo: list[str], waits_for: dict[str, set[str]], running: list[_Running]) -> list[str]:
    """The stages that wait for none that is still to end."""
    to_end = {job.stage for job in running} | set(todo)
    return [stage for stage in todo if not waits_for[stage] & to_end]


def _start(root: Path, stage: str, slot: int, gpus: int, lock: int, *, nice: bool) -> _Running:
    """Start DVC on one stage, in a process group of its own, so that `_stop` reaches all that it starts.

    A group, not a session: the kernel may share out time between sessions first, and weigh niceness only
    inside one.
    """
    log = root / ".checkpoints" / "logs" / f"{stage}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [str(index) for index in range(gpus)]
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % gpus].strip()
    _tell(stage, "started")
    output = log.open("wb")
    process = subprocess.Popen(
        _command(stage),
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        process_group=0,
        pass_fds=(lock,),
    )
    if nice:
        os.setpriority(os.PRIO_PGRP, process.pid, _NICE)
    return _Running(stage, slot, process, log, output, time.monotonic())


def _command(stage: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.workflow.single_item", stage]


def _tell(stage: str, message: str) -> None:
    print(f"{stage}: {message}", flush=True)


def _log_lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").strip().splitlines()


def _last_line(log: Path) -> str:
    lines = _log_lines(log)
    return lines[-1][:160] if lines else "running"
