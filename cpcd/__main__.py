"""`python -m cpcd`: the same as the installed command."""

import sys

from cpcd.cli import main

if __name__ == "__main__":
    sys.exit(main())
