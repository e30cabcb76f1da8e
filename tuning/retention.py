"""What ended trials keep in storage."""

from collections.abc import Sequence

from au_dist.train import checkpoint
from au_dist.tuning.campaign import Campaign
from au_dist.tuning.record import TrialState
from au_dist.tuning.report import RESULTS


class Retention:
    """Removes what a campaign's `keep` says that trials do not keep, each trial's once.

    Args:
        campaign: The campaign.
    """

    def __init__(self, campaign: Campaign) -> None:
        self._campaign, self._lightened, self._removed = campaign, set[int](), set[int]()

    def apply(self, trials: Sequence[TrialState]) -> int:
        """Remove what is not kept; return the bytes freed.

        Args:
            trials: All trials; those that may go on keep everything, and take nobody's place.
        """
        keep, freed = self._campaign.keep, 0
        if keep.resumable is None:
            return 0
        # Others may go on; those that failed can win nothing, and keep the least.
        ended = sorted((trial for trial in trials if trial.state in RESULTS), key=lambda one: (-one.metric, one.number))
        ended += [trial for trial in trials if trial.state == "failed"]
        for place, trial in enumerate(ended[keep.resumable :]):
            runs = self._campaign.run_places(trial.number)
            if keep.weights is not None and place >= keep.weights:
                if trial.number not in self._removed:
                    self._removed.add(trial.number)
                    freed += sum(checkpoint.remove(run) for run in runs)
            elif trial.number not in self._lightened:
                self._lightened.add(trial.number)
                freed += sum(checkpoint.lighten(run) for run in runs)
        return freed
