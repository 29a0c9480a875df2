"""Makes ``docs/recording`` importable, which follows the pages of the guide."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
