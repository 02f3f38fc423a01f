"""A campaign on a terminal: what can be pinned, what is under way, what is next, and what this machine cannot do."""

from __future__ import annotations

from rich.table import Table

from shared.campaign.campaign import Campaign
from shared.ledger.show import console

MOST = 12  # claims that are next; --json has them all


def show(found: Campaign) -> None:
    """Print how things stand."""
    table = Table(box=None, pad_edge=False)
    for head in ("paper", "protocol", "claim", "runs", "minutes", "state"):
        table.add_column(head, justify="right" if head in ("runs", "minutes") else "left", overflow="fold")
    for one in found.ready:
        table.add_row(one.paper, one.protocol, one.claim, "", "", "[green]all seeds there[/]")
    for step in found.steps[:MOST]:
        state = "[yellow]under way[/]" if {*step.jobs} & {*found.begun} else "next"
        minutes = f"{step.seconds / found.count / 60:.1f}"
        claim = step.claim
        table.add_row(claim.paper, claim.protocol, claim.claim, str(len(step.jobs)), minutes, state)
    terminal = console()
    terminal.print(table, "")
    for left in found.left_out:
        place = " ".join(filter(None, [left.paper, left.protocol]))
        terminal.print(f"left out: {place}, {left.claims} claims: {left.reason}", markup=False)
    further = found.steps[MOST:]
    if further:
        hours = sum(step.seconds for step in further) / found.count / 3600
        terminal.print(f"{len(further)} claims more would take about {hours:.1f} hours")
    terminal.print(
        f"{len(found.ready)} claims have all their seeds, {len(found.steps)} wait; {found.machine}, "
        f"{found.count} runs at once",
        markup=False,
    )
    if found.guessed:
        terminal.print(
            f"{found.guessed} of the times are guessed from the number of images; what is begun is measured first"
        )
