"""The command line of ``reid-train`` as options of a run, completed by what a resumed run kept."""

from __future__ import annotations

import argparse
from pathlib import Path

from runtime.errors import ReidEdgeError
from training.initialize import Start, start_path
from training.options import TrainOptions, completed
from training.recipe import Recipe, parse, read_recipe
from training.run_folder import RunFolder


def request(arguments: argparse.Namespace) -> TrainOptions:
    """What is asked for.

    Raises:
        ReidEdgeError: A recipe that cannot be used, nothing to resume, or options that contradict
            those of the run that is resumed.
    """
    given = {
        "data": arguments.data,
        "evaluation": arguments.eval,
        "layout": arguments.layout,
        "views": arguments.views,
        "include_val": arguments.include_val,
        "protocol": arguments.protocol,
        "identities": arguments.identities,
        "teacher": arguments.teacher and start_path(arguments.teacher),
        "init": arguments.init and start_path(arguments.init),
        "teacher_arch": arguments.teacher_arch,
        "init_arch": arguments.init_arch,
        "allow_pickle": arguments.allow_pickle,
        "skip_unreadable": arguments.skip_unreadable,
    }
    changes = dict(arguments.set)
    kept: dict = {}
    stored: Recipe | None = None
    if arguments.resume:
        folder = RunFolder(arguments.out or _default_out(arguments.recipe))
        stored = parse(folder.stored_recipe(), str(folder.recipe))
        kept = dict((folder.stored_record() or {}).get("asked", {}))
        if folder.state.exists():
            kept["init"] = None  # the weights go on from the state
        given = completed(given, kept, folder.path)
        if given["data"] is None:
            raise ReidEdgeError(
                f"{folder.path} does not say what it was trained on; pass --data and what else it "
                "was started with."
            )

    def network():
        if stored is not None:
            return stored.network
        return Start(given["init"], given["init_arch"], given["allow_pickle"]).spec()

    if arguments.recipe is None:
        recipe = stored if stored is not None and not changes else None
        if recipe is None:
            recipe = read_recipe(RunFolder(arguments.out).recipe, changes)
    else:
        recipe = read_recipe(
            arguments.recipe, changes, network if given["init"] or stored else None
        )
    return TrainOptions(
        recipe=recipe,
        out=arguments.out or _default_out(recipe.name),
        resume=arguments.resume,
        device=arguments.device,
        threads=arguments.threads,
        **given,
    )


def _default_out(name: str) -> Path:
    return Path("runs") / Path(name).stem
