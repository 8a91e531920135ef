"""Unpacking archives: real ones, damaged ones, hostile ones."""

import errno
import gzip
import io
import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from fetch_server import jpeg, make_tar, make_zip

from cbirkit.datasets.fetch import unpack as module
from cbirkit.datasets.fetch.unpack import BadArchive, unpack

NOISE = np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes()
FILES = {"a/b/1.jpg": jpeg(1), "a/2.bin": NOISE, "top.txt": b"", "naïve 日本.txt": b"text"}
PACKERS = {
    "zip": make_zip,
    "tar": lambda files: make_tar(files, "w"),
    "tgz": make_tar,
    "tbz": lambda files: make_tar(files, "w:bz2"),
    "txz": lambda files: make_tar(files, "w:xz"),
}


def unpacked(data, tmp_path, **options):
    """How many files came out."""
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    unpack(archive, tmp_path / "out", progress=False, **options)
    return sum(path.is_file() for path in (tmp_path / "out").rglob("*"))


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("kind", PACKERS)
def test_every_kind_is_told_by_its_contents(kind, tmp_path):
    assert unpacked(PACKERS[kind](FILES), tmp_path) == len(FILES)
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("kind", PACKERS)
def test_members_can_be_left_out_and_placed_elsewhere(kind, tmp_path):
    def place(name):
        return name.split("/")[-1] if name.startswith("a/") else None

    assert unpacked(PACKERS[kind](FILES), tmp_path, place=place) == 2
    assert set(tree(tmp_path / "out")) == {"1.jpg", "2.bin"}


def test_names_are_cleaned(tmp_path):
    assert (
        unpacked(make_tar({"./x//y.txt": b"1", "back\\slash.txt": b"2"}, folders=False), tmp_path)
        == 2
    )
    assert tree(tmp_path / "out") == {"x/y.txt": b"1", "back/slash.txt": b"2"}


def test_progress(tmp_path, capsys):
    (tmp_path / "archive").write_bytes(make_tar(FILES))
    unpack(tmp_path / "archive", tmp_path / "out")
    assert "unpack archive" in capsys.readouterr().err


# ---------------------------------------------------------------------- damaged


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_archives_are_named_damaged(kind, share, tmp_path):
    data = PACKERS[kind](FILES)
    if kind == "tar" and share > 0.9:
        pytest.skip("a plain tar file ends in zeros that nothing is lost with")
    with pytest.raises(BadArchive, match="damaged"):
        unpacked(data[: int(len(data) * share)], tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tgz", "tbz", "txz"])
def test_flipped_bits_are_found(kind, tmp_path):
    data = PACKERS[kind]({"a.bin": NOISE})
    for position in (len(data) // 3, len(data) // 2, 2 * len(data) // 3):
        broken = bytearray(data)
        broken[position] ^= 0x10
        with pytest.raises(BadArchive):
            unpacked(bytes(broken), tmp_path)


def test_the_checksum_at_the_end_of_a_compressed_tar_is_read(tmp_path):
    data = bytearray(make_tar({"a.bin": NOISE}))
    data[-6] ^= 1  # in the CRC, behind everything that tar itself reads
    with pytest.raises(BadArchive, match="CRC"):
        unpacked(bytes(data), tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"<html>gone</html>" * 100, b"PK\3\4nonsense", b"\x1f\x8bnonsense", bytes(2000)],
)
def test_what_is_no_archive(data, tmp_path):
    with pytest.raises(BadArchive):
        if unpacked(data, tmp_path) == 0:
            raise BadArchive("an empty tar file")


def test_a_member_shorter_than_announced(tmp_path):
    info = tarfile.TarInfo("a.bin")
    info.size = 5000
    with pytest.raises(BadArchive):
        unpacked(info.tobuf() + b"x" * 100, tmp_path)


# ---------------------------------------------------------------------- hostile


def tar_with(name, *, kind=tarfile.REGTYPE, link="", data=b"x"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_with(name, data=b"x", mode=stat.S_IFREG | 0o644):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        file.writestr(info, data)
    return buffer.getvalue()


OUTWARD = [
    "../evil.txt",
    "a/../../evil.txt",
    "/evil.txt",
    "C:\\evil.txt",
    "..\\evil.txt",
    "a/b/../../../evil.txt",
    "c:evil.txt",
]


@pytest.mark.parametrize("pack", [tar_with, zip_with])
@pytest.mark.parametrize("name", OUTWARD)
def test_names_that_lead_out_are_refused(pack, name, tmp_path):
    with pytest.raises(BadArchive, match="leads out of its folder"):
        unpacked(pack(name), tmp_path)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", OUTWARD[:4])
def test_a_place_that_leads_out_is_refused_too(name, tmp_path):
    with pytest.raises(BadArchive, match="leads out"):
        unpacked(make_tar({"a.txt": b"x"}), tmp_path, place=lambda _: name)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("link", ["/etc/passwd", "../../etc/passwd", "..", "a/../../b"])
def test_links_that_lead_out_are_refused(kind, link, tmp_path):
    with pytest.raises(BadArchive, match="outside|absolute"):
        unpacked(tar_with("inside", kind=kind, link=link), tmp_path)


def test_links_are_never_made(tmp_path):
    assert unpacked(tar_with("a/inside", kind=tarfile.SYMTYPE, link="../b.txt"), tmp_path) == 0
    for target in (b"b.txt", b"/etc/passwd", b"../../x", b"y" * 5000):
        data = zip_with("a/inside", target, stat.S_IFLNK | 0o777)
        assert unpacked(data, tmp_path) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_a_file_is_never_written_through_a_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, "sub"  # harmless by itself
        file.addfile(link)
        info = tarfile.TarInfo("door/evil.txt")
        info.size = 1
        file.addfile(info, io.BytesIO(b"x"))
    assert unpacked(buffer.getvalue(), tmp_path) == 1
    assert not (tmp_path / "out" / "door").is_symlink() and not list(outside.iterdir())


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(kind, tmp_path):
    with pytest.raises(BadArchive, match="special"):
        unpacked(tar_with("dev", kind=kind), tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tgz", "tbz", "txz"])
def test_bombs_are_refused(kind, tmp_path):
    bomb = PACKERS[kind]({"zeros.bin": bytes(70_000_000)})
    assert len(bomb) < 200_000
    with pytest.raises(BadArchive, match="unpacks to more than"):
        unpacked(bomb, tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 10_000_000


def test_a_zip_that_lies_about_its_size_is_cut_off(tmp_path):
    data = bytearray(make_zip({"zeros.bin": bytes(3_000_000)}))
    true, said = (3_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert data.count(true) == 2
    with pytest.raises(BadArchive):
        unpacked(bytes(data.replace(true, said)), tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < 200_000


def test_a_bomb_behind_the_end_of_the_tar_is_refused(tmp_path):
    plain = gzip.decompress(make_tar({"a.txt": b"x"})) + bytes(200_000_000)
    with pytest.raises(BadArchive, match="unpacks to more than"):
        unpacked(gzip.compress(plain, 1), tmp_path)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**31
    plain = header.tobuf(tarfile.USTAR_FORMAT) + bytes(2**25)
    with pytest.raises(BadArchive, match="unpacks to more than"):
        unpacked(gzip.compress(plain), tmp_path)


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_FILES", 10)
    for kind in ("zip", "tgz"):
        with pytest.raises(BadArchive, match="10 files"):
            unpacked(PACKERS[kind]({f"{i}": b"" for i in range(20)}), tmp_path)


def test_encrypted_zips_are_no_crash(tmp_path):
    data = bytearray(zip_with("a.txt", b"secret"))
    for signature in (b"PK\3\4", b"PK\1\2"):
        data[data.index(signature) + (6 if signature == b"PK\3\4" else 8)] |= 1
    with pytest.raises(BadArchive, match="encrypted"):
        unpacked(bytes(data), tmp_path)


# ---------------------------------------------------------------------- the disk


def test_a_zip_that_does_not_fit_is_said_before_unpacking(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000)
    )
    with pytest.raises(OSError, match="unpacking archive needs about") as caught:
        unpacked(make_zip(FILES), tmp_path)
    assert caught.value.errno == errno.ENOSPC and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_full_disk_is_not_blamed_on_the_archive(kind, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    data = PACKERS[kind](FILES)
    monkeypatch.setattr(tarfile, "copyfileobj", full)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(data, tmp_path)


def test_names_that_contradict_each_other(tmp_path):
    with pytest.raises(OSError, match="cannot write .*choose another place"):
        unpacked(make_tar({"a": b"file", "a/b": b"below it"}, folders=False), tmp_path)
