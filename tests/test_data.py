"""Where faces come from: CelebA's layout, folders, digits, and the packs they are kept in."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from facelib.data import ATTRIBUTES, FaceData, Split, join, load_faces, pack
from facelib.data import celeba as celeba_room
from facelib.data.celeba import FRAMING
from facelib.data.images import cut
from facelib.train import Feed

REAL = os.environ.get("FACELIB_DATA")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Each test has a cache of its own, and no data but what it makes."""
    monkeypatch.setenv("FACELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FACELIB_DATA", raising=False)
    return tmp_path / "cache"


def noise(seed, width=24, height=24):
    """A smooth random picture, which JPEG keeps nearly as it is."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def celeba(folder, count=12, width=24, height=24, partition=True, attributes=True, identities=True, first=1):
    """A folder of CelebA's layout with random pictures: every fourth is val, every fifth test."""
    pictures = folder / "img_align_celeba"
    pictures.mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(first, first + count)]
    for i, name in enumerate(names):
        noise(i, width, height).save(pictures / name, quality=95)
    if partition:
        (folder / "list_eval_partition.txt").write_text(
            "".join(f"{name} {1 if i % 4 == 3 else 2 if i % 5 == 4 else 0}\n" for i, name in enumerate(names)))
    if attributes:
        rows = "".join(f"{n} " + " ".join("1" if (i + k) % 3 == 0 else "-1" for k in range(40)) + "\n"
                       for i, n in enumerate(names))
        (folder / "list_attr_celeba.txt").write_text(f"{count}\n{' '.join(ATTRIBUTES)}\n{rows}")
    if identities:
        (folder / "identity_CelebA.txt").write_text("".join(f"{n} {100 + i // 2}\n" for i, n in enumerate(names)))
    return folder


def folder_of(path, count, **options):
    path.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        noise(i, **options).save(path / f"p{i:03d}.png")
    return path


# CelebA

def test_celeba_has_splits_attributes_identities_and_names(tmp_path):
    faces = load_faces("celeba", root=celeba(tmp_path / "c"), size=16)
    assert [len(s) for s in (faces.train, faces.val, faces.test)] == [7, 3, 2]
    assert faces.name == "c" and faces.size == (16, 16) and faces.report == ""
    assert faces.train.names == ["000001.jpg", "000002.jpg", "000003.jpg", "000006.jpg", "000007.jpg", "000009.jpg",
                                 "000011.jpg"]
    assert faces.val.identities.tolist() == [101, 103, 105] and faces.val.identities.dtype == np.int64
    assert faces.train.attributes.dtype == np.int8 and faces.train.attributes.shape == (7, 40)
    assert faces.train.attributes[1].tolist() == [int((1 + k) % 3 == 0) for k in range(40)]
    assert faces.test.names == ["000005.jpg", "000010.jpg"]
    assert np.abs(faces.train.images[2].astype(int) - cut(noise(2), 16)).mean() < 8
    assert isinstance(faces.train.images, np.memmap)


def test_a_partial_folder_says_what_is_not_there_and_may_lack_a_split(tmp_path):
    root = celeba(tmp_path / "c")
    for name in ("000005.jpg", "000010.jpg"):
        (root / "img_align_celeba" / name).unlink()
    faces = load_faces("celeba", root=root, size=16)
    assert len(faces.test) == 0 and faces.test.images.shape == (0, 3, 16, 16) and faces.test.attributes.shape == (0, 40)
    assert "2 of the 12 pictures in list_eval_partition.txt are not there" in faces.report
    joined = join(faces, load_faces("celeba", root=celeba(tmp_path / "d", first=500), size=16))
    assert len(joined.test) == 2 and len(joined.train) == 14


def test_missing_label_files_have_a_meaning(tmp_path):
    root = celeba(tmp_path / "c", partition=False, attributes=False, identities=False, first=162765)
    faces = load_faces("celeba", root=root, size=16)
    assert (len(faces.train), len(faces.val), len(faces.test)) == (6, 6, 0)  # the official split ends at 162770
    assert faces.train.attributes is None and faces.train.identities is None
    assert "no list_eval_partition.txt: split by CelebA's official picture numbers" in faces.report
    assert "attributes are None" in faces.report and "identities are None" in faces.report


def test_pictures_without_a_row_are_unknown(tmp_path):
    root = celeba(tmp_path / "c")
    noise(77).save(root / "img_align_celeba" / "000077.jpg")
    lines = (root / "list_attr_celeba.txt").read_text().splitlines()
    (root / "list_attr_celeba.txt").write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    identity = (root / "identity_CelebA.txt").read_text().splitlines()
    (root / "identity_CelebA.txt").write_text("\n".join(identity[1:]) + "\n")
    faces = load_faces("celeba", root=root, size=16)
    assert (faces.train.attributes[0] == -1).all() and faces.train.identities[0] == -1
    assert (faces.train.attributes[1] >= 0).all()
    assert "1 pictures are not in list_eval_partition.txt and were left out" in faces.report


def test_kaggles_layout_is_read(tmp_path):
    root = celeba(tmp_path / "c")
    plain = load_faces("celeba", root=root, size=16)
    inner = tmp_path / "k" / "img_align_celeba"
    inner.mkdir(parents=True)
    (root / "img_align_celeba").rename(inner / "img_align_celeba")
    for stem, head in (("list_eval_partition", "image_id,partition"), ("list_attr_celeba", None)):
        lines = (root / f"{stem}.txt").read_text().splitlines()
        lines = [head, *lines] if head else ["image_id " + lines[1], *lines[2:]]
        (tmp_path / "k" / f"{stem}.csv").write_text("\n".join(",".join(line.split()) for line in lines) + "\n")
    faces = load_faces("celeba", root=tmp_path / "k", size=16)
    assert faces.train.names == plain.train.names and faces.train.identities is None
    assert (faces.train.attributes == plain.train.attributes).all()


@pytest.mark.parametrize("file, text, message", [
    ("list_eval_partition.txt", "000001.jpg 0\n000002.jpg 7\n", "line 2: expected one of .* after the name, got"),
    ("list_eval_partition.txt", "000001.jpg\n", "line 1: expected a picture's name and a number, got"),
    ("list_attr_celeba.txt", "1\n" + " ".join(ATTRIBUTES) + "\n000001.jpg 1 -1\n", "line 3: expected .* 40 values"),
    ("list_attr_celeba.txt", "1\nBeard Horns\n", "line 2: expected CelebA's attribute names, got 'Beard Horns'"),
    ("identity_CelebA.txt", "000001.jpg who\n", "line 1: expected .*, got .*download the file again")])
def test_damaged_label_files_are_refused_with_their_line(tmp_path, file, text, message):
    root = celeba(tmp_path / "c")
    (root / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_faces("celeba", root=root, size=16)


def test_aligned_pictures_are_cut_to_the_framing_and_others_are_not_squashed(tmp_path):
    whole = celeba(tmp_path / "whole", 4, width=178, height=218)
    framed = load_faces("celeba", root=whole, size=32)
    same = load_faces("celeba", root=whole, size=32, box=FRAMING)
    squashed = load_faces("celeba", root=whole, size=32, box=(0, 0, 1, 1))
    assert (framed.train.images == same.train.images).all() and not (framed.train.images == squashed.train.images).all()


def test_roots_are_found_through_facelib_data(tmp_path, monkeypatch):
    celeba(tmp_path / "data" / "one")
    monkeypatch.setenv("FACELIB_DATA", os.pathsep.join([str(tmp_path / "nowhere"), str(tmp_path / "data")]))
    assert load_faces("celeba", size=16).name == "one"
    celeba(tmp_path / "data" / "two", 5)
    with pytest.raises(ValueError, match=r"2 folders hold CelebA pictures, say which one .*root=.*one.*root=.*two"):
        load_faces("celeba", size=16)
    assert load_faces("celeba", root="two", size=16).name == "two"
    assert load_faces("celeba", root=tmp_path / "data" / "one", size=16).name == "one"
    folder_of(tmp_path / "data" / "holiday", 3)
    assert len(load_faces("folder", root="holiday", size=16).train) == 3


def test_no_celeba_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_faces("celeba", root=tmp_path)
    for part in (str(tmp_path), "download=True", "by hand", "img_align_celeba.zip", "list_eval_partition.txt"):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match="root= is not given and .* FACELIB_DATA is not set"):
        load_faces("celeba")
    (tmp_path / "img_align_celeba.zip").touch()
    with pytest.raises(FileNotFoundError, match="is there but not unpacked"):
        load_faces("celeba", root=tmp_path)
    (tmp_path / "empty" / "img_align_celeba").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="expected pictures in .*found none"):
        load_faces("celeba", root=tmp_path / "empty")


def test_a_download_that_is_refused_says_how_to_get_the_files_by_hand(tmp_path, monkeypatch):
    import torchvision.datasets

    def refuse(root, download, target_type):
        assert download
        raise RuntimeError("The daily quota of the file img_align_celeba.zip is exceeded")

    monkeypatch.setattr(torchvision.datasets, "CelebA", refuse)
    with pytest.raises(RuntimeError) as error:
        load_faces("celeba", root=tmp_path, download=True)
    for part in ("did not give the files", "daily quota", "by hand", "mmlab.ie.cuhk.edu.hk", str(tmp_path / "celeba"),
                 "img_align_celeba/000001.jpg", "FACELIB_DATA"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="download=True needs root="):
        load_faces("celeba", download=True)


def test_a_download_that_works_is_loaded(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets, "CelebA", lambda root, **_: celeba(Path(root) / "celeba"))
    assert len(load_faces("celeba", root=tmp_path, size=16, download=True).train) == 7
    assert load_faces("celeba", root=tmp_path, size=16).name == "celeba"  # now it is there


# Packing

def test_bad_files_are_reported_and_skipped(tmp_path):
    root = celeba(tmp_path / "c")
    pictures = root / "img_align_celeba"
    (pictures / "000002.jpg").write_bytes((pictures / "000002.jpg").read_bytes()[:300])
    (pictures / "000003.jpg").write_bytes(b"")
    (pictures / "000004.jpg").write_text("no picture")
    faces = load_faces("celeba", root=root, size=16)
    assert len(faces.train) == 5 and len(faces.val) == 2
    assert "3 of 12 pictures could not be read and were skipped" in faces.report
    for name, reason in (("000002.jpg", "truncated"), ("000003.jpg", "empty"), ("000004.jpg", "no picture")):
        assert any(name in line and reason in line for line in faces.report.splitlines())
    assert faces.train.names[1] == "000006.jpg" and faces.train.identities.tolist()[1] == 102  # labels move along
    assert load_faces("celeba", root=root, size=16).report == faces.report


def test_many_bad_files_are_listed_in_the_manifest(tmp_path, cache):
    folder = folder_of(tmp_path / "f", 2)
    for i in range(60):
        (folder / f"bad{i:02d}.jpg").write_text("no")
    report = load_faces("folder", root=folder, size=16).report
    assert "60 of 62" in report and "bad49.jpg" in report and "and 10 more, listed in" in report
    manifest = json.loads(Path(report.rsplit("listed in ", 1)[1]).read_text())
    assert len(manifest["skipped"]) == 60


def test_only_bad_files_is_an_error(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a.jpg").write_text("no picture")
    with pytest.raises(ValueError, match="none of the 1 files there could be read; the first: a.jpg: no picture"):
        load_faces("folder", root=folder)


def packs(cache):
    return sorted(path.parent for path in cache.rglob("manifest.json"))


def test_packed_once_and_never_beside_the_source(tmp_path, cache, monkeypatch):
    root = celeba(tmp_path / "c")
    before = sorted(root.rglob("*"))
    first = load_faces("celeba", root=root, size=16)
    monkeypatch.setattr(pack, "_write", None)  # a second packing would fail
    second = load_faces("celeba", root=root, size=16)
    assert (first.train.images == second.train.images).all()
    assert sorted(root.rglob("*")) == before and len(packs(cache)) == 1
    manifest = json.loads((packs(cache)[0] / "manifest.json").read_text())
    assert manifest["fingerprint"]["files"] == 12 and manifest["fingerprint"]["bytes"] > 0
    assert manifest["fingerprint"]["newest_ns"] > 0 and manifest["source"] == str(root / "img_align_celeba")


def test_each_size_and_box_has_its_pack(tmp_path, cache):
    root = celeba(tmp_path / "c")
    shapes = {load_faces("celeba", root=root, **options).train.images.shape[1:]
              for options in ({"size": 16}, {"size": (20, 12)}, {"size": 16, "box": (0, 0, 0.5, 0.5)})}
    assert shapes == {(3, 16, 16), (3, 20, 12)} and len(packs(cache)) == 3


def changed_label(root):
    path = root / "identity_CelebA.txt"
    path.write_text(path.read_text().replace("000001.jpg 100", "000001.jpg 9999"))


def changed_picture(root):
    noise(99).save(root / "img_align_celeba" / "000001.jpg", quality=95)


def added_picture(root):
    (root / "list_eval_partition.txt").open("a").write("000099.jpg 0\n")
    noise(99).save(root / "img_align_celeba" / "000099.jpg")


@pytest.mark.parametrize("change, look", [
    (changed_picture, lambda f: f.train.images[0].tolist()), (changed_label, lambda f: f.train.identities.tolist()),
    (added_picture, len), (lambda root: (root / "img_align_celeba" / "000001.jpg").unlink(), len),
    (lambda root: (root / "img_align_celeba" / "000001.jpg").rename(root / "img_align_celeba" / "000005.jpg"), len)],
    ids=["picture", "label", "added", "removed", "renamed"])
def test_a_changed_source_is_noticed(tmp_path, cache, change, look):
    root = celeba(tmp_path / "c")
    see = look if look is not len else lambda faces: len(faces.train)
    before = see(load_faces("celeba", root=root, size=16))
    change(root)
    assert see(load_faces("celeba", root=root, size=16)) != before
    assert len(packs(cache)) == 1  # the old pack is gone


def test_verify_reads_the_contents(tmp_path):
    root = celeba(tmp_path / "c")
    old = load_faces("celeba", root=root, size=16).train.images[0].copy()
    path = root / "img_align_celeba" / "000001.jpg"
    about, data = path.stat(), path.read_bytes()
    noise(99).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:len(data)].ljust(len(data), b"\0"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert (load_faces("celeba", root=root, size=16).train.images[0] == old).all()  # same size, same time
    faces = load_faces("celeba", root=root, size=16, verify=True)
    assert not (faces.train.images[0] == old).all()
    assert (load_faces("celeba", root=root, size=16, verify=True).train.images == faces.train.images).all()


@pytest.mark.parametrize("spoil", [
    lambda p: (p / "train.npy").write_bytes((p / "train.npy").read_bytes()[:-1]), lambda p: (p / "train.npy").unlink(),
    lambda p: (p / "manifest.json").write_text("{"), lambda p: (p / "val.names.json").unlink()])
def test_a_spoilt_pack_is_made_again(tmp_path, cache, spoil):
    root = celeba(tmp_path / "c")
    good = np.array(load_faces("celeba", root=root, size=16).train.images)
    spoil(packs(cache)[0])
    assert (load_faces("celeba", root=root, size=16).train.images == good).all()


def test_an_interrupted_packing_leaves_nothing(tmp_path, cache, monkeypatch):
    root, calls = celeba(tmp_path / "c"), []

    def interrupted(data, **options):
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return decode(data, **options)

    decode = pack.decode
    monkeypatch.setattr(pack, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_faces("celeba", root=root, size=16)
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]
    monkeypatch.setattr(pack, "decode", decode)
    assert len(load_faces("celeba", root=root, size=16).train) == 7


def packer(root, delay):
    """Another process that packs, slowly, and a queue on which it says each picture and, at last, what it loaded."""
    import multiprocessing

    context = multiprocessing.get_context("fork")  # a new interpreter would spend seconds on importing torch
    said = context.Queue()

    def work():
        decode = pack.decode

        def slow(data, **options):
            said.put("decoding")
            time.sleep(delay)
            return decode(data, **options)

        pack.decode = slow
        faces = load_faces("celeba", root=root, size=16)
        said.put((int(faces.train.images.sum()), len(faces.train)))

    process = context.Process(target=work)
    process.start()
    return process, said


def test_a_killed_packing_leaves_nothing_that_is_used(tmp_path, cache):
    root = celeba(tmp_path / "c")
    process, said = packer(root, 30)
    assert said.get(timeout=60) == "decoding"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not packs(cache) and list(cache.rglob("tmp-*"))
    assert len(load_faces("celeba", root=root, size=16).train) == 7
    assert len(packs(cache)) == 1 and not list(cache.rglob("tmp-*"))  # and what was left is cleared away


def test_two_processes_pack_once(tmp_path, cache):
    root = celeba(tmp_path / "c", 10)
    both = [packer(root, 0.05) for _ in range(2)]
    heard = []
    for _, said in both:
        heard.append([said.get(timeout=60)])
        while heard[-1][-1] == "decoding":
            heard[-1].append(said.get(timeout=60))
    assert heard[0][-1] == heard[1][-1] and heard[0][-1][1] == 6
    assert sum(words.count("decoding") for words in heard) == 10
    assert len(packs(cache)) == 1


def test_two_hundred_thousand_packed_pictures_load_in_about_a_second(tmp_path, cache, monkeypatch):
    # The cost of a second load is the walk over the source, 4 microseconds a picture, and reading the labels. Both are
    # tried here on a fortieth of the number, in processor time, so that a busy machine does not matter.
    count = 5_000
    pictures = tmp_path / "c" / "img_align_celeba"
    pictures.mkdir(parents=True)
    noise(0).save(pictures / "000001.jpg")
    for i in range(2, count + 1):
        os.link(pictures / "000001.jpg", pictures / f"{i:06d}.jpg")
    same = pack.cut(noise(0), 16)
    monkeypatch.setattr(pack, "decode", lambda data, name: None)
    monkeypatch.setattr(pack, "cut", lambda picture, size, box: same)
    first = load_faces("celeba", root=tmp_path / "c", size=16)
    best = 9.0
    for _ in range(5):
        start = time.process_time()
        faces = load_faces("celeba", root=tmp_path / "c", size=16)
        best = min(best, time.process_time() - start)
    assert len(faces.train) == len(first.train) == count and isinstance(faces.train.images, np.memmap)
    assert best < 0.06


def test_cache_errors_say_what_to_set(tmp_path, monkeypatch):
    root = celeba(tmp_path / "c")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACELIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="cannot be written .*; set the environment variable FACELIB_CACHE"):
        load_faces("celeba", root=root, size=16)
    monkeypatch.setenv("FACELIB_CACHE", str(root / "img_align_celeba" / "cache"))
    with pytest.raises(ValueError, match="the cache must not lie in the source"):
        load_faces("celeba", root=root, size=16)
    monkeypatch.setenv("FACELIB_CACHE", str(tmp_path / "good"))
    monkeypatch.setattr(pack.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="needs .* MB .*has 0 MB left; free some"):
        load_faces("celeba", root=root, size=16)
    assert not list((tmp_path / "good").rglob("tmp-*"))


def test_the_cache_is_in_the_users_cache_folder_by_default(monkeypatch):
    monkeypatch.delenv("FACELIB_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert pack.cache_folder() == Path("/somewhere/facelib")


# Folders, digits, and the door

def test_a_folder_with_splits(tmp_path):
    for name, count in (("train", 4), ("val", 2), ("test", 1), ("other", 3)):
        folder_of(tmp_path / "f" / name, count)
    faces = load_faces("folder", root=tmp_path / "f", size=16)
    assert [len(s) for s in (faces.train, faces.val, faces.test)] == [4, 2, 1]
    assert faces.val.names == ["val/p000.png", "val/p001.png"] and faces.train.attributes is None
    assert "3 pictures outside the folders train, val and test were left out" in faces.report


def test_a_folder_without_splits(tmp_path):
    small = load_faces("folder", root=folder_of(tmp_path / "small", 6, width=30, height=20), size=16)
    assert (len(small.train), len(small.val), len(small.test)) == (6, 0, 0)
    assert np.abs(small.train.images[0].astype(int) - cut(noise(0, 30, 20), 16)).max() == 0
    folder = folder_of(tmp_path / "large", 200)
    large = load_faces("folder", root=folder, size=8)
    assert len(large.train) > 160 and len(large.val) and len(large.test)
    noise(0).save(folder / "another.png")
    assert set(large.test.names) <= set(load_faces("folder", root=folder, size=8).test.names)  # nothing moved


def test_folder_errors(tmp_path):
    with pytest.raises(ValueError, match="needs root=, the folder"):
        load_faces("folder")
    with pytest.raises(FileNotFoundError, match="which is no folder; looked at"):
        load_faces("folder", root=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="found no file that ends in .jpg.*pgm$"):
        load_faces("folder", root=tmp_path)
    (tmp_path / "telephone").mkdir()
    (tmp_path / "telephone/IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(FileNotFoundError, match="there are files that end in .heic: save pictures of other kinds as JPEG"):
        load_faces("folder", root=tmp_path)


def test_digits_without_a_network():
    faces = load_faces("digits", size=28)
    assert [len(s) for s in (faces.train, faces.val, faces.test)] == [1397, 200, 200] and faces.size == (28, 28)
    assert set(faces.train.identities) == set(range(10)) and faces.train.attributes is None
    assert (faces.train.images[:, 0] == faces.train.images[:, 2]).all() and faces.train.images.max() > 200
    assert "scikit-learn" in faces.report and "download=True" in faces.report
    assert (faces.train.images == load_faces("digits", size=28).train.images).all()
    assert load_faces("digits", size=(16, 8), box=(0.25, 0, 0.75, 1)).size == (16, 8)


def test_digits_from_mnist_where_it_is(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 60000), ("t10k", 10000)):
        head = bytes([0, 0, 8, 3, *count.to_bytes(4, "big"), 0, 0, 0, 2, 0, 0, 0, 2])
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + bytes([0, 80, 160, 255]) * count)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1, *count.to_bytes(4, "big")]) + bytes(i % 10 for i in range(count)))
    faces = load_faces("digits", root=tmp_path, size=8)
    assert [len(s) for s in (faces.train, faces.val, faces.test)] == [55000, 5000, 10000] and faces.report == ""
    assert faces.name == "mnist" and faces.test.identities[:3].tolist() == [0, 1, 2]


def test_digits_that_cannot_be_fetched_say_so(tmp_path, monkeypatch):
    import torchvision.datasets

    def refuse(root, train, download):
        raise RuntimeError("no network" if download else "Dataset not found")

    monkeypatch.setattr(torchvision.datasets, "MNIST", refuse)
    report = load_faces("digits", root=tmp_path, size=8, download=True).report
    assert "MNIST could not be fetched (no network)" in report
    with pytest.raises(ValueError, match="download=True needs root="):
        load_faces("digits", download=True)


def test_the_door_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="name must be .*got 'celebA'"):
        load_faces("celebA")
    with pytest.raises(ValueError, match="size must be .*got 'big'"):
        load_faces(size="big")
    with pytest.raises(ValueError, match="box must be fractions .*divide pixels"):
        load_faces(box=(0, 0, 64, 64))


def test_synthetic_is_the_default_and_can_be_resized(monkeypatch):
    from facelib.data import synthetic

    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (5, 3, 64, 64), np.uint8), np.zeros((5, 40), np.int8),
                  factors={"yaw": rng.random((5, 1))})
    monkeypatch.setattr(synthetic, "load", lambda: FaceData("synthetic", split, split, split))
    assert load_faces().train is split and load_faces("synthetic", size=(64, 64)).val is split
    small = load_faces(size=16)
    picture = Image.fromarray(split.images[3].transpose(1, 2, 0))
    assert small.size == (16, 16) and (small.val.images[3] == cut(picture, 16)).all()
    assert small.val.attributes is split.attributes and small.test.factors is split.factors
    boxed = load_faces(box=(0.25, 0.25, 0.75, 0.75), size=32)
    assert (boxed.train.images == split.images[:, :, 16:48, 16:48]).all()


# Real faces, where there are some

@pytest.mark.skipif(not REAL, reason="FACELIB_DATA is not set")
def test_real_faces_and_their_framing(tmp_path):
    parts = {}
    for name, counts in (("celeba160", [13845, 1028, 1007]), ("celeba64", [24152, 2945, 0])):
        source = next((folder / name for folder in map(Path, REAL.split(os.pathsep)) if (folder / name).is_dir()), None)
        if source is None:
            pytest.skip(f"{name} is not in FACELIB_DATA")
        labels = {"partition": "list_eval_partition.txt", "attributes": "list_attr_celeba.txt",
                  "identities": "identity_CelebA.txt"}
        names = pack.scan(source / "img_align_celeba").names
        listing = celeba_room._listing(names, {key: source / file for key, file in labels.items()})
        assert [len(listing.names[split]) for split in pack.SPLITS] == counts and not listing.notes
        people = [set(listing.identities[split].tolist()) for split in pack.SPLITS]
        assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
        assert set(np.unique(listing.attributes["train"])) == {0, 1}
        # Every sixteenth picture, as a partial folder, is enough for the mean face and packs in a second.
        (tmp_path / name / "img_align_celeba").mkdir(parents=True)
        for file in labels.values():
            (tmp_path / name / file).symlink_to((source / file).resolve())
        for picture in names[::16]:
            here = Path("img_align_celeba", picture)
            (tmp_path / name / here).symlink_to((source / here).resolve())
        parts[name] = load_faces("celeba", root=tmp_path / name, box=FRAMING if name == "celeba64" else None)
    means = [np.asarray(faces.train.images).mean((0, 1)) for faces in parts.values()]
    middle = [mean[14:54, 12:52].ravel() for mean in means]
    assert np.corrcoef(*middle)[0, 1] > 0.985
    for mean in means:  # the eyes are the darkest places of either half of the mean face, at their height
        eyes = mean[26:30].mean(0)
        assert abs(16 + eyes[16:32].argmin() - 24) <= 1.5 and abs(32 + eyes[32:48].argmin() - 39) <= 1.5


def test_digits_are_not_mirrored_in_training_and_faces_are():
    """A mirrored 2 is no digit; the switch survives taking a part and joining."""
    digits, faces = load_faces("digits", size=8), load_faces(size=8)
    assert not digits.train.mirror and not digits.train.take(slice(0, 5)).mirror and not join(digits, faces).train.mirror
    assert faces.train.mirror and faces.train.take([1]).mirror
    for split, mirrored in ((digits.train, False), (faces.train, True)):
        feed = Feed(split, 64, 0, torch.device("cpu"))
        batch = feed(0, torch.Generator().manual_seed(0))["image"]
        straight = split.tensor([feed.permutation(0)[i].item() for i in range(64)])
        assert torch.equal(batch, straight) == (not mirrored)
