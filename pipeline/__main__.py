"""`python -m pipeline check | use NAME | repro`: what DVC itself does not offer."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.errors import run_or_exit


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="validate params.yaml, the data's paths and the DAG")
    use = commands.add_parser("use", help="replace params.yaml by a preset")
    use.add_argument("preset")
    use.add_argument("--force", action="store_true", help="overwrite edits of params.yaml")
    repro = commands.add_parser("repro", help="dvc repro, with independent stages side by side")
    repro.add_argument("--jobs", type=_jobs, default=0, help="stages at a time (default: by cores or GPUs)")
    arguments, root = parser.parse_args(), Path()
    if arguments.command == "check":
        from pipeline.workflow.check import check

        params = check(root)
        print(
            f"params.yaml, data and pipeline of the benchmark {params.benchmark} are in order"
            f" ({len(params.trained) + len(params.semantic_trained)} runs, {len(params.untrained)} baselines)"
        )
    elif arguments.command == "use":
        from pipeline.workflow.presets import use_preset

        use_preset(root, arguments.preset, force=arguments.force)
        print(f"params.yaml is now the preset {arguments.preset}; next: python -m pipeline check")
    else:
        from pipeline.workflow.launcher import repro as run_stages

        run_stages(root, arguments.jobs)


def _jobs(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a count of stages: 1 or more, 0 for the default")
    return int(text)


if __name__ == "__main__":
    run_or_exit(main)
