"""The record of a run: a line of JSON a step, TensorBoard events, both in the run's folder in storage."""

import json
import tempfile
import time
from pathlib import Path

from au_dist.storage.store import Store
from au_dist.train.events import Recorded

METRICS = "metrics.jsonl"

#: Seconds between uploads of the record; checkpoints upload it too.
EVERY_S = 10.0


class Record:
    """Writes the record; for the leading rank only.

    Args:
        run: The run's place in storage.
        step: Steps done before; what was recorded after them is dropped.
    """

    def __init__(self, run: Store, step: int) -> None:
        from tensorboardX import SummaryWriter  # with torch, which only a worker has

        self.run = run
        text = run.read(METRICS).decode() if run.exists(METRICS) else ""
        rows = [json.loads(line) for line in text.splitlines()]
        self.lines = [json.dumps(row) for row in rows if row["step"] <= step]
        self.folder = tempfile.TemporaryDirectory(prefix="au-dist-events-")
        self.events = SummaryWriter(self.folder.name, purge_step=step, flush_secs=3600)
        self.sent = time.monotonic()

    def add(self, event: Recorded) -> None:
        """Add what happened, as a line of numbers by name."""
        row = event.row()
        self.lines.append(json.dumps(row))
        for name, number in row.items():
            if name != "step" and isinstance(number, int | float):
                group = "validation" if name.startswith("val_") else "train"
                self.events.add_scalar(f"{group}/{name}", number, row["step"])

    def due(self) -> bool:
        """Whether it is time to upload the record."""
        return time.monotonic() - self.sent > EVERY_S

    def send(self) -> None:
        """Upload the record."""
        self.run.write(METRICS, "".join(f"{line}\n" for line in self.lines).encode())
        self.events.flush()
        for file in Path(self.folder.name).iterdir():
            self.run.upload(file, f"tensorboard/{file.name}")
        self.sent = time.monotonic()

    def close(self) -> None:
        """Upload the record for the last time."""
        self.send()
        self.events.close()
        self.folder.cleanup()
