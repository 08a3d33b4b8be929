"""The command line with a scripted engine: `specchat_with_fake.py MODE ARGUMENT specchat-arguments...`."""

from __future__ import annotations

import sys
from pathlib import Path

from specchat.cli import main

mode, argument = sys.argv[1:3]
sys.argv = ["specchat", *sys.argv[3:]]
main([sys.executable, str(Path(__file__).with_name("fake_engine.py")), mode, argument])
