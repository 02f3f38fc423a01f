"""The ledger: every claim of a paper with its check and its verdict.

What judges (judge.py) builds networks and brings PyTorch; what only tells what was found needs neither.
"""

from shared.ledger.entry import VERDICTS, Entry, Verdict

__all__ = ["VERDICTS", "Entry", "Verdict"]
