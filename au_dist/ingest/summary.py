"""What became of a corpus, as the end report says it and a set keeps it in its `ingest.json`."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from au_dist.video.video_spec import VideoReport


@dataclass
class Summary:
    """What became of a corpus.

    Attributes:
        reports: A report a recording that was read, in order.
        aside: What was set aside → why.
        notes: What a person should know.
        done_before: Recordings that an earlier, stopped ingest had done, or that the set had already.
    """

    reports: list[VideoReport] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    done_before: int = 0

    @property
    def taken(self) -> list[VideoReport]:
        """The reports of the recordings that were not set aside."""
        return [report for report in self.reports if not report.error]

    def total(self, name: str) -> int:
        """Return the sum of a number over what was not set aside."""
        return sum(getattr(report, name) for report in self.taken)

    def dropped(self) -> dict[str, int]:
        """Return reason → how many were left out, most first."""
        totals: dict[str, int] = {}
        for report in self.taken:
            for reason, times in report.dropped.items():
                totals[reason] = totals.get(reason, 0) + times
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def stages(self) -> dict[str, float]:
        """Return stage → seconds over all recordings."""
        return {stage: sum(report.seconds[stage] for report in self.taken) for stage in VideoReport(Path()).seconds}


def report_of(summary: Summary) -> dict[str, Any]:
    """Return a summary as JSON has it."""
    return {
        "aside": summary.aside,
        "notes": summary.notes,
        "dropped": summary.dropped(),
        "recordings": [row_of(report) for report in summary.reports],
    }


def row_of(report: VideoReport) -> dict[str, Any]:
    """Return a recording's report as JSON has it."""
    return {**asdict(report), "path": str(report.path)}


def report_from(row: dict[str, Any]) -> VideoReport:
    """Return the report that `row_of` was given."""
    return VideoReport(**{**row, "path": Path(row["path"])})
