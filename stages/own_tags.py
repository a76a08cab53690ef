"""Make a label set of tags that people gave, a file of the user."""

from pipeline.data.packs import Pack
from pipeline.errors import run_or_exit
from pipeline.files import read_json
from pipeline.labels.own_tags import write_own_tags
from pipeline.workflow.stage import open_stage


def main() -> None:
    params, layout, name = open_stage("--name")
    images = read_json(layout.annotations("train"))["images"]
    about = Pack(layout.semantic("train")).about
    folder, row = layout.labels(name).parent, params.own_tags[name]
    write_own_tags(row, layout.root, images, about["classes"], about["background"], folder)


if __name__ == "__main__":
    run_or_exit(main)
