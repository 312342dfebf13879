"""The recipe: everything that decides how a network is trained, as a validated YAML file.

Unknown fields are refused, so a typing error cannot silently train something else. What a field
means is written at the field; ``reid-train --fields`` prints it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Optional

import yaml
from pydantic import BaseModel, Field, PositiveInt
from pydantic import ValidationError as PydanticError

from models.spec import NetworkSpec
from runtime.errors import ReidEdgeError
from training.augment import Pipeline
from training.augment.pipeline import STEPS
from training.settings import Data, Ema, Losses, Optimizer, Sampler, Schedule, Section, Teacher

FOLDER = Path(__file__).resolve().parent / "recipes"


class Recipe(Section):
    """One training run. See the shipped files in ``training/recipes``."""

    name: str = Field(
        default="custom", pattern=r"^[A-Za-z0-9_.-]+$", description="name of the recipe"
    )
    description: str = Field(default="", description="what it is for")
    network: NetworkSpec = Field(description="what is trained, see models/spec.py")
    data: Data = Data()
    sampler: Sampler = Sampler()
    augment: dict[str, dict[str, Any]] = Field(
        default={"flip": {"probability": 0.5}},
        description="augmentations by name with their parameters, see training/augment",
    )
    losses: Losses = Losses()
    teacher: Teacher = Teacher()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    ema: Optional[Ema] = Field(default=None, description="running mean of the weights; null: off")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="bf16: autocast to bfloat16"
    )
    evaluate_every_epochs: PositiveInt = Field(
        default=10, description="with --eval; the end is always judged"
    )
    seed: int = Field(default=0, ge=0, description="of every random choice")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able and YAML-able; ``parse`` reads it back."""
        return self.model_dump(mode="json")


def shipped() -> list[str]:
    """Names of the recipes that come with reid-edge."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_recipe(name: str | Path, changes: Mapping[str, str] | None = None) -> Recipe:
    """Read a shipped recipe by name, or a YAML file by path.

    Args:
        name: ``"bot"``, ``"rga"``, ``"small"``, ..., or a path ending in ``.yaml`` or ``.yml``.
        changes: Dotted field to YAML text, e.g. ``{"schedule.epochs": "3"}``.

    Raises:
        ReidEdgeError: No such recipe, not YAML, unknown fields or values out of range.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name}.yaml"
        if str(name) not in shipped():
            raise ReidEdgeError(
                f"No recipe {str(name)!r}; choose {', '.join(shipped())} or give a .yaml file."
            )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReidEdgeError(f"Cannot read recipe {path}: {error.strerror or error}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ReidEdgeError(f"{path} is not valid YAML ({reason}); correct it.") from None
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ReidEdgeError(
            f"{path} must be a YAML mapping of recipe fields, got {type(content).__name__}."
        )
    for dotted, text in (changes or {}).items():
        _set(content, dotted, text)
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str) -> Recipe:
    """Validate a recipe's fields; ``where`` is named in errors.

    Raises:
        ReidEdgeError: Unknown field, wrong type or value out of range.
    """
    try:
        recipe = Recipe.model_validate(content)
    except PydanticError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        what = {
            "extra_forbidden": "is not a field of a recipe",
            "unexpected_keyword_argument": "is not a field of a recipe",
        }.get(first["type"], first["msg"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ReidEdgeError(
            f"{where}: {field} {what}{more}; `reid-train --fields` lists all fields."
        ) from None
    except ReidEdgeError as error:  # from NetworkSpec
        raise ReidEdgeError(f"{where}: {error}") from None
    _check_consistent(recipe, where)
    return recipe


def _check_consistent(recipe: Recipe, where: str) -> None:
    """Refuse combinations that cannot train."""
    losses, sampler = recipe.losses, recipe.sampler
    try:
        Pipeline.build(recipe.augment, _no_source)
    except ReidEdgeError as error:
        raise ReidEdgeError(f"{where}: {error}") from None
    parts = [getattr(losses, name) for name in type(losses).model_fields]
    if not any(part.weight > 0 for part in parts):
        raise ReidEdgeError(f"{where}: there is no loss with a weight above 0; set one.")
    for name in ("triplet", "circle"):  # without two images of a person they are always 0
        if getattr(losses, name).weight > 0 and sampler.kind != "pk":
            raise ReidEdgeError(f"{where}: the {name} loss needs sampler.kind pk, got uniform.")
        if getattr(losses, name).weight > 0 and sampler.images < 2:
            raise ReidEdgeError(
                f"{where}: the {name} loss needs sampler.images of at least 2, got 1."
            )
    if losses.needs_bank and recipe.teacher.mode == "live":
        raise ReidEdgeError(
            f"{where}: losses.distill_similarity.bank needs a fixed teacher; set teacher.mode "
            "fixed or bank false."
        )


def _no_source(rng):
    raise AssertionError("parameters are checked without drawing")


def fields(section: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(dotted name, default, description) of every field, sections opened."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        elif name == "network":
            yield from _documented(NetworkSpec, "network.")
        else:
            inner = [
                a
                for a in getattr(kind, "__args__", ())
                if isinstance(a, type) and issubclass(a, BaseModel)
            ]
            yield f"{prefix}{name}", str(field.default), field.description or ""
            if name == "augment":
                for step, kind_ in STEPS.items():
                    yield from _documented(kind_, f"augment.{step}.")
            if inner:
                yield from fields(inner[0], f"{prefix}{name}.")


def _documented(kind: type, prefix: str) -> Iterator[tuple[str, str, str]]:
    """``fields`` of a dataclass, described as in the "Attributes" of its docstring."""
    text = re.split(r"\n {4}(?:Raises|Args|Returns):", (kind.__doc__ or ""))[0]
    described = {}
    for entry in re.split(r"\n {8}(?=\w)", text.partition("Attributes:")[2]):
        names, _, meaning = " ".join(entry.split()).partition(": ")
        described.update({name.strip(): meaning for name in names.split(",")})
    for field in dataclasses.fields(kind):
        if field.name == "source":  # other crops, which a recipe cannot name
            continue
        default = str(field.default)
        if field.default is dataclasses.MISSING:
            made = field.default_factory is not dataclasses.MISSING
            default = "see its docstring" if made else "required"
        # A table as a default would fill the screen.
        yield (
            f"{prefix}{field.name}",
            default if len(default) < 80 else "a table",
            described[field.name],
        )


def _set(content: dict[str, Any], dotted: str, text: str) -> None:
    """Set a dotted field to a YAML value; whether the field exists is judged by ``parse``."""
    *path, last = dotted.split(".")
    section = content
    for part in path:
        inner = section.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = section[part] = {}
        section = inner
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ReidEdgeError(f"--set {dotted} needs a YAML value, got {text!r}.") from None
