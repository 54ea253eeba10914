"""`python -m hangtag`, for launchers that start a module."""

from hangtag.cli import main

if __name__ == "__main__":
    main()
