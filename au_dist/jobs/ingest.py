"""From synthetic faces or ordinary videos to a published set of shards."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from au_dist.errors import IngestError, ShardError
from au_dist.ingest.clips import video_clips
from au_dist.ingest.faces import open_detector
from au_dist.ingest.folder import find_videos, video_names
from au_dist.ingest.synthetic import SynthSpec, synth_aus, synth_clips, synth_recipe
from au_dist.ingest.video_spec import VideoReport, VideoSpec
from au_dist.schema import Clip, CropRecipe
from au_dist.shard_writer import write_shards
from au_dist.shards import MANIFEST, Manifest
from au_dist.storage import Store

#: An ingest in which a larger share of the files is set aside ends with an error.
MOST_QUARANTINED = 0.5


def ingest_synthetic(
    spec: SynthSpec,
    out: Store,
    statistics: Path | None = None,
    show: Callable[[int], None] = lambda clips: None,
    processes: int = 1,
) -> Manifest:
    """Make synthetic faces into shards, the same whatever the number of processes.

    Args:
        spec: What to make.
        out: Where the set goes.
        statistics: Label statistics; those of the package when None.
        show: Called with the number of clips made so far.
        processes: How many to make faces in.

    Raises:
        IngestError: The statistics cannot be used, or a process was killed.
    """
    _must_be_empty(out)
    source = {"kind": "synthetic", **asdict(spec)}
    clips = synth_clips(spec, statistics)
    if processes > 1:
        clips = _synth_in_parallel(spec, statistics, processes)

    def counted() -> Iterator[Clip]:
        for index, clip in enumerate(clips, 1):
            yield clip
            show(index)

    return write_shards(counted(), out, aus=synth_aus(spec, statistics), crop=synth_recipe(spec), source=source)


def _synth_in_parallel(spec: SynthSpec, statistics: Path | None, processes: int) -> Iterator[Clip]:
    """Make clips a subject a process, yielded in the order of the subjects, few subjects ahead."""
    waiting: deque[Future[list[Clip]]] = deque()
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        try:
            for subject in range(spec.subjects):
                waiting.append(pool.submit(_synth_subject, spec, statistics, subject))
                if len(waiting) > 2 * processes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise IngestError(
                "A process that makes faces was killed",
                found=f"{processes} processes",
                fix="Often there was not enough memory: use fewer with --processes.",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _synth_subject(spec: SynthSpec, statistics: Path | None, subject: int) -> list[Clip]:
    return list(synth_clips(spec, statistics, [subject]))


def ingest_videos(
    folder: Path,
    out: Store,
    spec: VideoSpec,
    crop: CropRecipe,
    *,
    corpus: str = "video",
    show: Callable[[VideoReport], None] = lambda report: None,
) -> tuple[Manifest, list[VideoReport]]:
    """Make a folder of ordinary videos into shards without labels.

    A file that cannot be read is set aside with its reason; more than half of them end the ingest.

    Args:
        folder: The folder.
        out: Where the set goes.
        spec: How faces are found and cut into clips.
        crop: How faces are cropped.
        corpus: Name of the data set, the prefix of its subjects.
        show: Called with the report of each file when it is done.

    Returns:
        The manifest and a report a file.

    Raises:
        IngestError: The folder is empty, too many files are unreadable, or no face is found at all.
    """
    _must_be_empty(out)
    paths = find_videos(folder)
    names = video_names(paths, folder)
    detector = (
        None
        if spec.landmarks
        else open_detector(
            spec.detector, min_confidence=spec.min_confidence, detect_side=spec.detect_side, threads=spec.threads
        )
    )
    reports: list[VideoReport] = []

    def clips() -> Iterator[Clip]:
        for path in paths:
            report = VideoReport(path, names[path])
            reports.append(report)
            try:
                yield from video_clips(path, spec, crop, corpus, name=names[path], report=report, detector=detector)
            except IngestError as error:
                report.error = str(error)
            show(report)
        bad = [report for report in reports if report.error]
        if len(bad) > MOST_QUARANTINED * len(paths):
            raise IngestError(
                "Too many files cannot be read",
                where=folder,
                expected=f"at most {MOST_QUARANTINED:.0%} of {len(paths)}",
                found=f"{len(bad)}; the first: {bad[0].error}",
            )
        if not any(report.clips for report in reports):
            raise IngestError(
                "No clip came out of these files",
                where=folder,
                found=f"{sum(report.tracks for report in reports)} faces followed in {len(paths)} files, none of them "
                f"over {spec.clip_frames} frames",
                fix="Try a smaller --clip-frames (1 for pictures), --min-face or --min-confidence.",
            )

    source = {
        "kind": "video",
        "corpus": corpus,
        **{k: str(v) if isinstance(v, Path) else v for k, v in asdict(spec).items()},
    }
    return write_shards(clips(), out, aus=(), crop=crop, source=source), reports


def _must_be_empty(out: Store) -> None:
    if out.check().exists(MANIFEST):
        raise ShardError("This place already holds shards", where=out.uri, fix="Choose an empty place for --out.")
