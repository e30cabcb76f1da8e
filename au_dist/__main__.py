"""``python -m au_dist`` is ``au-dist``."""

from au_dist.cli import main

main()
