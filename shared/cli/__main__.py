"""The command `papertrail` of the folder that one stands in, whatever is installed: `python -m shared.cli`."""

from shared.cli import main

main()
