"""The pictures and videos of a tree, found by what a table calls them."""

from collections import defaultdict
from pathlib import PurePosixPath

from au_dist.core.errors import IngestError
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.tree import Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES


class FilesBelow:
    """Files by the end of their name.

    A table may call a file by its whole path, by that below the root, or by any end of it; also without the suffix, or
    with that of what was coded in ELAN.

    Args:
        tree: Where they are.
    """

    def __init__(self, tree: Tree) -> None:
        self.root = tree.root
        self.ends: dict[str, list[Entry]] = defaultdict(list)
        for entry in tree.entries:
            if entry.suffix in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
                for last in {entry.parts[-1].lower(), entry.stem.lower()}:
                    self.ends[last].append(entry)

    def named(self, name: str, where: str) -> Entry | None:
        """Return the file of a name; None where there is none.

        Args:
            name: What the table calls it.
            where: The place in the table, for a person.

        Raises:
            IngestError: Several files are called so.
        """
        plain = name.replace("\\", "/").removesuffix(".eaf")
        if PurePosixPath(plain).is_relative_to(self.root):
            plain = str(PurePosixPath(plain).relative_to(self.root))
        parts = tuple(part for part in plain.lower().split("/") if part not in ("", "."))
        if not parts:
            return None
        fitting = [entry for entry in self.ends.get(parts[-1], ()) if _parts(entry, parts[-1])[-len(parts) :] == parts]
        whole = [entry for entry in fitting if _parts(entry, parts[-1]) == parts]
        fitting = whole or fitting
        if len(fitting) > 1:
            raise IngestError(
                "Two files have the name that the table gives",
                where=where,
                expected="a path that only one of them has",
                found=f"{name}: {fitting[0].where} and {fitting[1].where}",
                fix="Give paths below the root, with the suffix.",
            )
        return fitting[0] if fitting else None


def _parts(entry: Entry, last: str) -> tuple[str, ...]:
    """Return the parts of a file's name in small letters; without the suffix where the last part asked for has none."""
    path = PurePosixPath(entry.name.lower())
    return (path if path.name == last else path.with_suffix("")).parts
