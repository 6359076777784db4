"""`python -m facelib ...` and `accelerate launch -m facelib ...`: the command line."""

import sys

from facelib.cli import main

if __name__ == "__main__":
    sys.exit(main())
