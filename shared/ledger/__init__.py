"""The ledger: every claim of a paper with its check and its verdict."""

from shared.ledger.claims import Claim
from shared.ledger.entry import VERDICTS, Entry, Verdict
from shared.ledger.expand import load_claims
from shared.ledger.judge import judge

__all__ = ["VERDICTS", "Claim", "Entry", "Verdict", "judge", "load_claims"]
