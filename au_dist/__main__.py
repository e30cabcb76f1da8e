"""``python -m au_dist`` is ``au-dist``."""

import os
import sys

# `-m` puts the current folder first on the import path: a file of the user's named `numpy.py` would be taken for numpy.
if sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from au_dist.cli import main

main()
