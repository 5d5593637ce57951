"""``python -m nlphub`` is the same as the ``nlphub`` command."""

from nlphub.cli.app import main

if __name__ == "__main__":
    main()
