"""Render the comparison: page, table, figures."""

from pipeline.errors import run_or_exit
from pipeline.report.load import load_report_data
from pipeline.report.write import write_report
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, _ = open_stage()
    write_report(load_report_data(layout.root, params), layout.reports)


if __name__ == "__main__":
    run_or_exit(main)
