"""What all tests share."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # helpers such as gradient_cases
os.environ["TINYSMOOTH_OFFLINE"] = "1"  # no test may download anything

collect_ignore_glob = ["frozen/*.py"]  # scripts that made the frozen numbers; they need PyTorch
