"""Compare the rows of each task: retention, intervals over images, differences."""

from pipeline.errors import run_or_exit
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.matches import Matches
from pipeline.evaluation.semantic_comparison import compare_label_maps, compare_semantic
from pipeline.evaluation.semantic_counts import SemanticCounts
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
    counts = {
        name: {seed: SemanticCounts.load(layout.evaluation(name, seed)) for seed in row.seeds}
        for name, row in params.semantic_trained.items()
    }
    maps = {name: SemanticCounts.load(layout.label_counts(name)) for name in params.scored_labels}
    draws = (params.semantic_evaluate.bootstrap_samples, params.semantic_evaluate.bootstrap_seed)
    compared = compare_semantic(
        counts, {name: row.oracle for name, row in params.semantic_trained.items()}, *draws
    )
    write_json(layout.semantic_comparison, {**compared, "label_maps": compare_label_maps(maps, *draws)})


if __name__ == "__main__":
    run_or_exit(main)
