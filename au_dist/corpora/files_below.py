"""The pictures and videos of a tree, found by what a table calls them."""

from pathlib import PurePosixPath

from au_dist.core.errors import IngestError
from au_dist.corpora.folder import VIDEO_SUFFIXES
from au_dist.corpora.timelines import is_timeline
from au_dist.corpora.tree import Ends, Entry, Tree
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
        suffixes = PICTURE_SUFFIXES | VIDEO_SUFFIXES
        self.ends = Ends((entry for entry in tree.entries if entry.suffix in suffixes), bare=True)

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
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        if not parts:
            return None
        fitting = self.ends.find("/".join(parts))
        whole = [entry for entry in fitting if len(entry.parts) == len(parts)]
        fitting = whole or fitting
        if len(fitting) > 1:
            fitting = [entry for entry in fitting if entry.member is not None or not is_timeline(entry.path)]
        if len(fitting) > 1:
            raise IngestError(
                "Two files have the name that the table gives",
                where=where,
                expected="a path that only one of them has",
                found=f"{name}: {fitting[0].where} and {fitting[1].where}",
                fix="Give paths below the root, with the suffix.",
            )
        return fitting[0] if fitting else None
