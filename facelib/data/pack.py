"""Decode a folder of pictures once, and memory-map the result ever after.

A pack is a folder in the cache: `train.npy`, `val.npy`, `test.npy` (uint8, N x 3 x H x W), the labels beside them, and
`manifest.json` with the fingerprint of the source. It is written under another name and renamed when it is whole, so a
pack that is there is complete. Its name holds the fingerprint, so a changed source simply has no pack yet.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facelib.data.faces import FaceData, Split
from facelib.data.images import SUFFIXES, DecodeError, check_box, cut, decode, pair

VERSION = 1  # of the pack's layout and of the cropping: raise it when either changes
SPLITS = ("train", "val", "test")
CHUNK = 512  # files decoded between two writes: bounds the memory whatever the folder's size


@dataclass
class Listing:
    """What a source says of its pictures: split -> file names, and labels in the same order, or None."""

    names: dict
    attributes: dict | None = None
    identities: dict | None = None
    notes: list = field(default_factory=list)


def cache_folder():
    """Where packs are kept: the environment variable FACELIB_CACHE, or `facelib` in the user's cache folder."""
    if os.environ.get("FACELIB_CACHE"):
        return Path(os.environ["FACELIB_CACHE"]).expanduser().absolute()
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home).absolute() / "facelib"


@contextlib.contextmanager
def writing():
    """For a `with` in which something is written to the cache: where that fails, the OSError says what to set."""
    try:
        yield
    except OSError as error:
        raise OSError(f"the cache folder {cache_folder()} cannot be written ({error}); "
                      "set the environment variable FACELIB_CACHE to one that can") from error


@dataclass
class Scan:
    """What lies in a folder: a line "name, bytes, time in ns" per picture, sorted, and their sum and maximum.

    Lines, not tuples: the garbage collector need not walk 200,000 of them, which halves the time of a scan.
    """

    lines: list
    bytes: int
    newest: int

    @property
    def names(self):
        """The pictures' names, relative to the folder, in the order of `lines`."""
        return [line.rsplit("\t", 2)[0] for line in self.lines]


def scan(folder, deep=False):
    """All pictures of a folder, and of its subfolders if `deep`, by their suffixes and without reading them: a Scan."""
    lines, total, newest = [], 0, 0
    waiting = [("", os.fspath(folder))]
    while waiting:
        prefix, here = waiting.pop()
        with os.scandir(here) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if name.lower().endswith(SUFFIXES) and entry.is_file():
                    about = entry.stat()
                    size, time = about.st_size, about.st_mtime_ns
                    lines.append(f"{prefix}{name}\t{size}\t{time}")
                    total += size
                    newest = max(newest, time)
                elif deep and entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{prefix}{name}/", entry.path))
    return Scan(sorted(lines), total, newest)


def none_found(folder):
    """The error for a folder in which `scan` finds nothing: FileNotFoundError, which says what else lies there."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith("."))
    others = sorted({path.suffix.lower() for path in files} - {""})
    there = f"; there are files that end in {', '.join(others[:6])}: save pictures of other kinds as JPEG" if others else ""
    return FileNotFoundError(f"expected pictures in {folder}, found no file that ends in {', '.join(SUFFIXES)}{there}")


def _fingerprint(pictures, labels):
    lines = list(pictures.lines)
    for path in labels:
        about = os.stat(path)
        lines.append(f"{path.name}\t{about.st_size}\t{about.st_mtime_ns}")
    return {"files": len(pictures.lines), "bytes": pictures.bytes, "newest_ns": pictures.newest,
            "digest": hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).hexdigest()}


def load(name, folder, pictures, size, box, listing, labels=(), verify=False):
    """The faces of a folder as memory-mapped FaceData, packing them first where that has not been done.

    name: what the data set is called. folder: where the pictures lie. pictures: `scan(folder)`. size, box: as for
    `cut`. listing: called, only when packing, for a Listing with names relative to `folder`. labels: the files it
    reads, so that a change of one is noticed. verify: read every source file and every packed byte, not only sizes
    and times, and pack again if either differs.

    Pictures that cannot be decoded are skipped and named in `.report`. Several processes may call this at once: one
    packs and the others wait for it. Raises ValueError when no picture can be read or the cache lies in the source,
    OSError when the cache cannot be written or the disk is too small.
    """
    folder = Path(folder).resolve()
    height, width = pair(size)
    box = None if box is None else check_box(box)
    fingerprint = _fingerprint(pictures, labels)
    what = json.dumps([VERSION, name, str(folder), [str(Path(p).resolve()) for p in labels], height, width, box])
    home = cache_folder() / f"{name}-{height}x{width}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    if home.resolve().is_relative_to(folder):
        raise ValueError(f"the cache must not lie in the source, got FACELIB_CACHE={cache_folder()} inside {folder}; "
                         "set FACELIB_CACHE to a folder elsewhere")
    target = home / fingerprint["digest"][:16]
    data = _read(target, verify and folder)
    if data is not None:
        return data
    with writing():
        home.mkdir(parents=True, exist_ok=True)
        lock = open(home / "lock", "w")
    with lock, _locked(lock, name):
        data = _read(target, verify and folder)  # another process may have packed while this one waited
        if data is not None:
            return data
        for old in home.glob("tmp-*"):  # nobody else holds the lock: these were left by a packing that was killed
            shutil.rmtree(old, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=home))
        try:
            _write(temporary, name, folder, listing(), (height, width), box, fingerprint)
            for old in home.iterdir():  # packs of what the source was before, and one that failed its verification
                if old.is_dir() and old != temporary:
                    shutil.rmtree(old, ignore_errors=True)
            os.replace(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return _read(target, False)


@contextlib.contextmanager
def _locked(file, name):
    try:
        import fcntl
    except ImportError:  # Windows: two packings at once both work, and the first to finish is kept
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process is packing {name}; waiting for it", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        pass
    yield


def _read(target, verify):
    """The pack at `target`, or None if there is no sound one; `verify` is the folder to compare with, or false."""
    try:
        manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
        if any((target / file).stat().st_size != size for file, size in manifest["bytes"].items()):
            return None
        if verify and not _verified(target, Path(verify), manifest):
            return None
        splits = {}
        for split in SPLITS:
            count = manifest["splits"][split]
            # An empty array cannot be memory-mapped.
            images = np.load(target / f"{split}.npy", mmap_mode="r" if count else None)
            labels = {label: np.load(target / f"{split}.{label}.npy") if manifest[label] else None
                      for label in ("attributes", "identities")}
            names = json.loads((target / f"{split}.names.json").read_text())
            splits[split] = Split(images, names=names, **labels)
    except (OSError, ValueError, KeyError):  # absent, or spoilt by somebody: pack again
        return None
    return FaceData(manifest["name"], **splits, report=_report(manifest, target))


def _verified(target, folder, manifest):
    for file, digest in manifest["sha256"].items():
        with open(target / file, "rb") as packed:
            if hashlib.file_digest(packed, "sha256").hexdigest() != digest:
                return False
    contents = hashlib.sha256()
    for name in json.loads((target / "order.json").read_text()):
        contents.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return contents.hexdigest() == manifest["contents"]


def _report(manifest, target):
    lines = list(manifest["notes"])
    skipped = manifest["skipped"]
    if skipped:
        seen = len(skipped) + sum(manifest["splits"].values())
        lines.append(f"{len(skipped):,} of {seen:,} pictures could not be read and were skipped:")
        lines += [f"  {name}: {reason}" for name, reason in skipped[:50]]
        if len(skipped) > 50:
            lines.append(f"  and {len(skipped) - 50:,} more, listed in {target / 'manifest.json'}")
    return "\n".join(lines)


def _header(count, height, width):
    """The header of an .npy file, always 128 bytes: written last, once it is known how many pictures were good."""
    shape = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 3, {height}, {width}), }}"
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + shape.ljust(117).encode() + b"\n"


def _write(target, name, folder, listing, size, box, fingerprint):
    from tqdm import tqdm

    total = sum(len(names) for names in listing.names.values())
    needed, free = total * 3 * size[0] * size[1], shutil.disk_usage(target).free
    if needed * 1.02 + 2**20 > free:
        raise OSError(f"packing {total:,} pictures of {size[0]}x{size[1]} needs {needed / 2**20:,.0f} MB in "
                      f"{cache_folder()}, which has {free / 2**20:,.0f} MB left; free some, choose a smaller size=, or "
                      "set FACELIB_CACHE to a folder on a larger disk")

    def prepare(file):
        try:
            data = (folder / file).read_bytes()
        except OSError as error:
            return b"", f"cannot be opened ({error.strerror})"
        digest = hashlib.sha256(data).digest()
        try:
            return digest, cut(decode(data, name=file), size, box)
        except DecodeError as error:
            return digest, error.reason

    skipped, counts, order, contents = [], {}, [], hashlib.sha256()
    workers = min(8, os.cpu_count() or 2)  # threads suffice: Pillow lets go of the interpreter while it decodes
    bar = tqdm(total=total, desc=f"packing {name} at {size[0]}x{size[1]}", unit="img", leave=False)
    with ThreadPoolExecutor(workers) as pool, bar:
        for split in SPLITS:
            names, kept = listing.names.get(split, []), []
            with open(target / f"{split}.npy", "wb") as out:
                out.write(_header(0, *size))
                for start in range(0, len(names), CHUNK):
                    chunk = names[start:start + CHUNK]
                    for i, (digest, face) in enumerate(pool.map(prepare, chunk), start):
                        contents.update(digest)
                        order.append(names[i])
                        if isinstance(face, str):
                            skipped.append([names[i], face])
                        else:
                            out.write(face.data)
                            kept.append(i)
                    bar.update(len(chunk))
                out.seek(0)
                out.write(_header(len(kept), *size))
            counts[split] = len(kept)
            for label in ("attributes", "identities"):
                table = getattr(listing, label)
                if table is not None:
                    np.save(target / f"{split}.{label}.npy", table[split][kept])
            (target / f"{split}.names.json").write_text(json.dumps([names[i] for i in kept]))
    (target / "order.json").write_text(json.dumps(order))
    if not sum(counts.values()):
        first = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"expected pictures in {folder}, but none of the {total:,} files there could be read{first}")
    files = sorted(target.iterdir())
    sha256 = {}
    for path in files:
        with open(path, "rb") as packed:
            os.fsync(packed.fileno())
            sha256[path.name] = hashlib.file_digest(packed, "sha256").hexdigest()
    manifest = {"version": VERSION, "name": name, "source": str(folder), "size": list(size), "box": box,
                "fingerprint": fingerprint, "contents": contents.hexdigest(), "splits": counts,
                "attributes": listing.attributes is not None, "identities": listing.identities is not None,
                "notes": listing.notes, "skipped": skipped,
                "bytes": {path.name: path.stat().st_size for path in files}, "sha256": sha256}
    with open(target / "manifest.json", "w", encoding="utf-8") as out:
        json.dump(manifest, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
