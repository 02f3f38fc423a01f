"""BibTeX of a paper, of pinned weights, and of the data they were trained on."""

from __future__ import annotations

from shared.detection.sets import any_spec
from shared.paper import Paper, load_paper
from shared.weights.card import Card, find, read_card

# Braces have names of their own because BibTeX counts them, escaped or not.
SPECIAL = {
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
}


def cite(ref: str) -> str:
    """The entries for "<slug>" (the paper) or "<slug>/<name>" (paper, weights, data set), ready to paste."""
    if "/" not in ref:
        return of_paper(load_paper(ref))
    card = read_card(find(ref))
    return "\n\n".join([of_paper(load_paper(card.paper)), of_weights(card), any_spec(card.data).bibtex.strip()])


def of_paper(paper: Paper) -> str:
    """The paper's own entry."""
    fields = {
        "title": "{" + escaped(paper.title) + "}",
        "author": " and ".join(escaped(author) for author in paper.authors),
        "booktitle": escaped(paper.venue),
        "year": str(paper.year),
    }
    if paper.arxiv:
        fields |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"}
    if paper.doi:
        fields["doi"] = paper.doi
    return entry("inproceedings", paper.bibkey, fields)


def of_weights(card: Card) -> str:
    """The entry of pinned weights: hash and tag say exactly which."""
    note = (
        f"{card.model} trained on {card.data} under protocol {card.protocol}, seed {card.seed}, "
        f"top-1 {card.metrics['top1']:.2f} %; SHA-256 {card.sha256}; git tag {card.tag}; licence {card.licence}"
    )
    fields = {
        "title": "{" + escaped(f"Papertrail checkpoint {card.ref}") + "}",
        "author": "{Papertrail contributors}",
        "year": card.pinned[:4],
        "note": escaped(note),
    }
    return entry("misc", f"papertrail:{card.paper}:{card.name}", fields)


def entry(kind: str, key: str, fields: dict[str, str]) -> str:
    """One BibTeX entry."""
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def escaped(text: str) -> str:
    """Text in which TeX's special characters stand for themselves."""
    return "".join(SPECIAL.get(character, character) for character in text)
