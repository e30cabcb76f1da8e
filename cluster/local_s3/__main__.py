"""``python -m au_dist.cluster.local_s3``."""

import sys

from au_dist.cluster.local_s3.server import main

sys.exit(main())
