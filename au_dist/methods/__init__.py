"""What can be learnt: each method is a value in a file of its own, and this is the list of them."""

from au_dist.core.errors import RecipeError
from au_dist.methods.aunce import AUNCE
from au_dist.methods.base import Method
from au_dist.methods.detection import DETECTION
from au_dist.methods.intensity import INTENSITY
from au_dist.methods.predictive import PREDICTIVE

METHODS: tuple[Method, ...] = (AUNCE, PREDICTIVE, DETECTION, INTENSITY)


def method_of(name: str | None) -> Method:
    """Return the method of a name.

    Raises:
        RecipeError: There is none.
    """
    for method in METHODS:
        if method.name == name:
            return method
    raise RecipeError("There is no such method", expected=", ".join(method.name for method in METHODS), found=name)
