"""A set that is there already: whether the same command would still make it, and what may be taken over from it.

manifest.json      the set
ingest.json        how it was made, what each recording came from, and the hash of the manifest that it belongs to
parts/ingest.json  the same while the set is published: a stop between the two leaves one that belongs
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from au_dist.core.errors import ShardError
from au_dist.core.schema import Clip
from au_dist.core.words import first_few
from au_dist.corpora.options import Options
from au_dist.corpora.recordings import Found, Sequence
from au_dist.ingest.how import IngestRecipe
from au_dist.ingest.origins import WORDS, Origin, from_json
from au_dist.ingest.summary import report_from
from au_dist.shards.format import MANIFEST, Manifest, read_clips, read_manifest
from au_dist.storage.store import Store
from au_dist.video.video_spec import VideoReport, VideoSpec

REPORT, STAGED = "ingest.json", "parts/ingest.json"

#: Recordings that an error names of each kind; the rest is counted.
MOST_NAMED = 8

#: What makes a set another corpus's.
WHOSE = ("kind", "importer", "corpus")

#: What says which recordings there are, not how they are read.
WHICH = ("recordings", "partitions", "coded_frames")


@dataclass(frozen=True)
class Standing:
    """A set that is there.

    Attributes:
        manifest: Its manifest.
        report: Its `ingest.json`; empty where there is none that belongs to it.
    """

    manifest: Manifest
    report: dict[str, Any]

    @property
    def reports(self) -> dict[str, VideoReport]:
        """Recording → its report."""
        return {row["name"]: report_from(row) for row in self.report.get("recordings", [])}

    @property
    def origins(self) -> dict[str, Origin]:
        """Recording → what its clips came from; empty for sets of before it was kept."""
        return from_json(self.report.get("origins", {}))


@dataclass
class Changes:
    """How what is there now differs from what a set was made of.

    Attributes:
        whose: Differences that make it another corpus's set: name, expected and found.
        options: Differences of how recordings are read.
        recordings: What changed → which recordings.
        same: Recordings that are as they were, and were not set aside.
        notes: What could not be compared, or only in part, a sentence each.
    """

    whose: list[tuple[str, Any, Any]] = field(default_factory=list)
    options: list[tuple[str, Any, Any]] = field(default_factory=list)
    recordings: dict[str, list[str]] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether the set would become another one."""
        return bool(self.whose or self.options or self.recordings)

    def words(self) -> str:
        """Say what changed, and of which recordings."""
        options = [f"other options: {', '.join(name for name, *_ in self.options)}"] if self.options else []
        kinds = [f"{kind}: {first_few(names, MOST_NAMED)}" for kind, names in self.recordings.items()]
        return "; ".join([*options, *kinds]) or "what was set aside, or not compared, is read again"

    def error(self, out: Store) -> ShardError:
        """Return the error that says what differs and what to do."""
        if other := [*self.whose, *self.options][:3]:
            anew = "" if self.whose else ", or make the set anew with --replace"
            return ShardError(
                "This place already holds other shards",
                where=out.uri,
                expected="; ".join(f"{name} {mine}" for name, mine, _ in other),
                found="; ".join(f"{name} {theirs}" for name, _, theirs in other),
                fix=f"Choose an empty place for --out{anew}.",
            )
        return ShardError(
            "The set that is there was made of other recordings or labels",
            where=out.uri,
            expected="the recordings as they were then",
            found=self.words(),
            fix="`--replace` makes the set anew and reads again only what changed; runs that were begun on the set as "
            "it is cannot go on then. Or choose an empty place for --out.",
        )


def standing(out: Store) -> Standing | None:
    """Return the set at a place, None where there is none."""
    if not out.exists(MANIFEST):
        return None
    manifest = read_manifest(out)
    for path in (STAGED, REPORT):
        report = _json(out, path)
        # What an older version wrote belongs to the manifest beside it.
        if report.get("manifest", manifest.sha256 if path == REPORT else None) == manifest.sha256:
            return Standing(manifest, report)
    return Standing(manifest, {})


def compare(
    there: Standing, source: dict[str, Any], recipe: IngestRecipe, found: Found, origins: dict[str, Origin]
) -> Changes:
    """Return how what is there now differs from what a set was made of.

    Args:
        there: The set.
        source: How it would be made now, as its manifest would keep it.
        recipe: The same as values.
        found: The recordings of now.
        origins: Recording → what its clips would come from.
    """
    changes = Changes()
    # What the version that made it did not know yet was as it is by default.
    theirs = {**asdict(Options()), **asdict(VideoSpec()), **there.manifest.source}
    theirs |= {"aus": list(there.manifest.aus), "crop": asdict(there.manifest.crop_recipe)}
    mine = json.loads(json.dumps({**source, "aus": recipe.aus, "crop": asdict(recipe.crop)}))
    for name in sorted(mine.keys() - set(WHICH)):
        if mine[name] != theirs.get(name):
            (changes.whose if name in WHOSE else changes.options).append((name, mine[name], theirs.get(name)))
    if changes.whose:
        return changes
    _compare_recordings(there, recipe, found, origins, changes)
    if not changes.recordings and mine.get("partitions") != theirs.get("partitions"):
        changes.recordings["other published parts"] = sorted(found.partitions)
    return changes


def _compare_recordings(
    there: Standing, recipe: IngestRecipe, found: Found, origins: dict[str, Origin], changes: Changes
) -> None:
    reports, before, kinds = there.reports, there.origins, changes.recordings
    touched = []
    for sequence in found.sequences:
        title = sequence.title
        if title not in (before or reports):
            kinds.setdefault("added", []).append(title)
        elif before:
            fields = origins[title].changed(sequence, before[title])
            for kind in dict.fromkeys(WORDS[name] for name in fields):
                kinds.setdefault(kind, []).append(title)
            if not fields:
                changes.same += [] if title not in reports or reports[title].error else [title]
                touched += [title] if origins[title].times != before[title].times else []
    if gone := sorted((before or reports).keys() - origins.keys()):
        kinds["gone"] = gone
    if touched:
        changes.notes.append(
            f"The video or pictures of {first_few(touched, MOST_NAMED)} have other times than when they were read; "
            "sizes and samples of the content are the same, so they count as unchanged."
        )
    if not before:
        changes.notes.append(
            "The set was made before it was kept what its recordings came from: only their names could be compared, "
            "not their labels, videos or pictures. `--replace` makes it anew."
        )


def whole(there: Standing, out: Store) -> bool:
    """Return whether all shards of a set are there, as long as they should be: clips may be taken over."""
    return all(out.size(shard.path) == shard.bytes for shard in there.manifest.shards)


def clips_of(there: Standing, out: Store, sequence: Sequence) -> Iterator[Clip]:
    """Yield the clips that a set has of a recording, in their order."""
    by_track = f"{sequence.corpus}/{sequence.name}"  # each track is a subject where nobody says who it is
    for shard in there.manifest.shards:
        for index, group in enumerate(shard.row_groups):
            if sequence.subject is None:
                mine = group.subject.rpartition("#")[0] == by_track
            else:
                mine = group.subject == sequence.subject
            for clip in read_clips(out, shard, index, len(there.manifest.aus)) if mine else ():
                if sequence.subject is None or clip.video.rpartition("#")[0] == sequence.name:
                    yield clip


def _json(out: Store, path: str) -> dict[str, Any]:
    if not out.exists(path):
        return {}
    try:
        read = json.loads(out.read(path))
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
