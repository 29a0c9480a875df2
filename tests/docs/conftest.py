"""The tests of the guide follow its pages with the guide's own reader."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))
