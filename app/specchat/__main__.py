"""`python -m specchat`, the same as the `specchat` command."""

from specchat.cli import main

main()
