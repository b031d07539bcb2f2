"""``python -m groktimizer`` is the same as ``groktimizer``."""

import sys

from groktimizer.cli import main

if __name__ == "__main__":
    sys.exit(main())
