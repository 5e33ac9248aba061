"""Container images of one layer, written by hand: programs that are built here, and what they need of a Debian root.

An image is an archive as `docker save` makes it, which `ctr images import` reads. Next: `payload.py`.
"""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["PATH", "needed", "write"]

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MERGED: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def write(target: Path, name: str, files: Mapping[str, Path], entrypoint: Sequence[str] = ()) -> None:
    """Write an image of files (path in it -> where it is now); the same files make the same image."""
    layer = target.with_suffix(".layer")
    _layer(layer, files)
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    config = {
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Env": [f"PATH={PATH}"], "Entrypoint": list(entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        for inside, said in (("config.json", config), ("manifest.json", manifest)):
            text = json.dumps(said).encode()
            archive.addfile(_entry(inside, len(text), 0o644), io.BytesIO(text))
        archive.add(layer, "layer.tar")
    layer.unlink()


def needed(root: Path, programs: Iterable[str]) -> dict[str, Path]:
    """Return programs of a Debian root (`/usr/sbin/nft`) with their libraries, each where it is there."""
    found = {}
    for program in programs:
        said = subprocess.run(["chroot", root, "ldd", program], capture_output=True, text=True, check=True).stdout
        libraries = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
        for path in (program, *libraries):
            first, _, rest = path.removeprefix("/").partition("/")
            inside = f"{_MERGED.get(first, first)}/{rest}"
            found[inside] = _resolved(root, inside)
    return found


def _resolved(root: Path, inside: str) -> Path:
    """Follow links as the root's own programs would, whose absolute ones mean the root."""
    path = root / inside
    while path.is_symlink():
        to = path.readlink()
        path = root / str(to).removeprefix("/") if to.is_absolute() else path.parent / to
    return path


def _layer(target: Path, files: Mapping[str, Path]) -> None:
    with tarfile.open(target, "w") as layer:
        for folder in sorted({str(parent) for path in files for parent in Path(path).parents} - {"."}):
            entry = _entry(folder, 0, 0o755)
            entry.type = tarfile.DIRTYPE
            layer.addfile(entry)
        for path in sorted(files):
            with files[path].open("rb") as stream:
                layer.addfile(_entry(path, files[path].stat().st_size, 0o755), stream)
        for link, to in _MERGED.items():
            entry = _entry(link, 0, 0o777)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            layer.addfile(entry)


def _entry(path: str, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, mode
    return entry
