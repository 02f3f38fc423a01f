"""BibTeX of a paper, of a run's weights, and of the data they were trained on."""

from __future__ import annotations

from typing import Any

from pybtex.database import BibliographyData, Entry, Person

from shared import datasets
from shared.checkpoints.history import address, last_commit, release_tag
from shared.errors import PapertrailError
from shared.paper import Paper, load_paper
from shared.weights.card import LICENCE, Card, Identity, folder, headline, home
from shared.weights.given import given
from shared.weights.records import identity, read_records, records_file


def cite(ref: str) -> str:
    """The entries for "<slug>" (the paper) or "<slug>/<name>" (paper, weights, data set), ready to paste.

    The weights may be those of a record, which are not kept.

    Raises:
        UsageError: there is no such paper or checkpoint.
        PapertrailError: paper.yaml is still to be filled in.
    """
    slug, _, name = ref.partition("/")
    known = identity(ref) if name else None
    entries = [_text(*of_paper(load_paper(slug)))]
    if known is not None:
        entries += [_text(*of_weights(name, known)), datasets.spec(known.data).bibtex.strip()]
    return "\n\n".join(entries)


def of_paper(paper: Paper) -> tuple[str, Entry]:
    """The paper's own key and entry."""
    open_keys = [key for key in ("title", "authors", "venue", "bibkey") if "<<" in str(getattr(paper, key))]
    if open_keys:
        file = home(paper.slug) / "paper.yaml"
        raise PapertrailError(f"{file}: {', '.join(open_keys)}: still to be filled in; until then there is no citation")
    kind, place = "inproceedings", {"booktitle": paper.venue}
    if (journal := paper.journal) is not None:
        kind, place = "article", {"journal": journal.name, "volume": journal.volume, "number": journal.number}
        place["pages"] = journal.pages.replace("-", "--")
    fields = {"title": f"{{{paper.title}}}", **place, "year": str(paper.year)}
    if paper.arxiv:
        fields |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"}
    if paper.doi:
        fields["doi"] = paper.doi
    return paper.bibkey, Entry(kind, fields, {"author": [Person(author) for author in paper.authors]})


def of_weights(name: str, known: Identity) -> tuple[str, Entry]:
    """The key and the entry of a run's weights: where they, or the record that names them, are, and their hash.

    The tag is named once a release has made one.
    """
    tag, metric = release_tag(f"{known.paper}/{name}"), headline(known.metrics)
    records = read_records(known.paper, known.protocol)
    if isinstance(known, Card):
        what, file, pinned = "checkpoint", folder(known.paper) / f"{name}.safetensors", known.pinned
    else:
        assert records is not None
        what, file = "record", records_file(known.paper, known.protocol)
        pinned = records.arms[known.arm].seeds[str(known.seed)].pinned
    where, commit = address(), last_commit(file)
    place = f"{file.relative_to(home(known.paper).parents[1])}, {f'commit {commit}' if commit else 'in no commit yet'}"
    note = [
        f"{known.model} trained on {known.data} under protocol {known.protocol}, seed {known.seed}, "
        f"{metric} {known.metrics[metric]:.2f} %",
        f"weights with the SHA-256 {known.sha256}",
        *([] if records is None else _begun(records.arms[known.arm].plan)),
        *([f"git tag {tag}"] if tag else []),
        f"licence {LICENCE}",
    ]
    fields = {
        "title": f"{{Papertrail {what} {known.paper}/{name}}}",
        "author": "{Papertrail contributors}",
        "year": pinned[:4],
        "howpublished": f"Repository {where or 'Papertrail'}, {place}",
        "note": "; ".join(note),
    }
    return f"papertrail:{known.paper}:{name}", Entry("misc", fields | ({"url": where} if where else {}))


def _begun(plan: dict[str, Any]) -> list[str]:
    """Whose weights the first run of the chain began with, where they were others'."""
    reference = plan["chain"][0].get("begin")
    if reference is None:
        return []
    theirs = given(reference)
    return [f"begun with weights of {theirs.source} (SHA-256 {theirs.sha256}, licence {theirs.licence})"]


def _text(key: str, entry: Entry) -> str:
    """One entry as BibTeX, with TeX's special characters escaped."""
    return BibliographyData({key: entry}).to_string("bibtex").strip()
