"""Who is in a picture, from its path: by a pattern that is given, or by those of known corpora, which are named."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from au_dist.core.errors import IngestError

#: What parts a name within a path.
_START, _END = r"(?:^|(?<=[/_.]))", r"(?=[/_.]|$)"


@dataclass(frozen=True)
class Pattern:
    """How a path tells a subject.

    Attributes:
        regex: A regular expression; what it matches last in a path counts.
        template: The subject, from the groups of a match.
        corpus: The corpus whose paths have it, for which it is tried first; None for no single one.
        only: Whether it is tried for that corpus alone.
        capital: Whether subjects are written in capital letters whatever the path has.
        alone: Whether it tells nothing where it fits a path in two ways, as for a subject's folder and a session's.
    """

    regex: str
    template: str = r"\1"
    corpus: str | None = None
    only: bool = False
    capital: bool = False
    alone: bool = False

    def read(self, path: str) -> tuple[str, int] | None:
        """Return who is in a picture and where in the path that begins; None where the path does not tell."""
        matches = list(re.finditer(self.regex, path, re.IGNORECASE))
        if not matches or (self.alone and len({match[0].strip("/").casefold() for match in matches}) > 1):
            return None
        found = matches[-1].expand(self.template)
        return (
            (
                (found.upper() if self.capital else found),
                matches[-1].start("subject" if "(?P<subject>" in self.regex else 1),
            )
            if found
            else None
        )

    def subject(self, path: str) -> str | None:
        """Return who is in a picture; None where the path does not tell."""
        found = self.read(path)
        return found and found[0]


#: Tried in this order, a corpus's own first; the first that tells the subject of every picture is taken.
PATTERNS = (
    Pattern(r"(?:^|/)2([FM])(\d\d)_T?\d+(?=/)", r"\g<1>0\g<2>", corpus="bp4d", capital=True),
    Pattern(rf"{_START}([FM]\d{{3}}){_END}", corpus="bp4d", capital=True),
    Pattern(rf"(SN\d{{3}}){_END}", corpus="disfa", capital=True),
    Pattern(rf"(?:^|/)(\d{{3}}[A-Z]){_END}", corpus="gft", only=True, capital=True),
    Pattern(r"(?:^|/)([^/]+?)(?:_left|_right)?/\d+\.\w+$", corpus="affwild2", only=True),
    Pattern(r"(?:^|/)(\d+)_aligned\.\w+$", corpus="raf-au", only=True),
    Pattern(rf"{_START}(S\d{{3}}){_END}", corpus="ck+", only=True, capital=True),
    Pattern(rf"{_START}((?:subject|subj|sub|person|participant|id|s|p)[_-]?\d+){_END}", alone=True),
)


def pattern_for(paths: Sequence[str], corpus: str, given: str | None, where: str) -> Pattern:
    """Return the pattern that tells the subject of every picture of a corpus.

    A pattern of our own must tell it from what differs between the paths; from the folders that all of them are in only
    where no pattern does: those may be of a machine, or the only subject's.

    Args:
        paths: The pictures as lists have them.
        corpus: The corpus that they belong to.
        given: A regular expression with a group ``subject``, of a person; None for those of known corpora.
        where: The lists, for a person.

    Raises:
        IngestError: There is none.
    """
    usual = [p for p in PATTERNS if p.corpus == corpus] + [p for p in PATTERNS if p.corpus != corpus and not p.only]
    tried = [Pattern(given, r"\g<subject>")] if given else usual
    shared = 0 if given else len(shared_folders(paths))
    fewest: list[str] = []
    for leading in sorted({shared, 0}, reverse=True):
        for pattern in tried:
            missed = [path for path in paths if (found := pattern.read(path)) is None or found[1] < leading]
            if not missed:
                return pattern
            if not fewest or len(missed) < len(fewest):
                fewest = missed
    raise IngestError(
        "It cannot be told from the paths who is in the pictures",
        where=where,
        expected=f"a subject in each by {' or '.join(pattern.regex for pattern in tried)}",
        found=f"none in {len(fewest)} of {len(paths)}, such as {fewest[0]}",
        fix="Give a pattern that tells it: --subject '(?P<subject>s\\d+)/', say.",
    )


def shared_folders(paths: Iterable[str]) -> str:
    """Return the folders that all paths begin with, with a / behind each."""
    folders = {tuple(path.split("/")[:-1]) for path in paths}
    first, last = min(folders), max(folders)
    count = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return "".join(f"{folder}/" for folder in first[:count])
