"""Compare the runs: retention, intervals over images, differences."""

from pipeline.errors import run_or_exit
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.matches import Matches
from pipeline.files import write_json
from pipeline.workflow.stage import open_stage, seeds_of


def main() -> None:
    params, layout, _ = open_stage()
    oracles = {row: params.trained[run].oracle for row, run in params.rows.items()}
    oracles |= {name: row.oracle for name, row in params.untrained.items()}
    matches = {
        name: {seed: Matches.load(layout.evaluation(name, seed)) for seed in seeds_of(params, name)}
        for name in oracles
    }
    settings = params.evaluate
    write_json(
        layout.comparison, compare(matches, oracles, settings.bootstrap_samples, settings.bootstrap_seed)
    )


if __name__ == "__main__":
    run_or_exit(main)
