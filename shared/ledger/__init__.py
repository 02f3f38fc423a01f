"""The ledger: every claim of a paper with its check and its verdict."""

from shared.ledger.claims import Claim, load_claims
from shared.ledger.judge import VERDICTS, Entry, judge

__all__ = ["VERDICTS", "Claim", "Entry", "judge", "load_claims"]
