"""BibTeX of a paper, of kept weights, and of the data they were trained on."""

from __future__ import annotations

from pybtex.database import BibliographyData, Entry, Person

from shared import datasets
from shared.checkpoints.history import release_tag
from shared.paper import Paper, load_paper
from shared.weights.card import Card, find, headline, read_card


def cite(ref: str) -> str:
    """The entries for "<slug>" (the paper) or "<slug>/<name>" (paper, weights, data set), ready to paste."""
    if "/" not in ref:
        return _text(*of_paper(load_paper(ref)))
    card = read_card(find(ref))
    ours = [_text(*of_paper(load_paper(card.paper))), _text(*of_weights(card))]
    return "\n\n".join([*ours, datasets.spec(card.data).bibtex.strip()])


def of_paper(paper: Paper) -> tuple[str, Entry]:
    """The paper's own key and entry."""
    fields = {"title": f"{{{paper.title}}}", "booktitle": paper.venue, "year": str(paper.year)}
    if paper.arxiv:
        fields |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"}
    if paper.doi:
        fields["doi"] = paper.doi
    return paper.bibkey, Entry("inproceedings", fields, {"author": [Person(author) for author in paper.authors]})


def of_weights(card: Card) -> tuple[str, Entry]:
    """The key and the entry of kept weights: the hash says exactly which, and the tag, once a release has made one."""
    tag = release_tag(card.ref)
    metric = headline(card.metrics)
    note = [
        f"{card.model} trained on {card.data} under protocol {card.protocol}, seed {card.seed}, "
        f"{metric} {card.metrics[metric]:.2f} %",
        f"SHA-256 {card.sha256}",
        *([f"git tag {tag}"] if tag else []),
        f"licence {card.licence}",
    ]
    fields = {
        "title": f"{{Papertrail checkpoint {card.ref}}}",
        "author": "{Papertrail contributors}",
        "year": card.pinned[:4],
        "note": "; ".join(note),
    }
    return f"papertrail:{card.paper}:{card.name}", Entry("misc", fields)


def _text(key: str, entry: Entry) -> str:
    """One entry as BibTeX, with TeX's special characters escaped."""
    return BibliographyData({key: entry}).to_string("bibtex").strip()
