"""The recipe: everything that decides how a network is trained, as a validated YAML file.

Unknown fields are refused, so a typing error cannot silently train something else. What a field
means is written at the field; ``reid-train --fields`` prints it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Optional

import yaml
from pydantic import BaseModel, Field, PositiveInt
from pydantic import ValidationError as PydanticError

from models.spec import NetworkSpec
from runtime.errors import ReidEdgeError
from training.augment.pipeline import STEPS
from training.contradictions import check_consistent
from training.settings import Data, Ema, Losses, Optimizer, Sampler, Schedule, Section, Teacher

FOLDER = Path(__file__).resolve().parent / "recipes"


class Recipe(Section):
    """One training run. See the shipped files in ``training/recipes``."""

    name: str = Field(
        default="custom", pattern=r"^[A-Za-z0-9_.-]+$", description="name of the recipe"
    )
    description: str = Field(default="", description="what it is for")
    fine_tune: bool = Field(
        default=False,
        description="goes on from a trained network, which --init must name; a recipe without a "
        "network section then takes architecture and input from it",
    )
    keep_start: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the starting weights in the network that is judged and saved "
        "(fine_tune); keeps what few people of one place cannot teach",
    )
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


def needs_start(recipe: str) -> str:
    """What to say where a recipe fine-tunes and nothing is given to start from."""
    return (
        f"{recipe} fine-tunes a trained network; pass --init default, the network that comes with "
        "reid-edge, or --init CHECKPOINT."
    )


def shipped() -> list[str]:
    """Names of the recipes that come with reid-edge."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def descriptions() -> dict[str, str]:
    """What each shipped recipe is for."""
    return {name: str(_read(name)[0].get("description", "")) for name in shipped()}


def read_recipe(
    name: str | Path,
    changes: Mapping[str, str] | None = None,
    network: Callable[[], NetworkSpec] | None = None,
) -> Recipe:
    """Read a shipped recipe by name, or a YAML file by path.

    Args:
        name: ``"bot"``, ``"rga"``, ``"small"``, ..., or a path ending in ``.yaml`` or ``.yml``.
        changes: Dotted field to YAML text, e.g. ``{"schedule.epochs": "3"}``.
        network: Gives the network of the checkpoint to start from, asked for only where the recipe
            fine-tunes and has no network section of its own.

    Raises:
        ReidEdgeError: No such recipe, not YAML, unknown fields or values out of range.
    """
    content, path = _read(name)
    # The network comes first, so that single fields of it can be changed.
    if content.get("fine_tune") is True and "network" not in content:
        if network is None:
            raise ReidEdgeError(needs_start(str(path)))
        content["network"] = network().to_dict()
    for dotted, text in (changes or {}).items():
        _set(content, dotted, text)
    return parse(content, str(path))


def _read(name: str | Path) -> tuple[dict[str, Any], Path]:
    """A recipe's fields as they stand in its file, and the file."""
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
    return content, path


_WHAT = {
    "extra_forbidden": "is not a field of a recipe",
    "unexpected_keyword_argument": "is not a field of a recipe",
    "missing": "is missing",
}


def _said(message: str, value: Any) -> str:
    """pydantic's "Input should be a valid integer, ..." with what was got instead."""
    expected = message.removeprefix("Input should be ").partition(", ")[0]
    if expected == message.partition(", ")[0]:  # it says something else
        return f"is {value!r}: {message[:1].lower()}{message[1:]}"
    return f"should be {expected}, got {value!r}"


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
        what = _WHAT.get(first["type"]) or _said(first["msg"], first["input"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ReidEdgeError(
            f"{where}: {field} {what}{more}; `reid-train --fields` lists all fields."
        ) from None
    except ReidEdgeError as error:  # from NetworkSpec
        raise ReidEdgeError(f"{where}: {error}") from None
    check_consistent(recipe, where)
    return recipe


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
