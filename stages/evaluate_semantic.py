"""Score one run's label maps on the ground truth of the validation images."""

from pipeline.data.packs import Pack
from pipeline.errors import run_or_exit
from pipeline.evaluation.semantic import evaluate_semantic, summarise_semantic, write_shown_truth
from pipeline.files import write_json
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, run = open_stage("--run")
    truth, settings = Pack(layout.semantic("val")), params.semantic_evaluate
    metrics, counts = {}, {}
    for seed in params.semantic_trained[run].seeds:
        maps, refined = (Pack(layout.predictions(run, seed) / name) for name in ("maps", "maps_crf"))
        metrics[seed], counts[seed] = evaluate_semantic(truth, maps, refined, settings, params.executor)
        counts[seed].save(layout.evaluation(run, seed))
    write_shown_truth(truth, counts[min(counts)], params.report.gallery, layout.shown_truth(run))
    write_json(layout.metrics(run), summarise_semantic(metrics, counts, settings))


if __name__ == "__main__":
    run_or_exit(main)
