"""`python -m lazybuild`; loads nothing but the command line."""

from lazybuild.cli.main import main

if __name__ == "__main__":
    main()
