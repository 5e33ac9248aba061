"""From the bytes of all files of a spec to its documents, or to all their mistakes at once.

Steps: YAML → older spellings → shape → what is not supported yet → what one cluster, then all clusters together tell.
A later step runs only on documents that passed the shape, so a mistake there can hide one of the last kind. Nothing
here raises for what a file holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from cpcd.spec.aliases import normalise
from cpcd.spec.checks import Checked, check_across, check_alone
from cpcd.spec.effective import digest
from cpcd.spec.load import Document, load
from cpcd.spec.mistakes import Mistake
from cpcd.spec.references import matching
from cpcd.spec.refusals import refusals
from cpcd.spec.schema import ClusterDocument
from cpcd.spec.support import unsupported

__all__ = ["Reading", "read_spec"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: it may be put in force only when `mistakes` is empty.

    `documents` are those of right shape, by name; `digest` stands for their meaning and for the files that they refer
    to, not for their form.
    """

    documents: tuple[ClusterDocument, ...]
    mistakes: tuple[Mistake, ...]
    digest: str


def read_spec(files: Mapping[str, bytes], *, referred: Mapping[str, bytes] | None = None) -> Reading:
    """Read a whole spec: `files` by name (as mistakes shall show it), `referred` as `SpecFiles` found them.

    With `referred`, a manifest that is not there is a mistake, and their content is part of the digest. A spec with no
    document is a mistake too: it never means that everything shall be deleted.
    """
    mistakes: list[Mistake] = []
    documents = [document for file in sorted(files) for document in _loaded(file, files[file], mistakes)]
    checked = [found for document in documents if (found := _checked(document, mistakes)) is not None]
    for one in checked:
        mistakes.extend((*check_alone(one), *_absent(one, referred)))
    mistakes.extend(check_across(checked))
    if not documents and not mistakes:
        mistakes.append(Mistake("spec", 0, 0, "", "no file", "an absent spec never means: delete everything"))
    models = tuple(sorted((one.model for one in checked), key=lambda model: model.name))
    return Reading(models, tuple(sorted(set(mistakes))), digest(models, referred or {}))


def _loaded(file: str, content: bytes, mistakes: list[Mistake]) -> list[Document]:
    documents, found = load(file, content)
    mistakes.extend(found)
    return documents


def _checked(raw: Document, mistakes: list[Mistake]) -> Checked | None:
    if stranger := _stranger(raw):
        mistakes.append(stranger)
        return None
    document, doubled = normalise(raw)
    mistakes.extend((*doubled, *unsupported(document)))
    try:
        return Checked(document, ClusterDocument.model_validate(document.value))
    except ValidationError as error:
        mistakes.extend(refusals(error, document))
        return None


def _stranger(document: Document) -> Mistake | None:
    """Return one mistake for a document that is no cluster at all, instead of one for each of its fields."""
    if not isinstance(document.value, dict):
        return document.mistake((), "must be a mapping with apiVersion, kind, metadata and spec")
    kind = document.value.get("kind", "Cluster")
    if kind != "Cluster":
        return document.mistake(("kind",), f"must be Cluster, not {kind}", "manifests go into a directory of their own")
    return None


def _absent(one: Checked, referred: Mapping[str, bytes] | None) -> Iterator[Mistake]:
    for at, addon in enumerate(one.model.spec.addons if referred is not None else ()):
        for spot, source in enumerate(addon.manifests):
            if not matching(source.file, referred or ()):
                path = ("spec", "addons", at, "manifests", spot, "file")
                yield one.document.mistake(path, f"no file is called {source.file}", "is it committed?")
