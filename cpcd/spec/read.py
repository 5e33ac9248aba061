"""From the bytes of all files of a spec to its documents, or to all their mistakes at once.

Steps: YAML → older spellings → what is not supported yet → shape → parts → manifests → what one cluster, then all
clusters together tell. A part of wrong shape is taken out, and what looks at it is not checked; the rest is. Nothing here raises
for what a file holds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from cpcd.spec.addons import check_addons
from cpcd.spec.aliases import normalise
from cpcd.spec.checks import Checked, check_across, check_alone
from cpcd.spec.effective import digest
from cpcd.spec.load import Document, load
from cpcd.spec.manifests import Object, read_manifest
from cpcd.spec.mistakes import MOST, Mistake, few, readable, seen
from cpcd.spec.parts import check_parts
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.support import unsupported

__all__ = ["Reading", "read_spec"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: it may be put in force only when `mistakes` is empty.

    Of more than `MOST` mistakes as many and one are found (`counted`). `documents` are those of right shape, by name,
    and `sources` where each of them stands; `manifests` are the objects of the files that they refer to, by file.
    `digest` stands for the meaning of all of it, not for its form.
    """

    documents: tuple[ClusterDocument, ...]
    mistakes: tuple[Mistake, ...]
    digest: str
    manifests: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    sources: Mapping[str, Document] = field(default_factory=dict)


def read_spec(files: Mapping[str, bytes], *, referred: Mapping[str, bytes] | None = None) -> Reading:
    """Read a whole spec: `files` by name (as mistakes shall show it), `referred` as `SpecFiles` found them.

    With `referred`, whose names are relative to the directory of the spec's files, a manifest that is not there is a
    mistake, and their content is part of the digest. A spec with no document is a mistake too: it never means that
    everything shall be deleted.
    """
    given = referred or {}
    mistakes = _unspeakable((*files, *given))
    documents = _documents(files, mistakes)
    checked = [found for document in documents if (found := _checked(document, mistakes)) is not None]
    # What is referred to is named from the directory of the spec, which all of its files are in: a mistake shows the
    # whole path.
    base = next(iter(files), "").rpartition("/")[0]
    manifests = {name: _objects(base, name, content, mistakes) for name, content in sorted(given.items())}
    mistakes += _judged(checked, manifests if referred is not None else None)
    # A file that cannot be read has its own mistake, and is not absent.
    if not documents and not mistakes:
        mistakes.append(Mistake("spec", 0, 0, "", "no file", "an absent spec never means: delete everything"))
    return _reading(checked, mistakes, given, manifests)


def _reading(
    checked: Sequence[Checked], mistakes: Sequence[Mistake], referred: Mapping[str, bytes],
    manifests: Mapping[str, tuple[Object, ...]],
) -> Reading:  # fmt: skip
    # Where a part is gone another stands in for it (`remains.py`), which nobody has written and nobody may act on.
    whole = sorted((one for one in checked if not one.gone), key=lambda one: one.model.name)
    models = tuple(one.model for one in whole)
    sources = {one.model.name: one.document for one in whole}
    return Reading(models, tuple(few(sorted(set(mistakes)))), digest(models, referred), manifests, sources)


def _unspeakable(names: Iterable[str]) -> list[Mistake]:
    """A name that is no text would be in the ledger, the log and every message."""
    shown = (readable(name) for name in names if readable(name) != name)
    return [Mistake(name, 0, 0, "", "the file's name is not UTF-8", "rename it") for name in shown]


def _judged(checked: Sequence[Checked], manifests: Mapping[str, tuple[Object, ...]] | None) -> list[Mistake]:
    """Return what documents tell one by one, beside the files that they refer to, and together."""
    found = few(mistake for one in checked for mistake in check_alone(one))
    # Without them nobody can tell a pattern that fits no file from files that were not read.
    if manifests is not None:
        found += few(mistake for one in checked for mistake in check_addons(one, manifests))
    return [*found, *few(check_across(checked))]


def _objects(base: str, name: str, content: bytes, mistakes: list[Mistake]) -> tuple[Object, ...]:
    if len(mistakes) > MOST:
        return ()
    found, wrong = read_manifest(readable(f"{base}/{name}" if base else name), content)
    mistakes.extend(wrong)
    return found


def _documents(files: Mapping[str, bytes], mistakes: list[Mistake]) -> list[Document]:
    return [document for file in sorted(files) for document in _loaded(file, files[file], mistakes)]


def _loaded(file: str, content: bytes, mistakes: list[Mistake]) -> list[Document]:
    if len(mistakes) > MOST:
        return []
    documents, found = load(readable(file), content)
    mistakes.extend(found)
    return documents


def _checked(raw: Document, mistakes: list[Mistake]) -> Checked | None:
    if len(mistakes) > MOST:
        return None
    if stranger := _stranger(raw):
        mistakes.append(stranger)
        return None
    # First, since the models know one spelling of each field, and so does the table of what is not supported.
    document, doubled = normalise(raw)
    mistakes.extend(few((*doubled, *unsupported(document))))
    if (shaped := _shaped(document, mistakes)) is None:
        return None
    checked, wrong = check_parts(shaped)
    mistakes.extend(wrong)
    return checked


def _shaped(document: Document, mistakes: list[Mistake]) -> Checked | None:
    try:
        return Checked(document, ClusterDocument.model_validate(document.value))
    except ValidationError as error:
        from cpcd.spec.refusals import refusals  # what only a mistake needs is no part of every start
        from cpcd.spec.remains import remains

        mistakes.extend(few(refusals(error, document)))
        left = remains(document.value, error)
        return Checked(document, *left) if left is not None else None


def _stranger(document: Document) -> Mistake | None:
    """Return one mistake for a document that is no cluster at all, instead of one for each of its fields."""
    if not isinstance(document.value, dict):
        return document.mistake((), "must be a mapping with apiVersion, kind, metadata and spec")
    kind = document.value.get("kind", "Cluster")
    if kind != "Cluster":
        near = isinstance(kind, str) and kind.lower() in ("cluster", "clusters")
        hint = "did you mean Cluster?" if near else "manifests go into a directory of their own"
        return document.mistake(("kind",), f"must be Cluster, not {seen(kind)}", hint)
    return None
