"""The fields of a sweep's YAML file. Imported only for a sweep: a board has no pydantic."""

from __future__ import annotations

from typing import Any, List, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Data(_Strict):
    """An evaluation set: a folder, and which data set it is where its names do not tell."""

    path: str
    dataset: Optional[str] = None


class Options(_Strict):
    """Flags of reid-bench; what is not given keeps the flag's default."""

    batch: Optional[List[PositiveInt]] = None
    threads: Optional[List[PositiveInt]] = None
    repeats: Optional[PositiveInt] = None
    warmup: Optional[int] = Field(default=None, ge=0)
    backend: Optional[List[str]] = None
    precision: Optional[List[Literal["fp32", "fp16", "int8"]]] = None
    latency: Optional[bool] = None
    accuracy: Optional[bool] = None
    alternatives: Optional[bool] = None
    calib: Optional[str] = None
    calib_count: Optional[PositiveInt] = None
    predict: Optional[List[str]] = None
    trained_on: Optional[str] = None
    jobs: Optional[PositiveInt] = None
    seed: Optional[int] = Field(default=None, ge=0)


class SweepFile(_Strict):
    """The file; see benchmarks.sweep."""

    bundles: List[str] = Field(min_length=1)
    data: List[Data] = Field(default_factory=list)
    options: Options = Field(default_factory=Options)
    out: Optional[str] = None

    @field_validator("data", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        """A path alone is a set whose names tell what it is."""
        if not isinstance(value, list):
            return value
        return [{"path": item} if isinstance(item, str) else item for item in value]
