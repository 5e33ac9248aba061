"""`python -m cpcd`: the same as the installed command."""

from cpcd.cli import main

if __name__ == "__main__":
    main()
