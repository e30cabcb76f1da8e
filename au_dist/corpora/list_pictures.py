"""The pictures of lists: where they are, who is in them, and of which recording they are."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from au_dist.corpora.copies import alike, two_of
from au_dist.corpora.list_files import Listed
from au_dist.corpora.list_names import known_corpus
from au_dist.corpora.options import Options
from au_dist.corpora.people import Pattern, pattern_for, shared_folders
from au_dist.corpora.tree import Ends, Entry, Tree
from au_dist.video.pictures import PICTURE_SUFFIXES

#: A recording: who, in which folder, and the names of its pictures without their numbers.
Recording = tuple[str, str, str]


@dataclass(frozen=True)
class Picture:
    """A picture of a list.

    Attributes:
        path: As it is listed, without the folders that lead to all pictures.
        entry: The file; None where there is none.
        corpus: The corpus that the person belongs to.
        subject: Who it is, with that corpus.
        start: Where in the path that is told.
    """

    path: str
    entry: Entry | None
    corpus: str
    subject: str
    start: int

    @property
    def key(self) -> str:
        """What tells it from other pictures."""
        return self.entry.name if self.entry else f"{self.path} (not there)"

    @cached_property
    def _name(self) -> tuple[str, str, int]:
        folder, _, name = self.path.rpartition("/")
        stem = name.rpartition(".")[0]
        last = re.search(r"(\d+)\D*$", stem)
        if last is None:
            return folder, stem, 0
        return folder, stem[: last.start(1)] + stem[last.end(1) :], int(last[1])

    @property
    def recording(self) -> Recording:
        """The recording that it is of."""
        return self.subject, *self._name[:2]

    @property
    def place(self) -> str:
        """The folder that it is in, from that on which tells who it is."""
        folder = self._name[0]
        return folder[folder.rfind("/", 0, self.start) + 1 :] if self.start < len(folder) else folder

    @property
    def number(self) -> int:
        """The last number in its name; 0 where there is none."""
        return self._name[2]


class Places:
    """Where pictures are: by the last parts of their names, as many as one asks for.

    Args:
        tree: All files.
        folder: A folder that they are in; None for any.
    """

    def __init__(self, tree: Tree, folder: str | None) -> None:
        inside = f"/{folder.strip('/')}/".lower() if folder else "/"
        pictures = (entry for entry in tree.entries if entry.suffix in PICTURE_SUFFIXES)
        self.entries = [entry for entry in pictures if inside in f"/{entry.name.lower()}"]
        self.ends = Ends(self.entries)

    def find(self, path: str) -> Entry | None:
        """Return the picture whose name ends with a path.

        Raises:
            IngestError: There are two, and they differ.
        """
        found = self.ends.find(path)
        if not found:
            return None
        for other in found[1:]:
            if not alike(found[0], other):
                raise two_of("pictures", path, found[0], other, "Say in which folder they are: --pictures FOLDER.")
        return found[0]


def pictures_of(
    lists: Sequence[Listed], corpus: str, places: Places, options: Options, notes: list[str]
) -> list[list[Picture]]:
    """Return the pictures of each list, row by row.

    Args:
        lists: The lists.
        corpus: The corpus that they are of.
        places: Where pictures are.
        options: How subjects are told.
        notes: How they were told is put here, a sentence a corpus.

    Raises:
        IngestError: It cannot be told who is in a picture, or which of two files a picture is.
    """
    corpora: dict[str, str] = {}
    groups: dict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(path for listed in lists for path in listed.paths):
        corpora[path] = _corpus_in(path, corpus, options)
        groups[corpora[path]].append(path)
    where = ", ".join(listed.entry.where for listed in lists[:2]) + (" …" if len(lists) > 2 else "")
    patterns = {name: pattern_for(some, name, options.subject, where) for name, some in groups.items()}
    for name, some in groups.items():
        who = {patterns[name].subject(path) or "" for path in some}
        told = f"Who is in a picture of {name} is told by {patterns[name].regex}"
        notes.append(f"{told}: {len(who)} subjects, {min(who)} the first.")
    result = []
    for listed in lists:
        leading = _leading(listed.paths, places, {patterns[corpora[path]]: path for path in listed.paths})
        found = {path: _picture(path, leading, corpora[path], patterns, places) for path in dict.fromkeys(listed.paths)}
        result.append([found[path] for path in listed.paths])
    return result


def _picture(path: str, leading: int, corpus: str, patterns: Mapping[str, Pattern], places: Places) -> Picture:
    rest = path.split("/", leading)[-1]
    subject, start = patterns[corpus].read(path) or ("", 0)
    return Picture(rest, places.find(rest), corpus, f"{corpus}/{subject}", start - len(path) + len(rest))


def _corpus_in(path: str, corpus: str, options: Options) -> str:
    """Return the corpus that the person in a picture belongs to: lists may be of several, a folder each."""
    if options.name is not None or known_corpus(corpus) == corpus:
        return corpus
    return next(filter(None, map(known_corpus, path.split("/")[:-1])), corpus)


def _leading(paths: Sequence[str], places: Places, examples: Mapping[Pattern, str]) -> int:
    """Return how many of the first folders of all paths are another machine's: with fewer, no picture is found.

    What tells the subject is never left away: a picture of somebody else may have the same number.
    """
    for leading in range(shared_folders(paths).count("/") + 1):
        if any(
            pattern.subject(path.split("/", leading)[-1]) != pattern.subject(path) for pattern, path in examples.items()
        ):
            break
        if any(places.find(path.split("/", leading)[-1]) for path in paths):
            return leading
    return 0


def names_of(recordings: Mapping[Recording, str]) -> dict[Recording, str]:
    """Return a name for each recording, unique among them: as little of where it is as tells them apart.

    Args:
        recordings: Recording → its folder from that on which tells who it is.
    """
    names: dict[Recording, str] = {}
    taken: set[str] = set()
    candidates: tuple[Callable[[Recording], str], ...] = (
        lambda key: recordings[key] or key[2],
        lambda key: f"{recordings[key]}/{key[2]}",
        lambda key: f"{key[1]}/{key[2]}",
        "/".join,
    )
    for candidate in candidates:
        wanted: dict[str, list[Recording]] = defaultdict(list)
        for key in recordings:
            if key not in names:
                wanted[candidate(key).replace("/", "_").strip("_-. ") or key[0]].append(key)
        for name, keys in wanted.items():
            if len(keys) == 1 and name not in taken:
                names[keys[0]] = name
                taken.add(name)
    return {key: names.get(key, "|".join(key)) for key in recordings}
