"""What all sections of recipes and campaigns are."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

#: Labels of nodes, each with its one value; Ray's signs for others (`!value`, `in(a,b)`) are not among them.
NodeLabels = dict[
    Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./_-]*$")], Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
]


class Section(BaseModel):
    """Base of every section: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
