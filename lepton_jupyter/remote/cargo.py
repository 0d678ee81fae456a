"""What a cell brings along and what it shall leave: packed into the blob store here, unpacked when it is back.

Runs in the notebook's kernel. The document is described in `kernel.staging`, its reader on the host. It is kept by its
digest in `JobSpec.cargo`, so that a job which is tried again brings the same once more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..blobs import BlobStore
from ..data import files, modules, names, source, values
from ..errors import ConfigError
from ..outputs.words import size as bytes_in_words

#: Bytes of one value that go or come without being asked for by name.
LIMIT = 256 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the user asked for, as in the flags of ``%%lepton_train``."""

    bring: str = "auto"  # "auto", "none", or names with commas
    leave: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # paths and URLs
    pickle: frozenset[str] = frozenset()
    near: Path = field(default_factory=Path)  # the notebook's folder
    training: Mapping[str, Any] = field(default_factory=dict)  # how the cell shall train: kernel.training


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A cargo in the store. `values` says what each name is, in words, by the digest of its document."""

    digest: str = ""
    documents: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[str, ...] = ()  # modules that the cell needs
    notes: tuple[str, ...] = ()  # what else the user should know

    def said(self, known: Mapping[str, str]) -> str:
        """One line about what goes; what a kernel has as it is (`known`: name -> digest) is called unchanged."""
        news = [f"{name} ({self.words[name]})" for name, digest in self.documents.items() if known.get(name) != digest]
        news += self.notes
        same = [name for name, digest in self.documents.items() if known.get(name) == digest]
        return "; ".join(filter(None, [", ".join(news), f"unchanged: {', '.join(same)}" if news and same else ""]))


def pack(code: str, namespace: Mapping[str, Any], asked: Asked, store: BlobStore) -> Packed:
    """Put into `store` what the cell needs of the notebook.

    Raises Untransferable for a value that has no safe format, ConfigError for one that is not there or too large to go
    unasked, OSError for files that cannot be read.
    """
    reads = names.read(code, namespace)
    chosen, explicit = _chosen(asked, reads, namespace)
    captured = source.capture(chosen, namespace, reads.dotted)
    cargo: dict[str, Any] = {"in": {}}
    blobs: dict[str, int] = {}
    words: dict[str, str] = {}
    for name in captured.values:
        if name not in explicit and values.nbytes(namespace[name]) > LIMIT:
            raise ConfigError(
                f"the cell reads {name!r}, which is {values.describe(namespace[name])}: too large to go unasked",
                hint=f"To send it: --in auto,{name}   To use what is there: --in none, or --in with other names",
            )
        encoded = values.encode(namespace[name], store, name=name, allow_pickle=name in asked.pickle)
        document = json.dumps(encoded.doc).encode()
        digest = store.put(document)
        cargo["in"][name] = digest
        blobs |= {**encoded.digests, digest: len(document)}
        words[name] = f"{encoded.words}, {bytes_in_words(encoded.size)}"
    if captured.doc.get("definitions") or captured.doc.get("modules") or captured.doc.get("names"):
        cargo["source"] = captured.doc
        words |= dict.fromkeys(captured.definitions, "source")
    imports = (*reads.imports, *captured.imports)
    notes = list(captured.notes)
    digests = os.path.join(store.folder, "files.db")
    sent: dict[str, files.Collected] = {}
    packs: dict[str, dict[str, int]] = {}
    if imports and asked.bring != "none":
        sent["modules"] = modules.find(imports, asked.near, store, digests)
    if paths := [path for path in asked.files if "://" not in path]:
        sent["files"] = files.collect(paths, str(asked.near), store, digests)
    for kind, found in sent.items():
        if found.tree:
            cargo[kind] = found.tree
            blobs |= found.blobs
            files.merge(packs, found.packs)
            what = kind if found.count != 1 else kind[:-1]
            notes += [f"{found.count:,} {what} ({bytes_in_words(found.size)})"] if found.blobs else []
            notes += found.skipped
    if packs:
        cargo["packs"] = packs
    if urls := [path for path in asked.files if "://" in path]:
        cargo["urls"] = urls
    if asked.leave:
        cargo |= {"out": list(asked.leave), "pickle": sorted(asked.pickle)}
    if asked.training:
        cargo["training"] = dict(asked.training)
    if cargo == {"in": {}}:
        return Packed(imports=imports)
    cargo["blobs"] = blobs
    digest = store.put(json.dumps(cargo, sort_keys=True).encode())
    return Packed(
        digest=digest,
        documents=brought(cargo),
        words=words,
        imports=imports,
        notes=tuple(notes),
    )


def brought(cargo: Mapping[str, Any]) -> dict[str, str]:
    """The names that a cargo sets, each with the digest of what it is set from."""
    definitions = cargo.get("source", {}).get("definitions", ())
    return {**cargo["in"], **{entry["name"]: entry["digest"] for entry in definitions}}


def _chosen(asked: Asked, reads: names.Reads, namespace: Mapping[str, Any]) -> tuple[Collection[str], Collection[str]]:
    """The names that go, and those among them that the user named. Raises ConfigError for one that is not there."""
    listed = [name.strip() for name in asked.bring.split(",") if name.strip() not in ("", "none")]
    auto = "auto" in listed
    explicit = [name for name in listed if name != "auto"]
    for name in explicit:
        if name not in namespace:
            raise ConfigError(f"--in {name}: the notebook has no variable {name!r}")
    return list(dict.fromkeys([*(reads.names if auto else ()), *explicit])), explicit
