"""Downloading one file: resumed, verified, from mirrors, by hand; every way in which it goes wrong."""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from fetch_server import md5, serving, sha256

from cbirkit.datasets.fetch import disk, download
from cbirkit.datasets.fetch.download import Download, DownloadFailed, get

BODY = np.random.default_rng(0).integers(0, 256, 300_000, dtype=np.uint8).tobytes()
MD5 = md5(BODY)

server = pytest.fixture(serving)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(download, "_SECONDS", 20.0)  # the machine may be busy
    monkeypatch.setattr(download, "_WAIT", 0.0)


def item(*urls, checksum=MD5, megabytes=0.3, name="a.bin"):
    return Download(name, urls, megabytes, checksum)


def fetch(thing, folder, **options):
    return get(thing, folder, progress=False, **options)


def only(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------------- all is well


@pytest.mark.parametrize("checksum", [md5(BODY), sha256(BODY), None])
def test_a_file_is_downloaded_once(server, tmp_path, checksum):
    thing = item(server.add("a.bin", BODY), checksum=checksum)
    path = fetch(thing, tmp_path / "deep" / "folder")
    assert path == tmp_path / "deep" / "folder" / "a.bin" and path.read_bytes() == BODY
    assert fetch(thing, path.parent) == path and len(server.requests) == 1
    assert only(path.parent) == ["a.bin"] + (["checksums.json"] if checksum is None else [])


def test_without_a_length(server, tmp_path):
    thing = item(server.add("a.bin", BODY, length=False))
    assert fetch(thing, tmp_path).read_bytes() == BODY


def test_progress_is_shown_and_can_be_turned_off(server, tmp_path, capsys):
    thing = item(server.add("a.bin", BODY))
    get(thing, tmp_path / "1")
    assert "a.bin" in capsys.readouterr().err
    fetch(thing, tmp_path / "2")
    assert capsys.readouterr().err == ""


def test_a_redirect_is_followed(server, tmp_path, monkeypatch):
    real = server.add("real.bin", BODY)
    handler = server.http.RequestHandlerClass
    send = handler.do_GET

    def do_get(self):
        if self.path != "/old.bin":
            return send(self)
        self.send_response(302)
        self.send_header("Location", real)
        self.send_header("Content-Length", "0")
        self.end_headers()

    monkeypatch.setattr(handler, "do_GET", do_get)
    assert fetch(item(f"{server.url}/old.bin"), tmp_path).read_bytes() == BODY


# ---------------------------------------------------------------------- interrupted


@pytest.mark.parametrize("etag", ['"v1"', None])
def test_a_broken_connection_is_resumed(server, tmp_path, etag):
    url = server.add("a.bin", BODY, etag=etag, break_after=[100_000, 50_000])
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert only(tmp_path) == ["a.bin"]


def test_a_killed_download_is_resumed_by_the_next_process(server, tmp_path):
    url = server.add("a.bin", BODY, etag='"v1"', break_after=[100_000, *[0] * 9])
    with pytest.raises(DownloadFailed):
        fetch(item(url), tmp_path)
    assert (tmp_path / "a.bin.part").stat().st_size == 100_000
    server.requests.clear()
    server.add("a.bin", BODY, etag='"v1"')
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert server.requests == [("/a.bin", "bytes=100000-")]


@pytest.mark.parametrize("checksum", [md5(BODY), None])
def test_a_server_that_ignores_ranges_sends_all_again(server, tmp_path, checksum):
    url = server.add("a.bin", BODY, ranges=False, etag='"v1"', break_after=[100_000])
    assert fetch(item(url, checksum=checksum), tmp_path).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == [None, "bytes=100000-"]


def test_without_checksum_or_validator_nothing_is_continued(server, tmp_path):
    url = server.add("a.bin", BODY, break_after=[100_000])
    assert fetch(item(url, checksum=None), tmp_path).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == [None, None]


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one(server, tmp_path):
    url = server.add("a.bin", bytes(300_000), etag='"old"', break_after=[100_000, *[0] * 9])
    with pytest.raises(DownloadFailed):
        fetch(item(url, checksum=None), tmp_path)
    server.add("a.bin", BODY, etag='"new"')
    assert fetch(item(url, checksum=None), tmp_path).read_bytes() == BODY


def test_a_wrong_part_left_behind_is_found_out_and_the_file_fetched_afresh(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(bytes(1000))  # the checksum is known, so it is continued
    url = server.add("a.bin", BODY)
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]


def test_a_part_that_is_complete_is_only_verified(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY)
    url = server.add("a.bin", BODY)
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert server.requests == [("/a.bin", f"bytes={len(BODY)}-")]


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY + b"more")
    assert fetch(item(server.add("a.bin", BODY)), tmp_path).read_bytes() == BODY


def test_a_server_that_sends_another_part_than_was_asked_for(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(BODY[:1000])
    url = server.add("a.bin", BODY, wrong_start=True)
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]


def test_a_busy_server_is_asked_again(server, tmp_path):
    url = server.add("a.bin", BODY, statuses=[503, 429, 500])
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert len(server.requests) == 4


def test_retries_end(server, tmp_path):
    url = server.add("a.bin", BODY, statuses=[503] * 100)
    with pytest.raises(DownloadFailed, match="503"):
        fetch(item(url), tmp_path)
    assert len(server.requests) == download._IDLE_ATTEMPTS


def test_a_server_that_always_hangs_up_after_a_little_still_ends(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_ATTEMPTS", 20)
    url = server.add("a.bin", BODY, break_after=[10] * 1000)
    with pytest.raises(DownloadFailed, match="no connection"):
        fetch(item(url), tmp_path)
    assert len(server.requests) == 20


def test_a_server_that_falls_silent_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_SECONDS", 0.2)
    monkeypatch.setattr(download, "_IDLE_ATTEMPTS", 2)
    url = server.add("a.bin", BODY, break_after=[1000, *[0] * 9], stall=1.5)
    with pytest.raises(DownloadFailed, match="ReadTimeout"):
        fetch(item(url), tmp_path)
    assert 2 <= len(server.requests) <= 8  # on a busy machine some may bring nothing


# ---------------------------------------------------------------------- the wrong thing


def test_corrupt_bytes_are_refused_and_the_next_mirror_is_tried(server, tmp_path):
    corrupt = bytearray(BODY)
    corrupt[1234] ^= 1
    bad, good = server.add("bad.bin", bytes(corrupt)), server.add("good.bin", BODY)
    assert fetch(item(bad, good), tmp_path).read_bytes() == BODY
    assert [path for path, _ in server.requests] == ["/bad.bin", "/good.bin"]


def test_the_message_says_what_to_do_by_hand(server, tmp_path):
    gone, bad = f"{server.url}/gone.bin", server.add("bad.bin", BODY[:-1])
    with pytest.raises(DownloadFailed) as caught:
        fetch(item(gone, bad), tmp_path)
    text = str(caught.value)
    assert "\n" not in text and "404" in text
    for said in (
        gone,
        bad,
        hashed(BODY),
        hashed(BODY[:-1]),
        repr(str(tmp_path)),
        "'a.bin'",
        "by hand",
    ):
        assert said in text
    assert only(tmp_path) == []


def hashed(data):
    return md5(data).partition(":")[2]


def test_a_file_put_there_by_hand_is_verified_and_used(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(BODY)
    gone = f"{server.url}/gone.bin"
    assert fetch(item(gone), tmp_path, online=False).read_bytes() == BODY
    assert fetch(item(gone, checksum=None), tmp_path).read_bytes() == BODY
    assert server.requests == []
    assert download.recorded(tmp_path)["a.bin"]["from"] == "by hand"


def test_a_wrong_file_put_there_by_hand_is_named_and_kept(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(BODY[:1000])
    with pytest.raises(DownloadFailed, match="md5 .* delete it"):
        fetch(item(server.add("a.bin", BODY)), tmp_path)
    assert (tmp_path / "a.bin").stat().st_size == 1000


@pytest.mark.parametrize("empty", [True, False])
def test_an_empty_file_is_refused(server, tmp_path, empty):
    thing = item(server.add("a.bin", b"", length=empty), checksum=None)
    with pytest.raises(DownloadFailed, match="empty"):
        fetch(thing, tmp_path)
    (tmp_path / "a.bin").touch()
    with pytest.raises(DownloadFailed, match="0 bytes"):
        fetch(thing, tmp_path)


def test_a_web_page_in_place_of_the_file_is_refused(server, tmp_path):
    url = server.add("a.bin", b"<html>log in first</html>", kind="text/html; charset=utf-8")
    with pytest.raises(DownloadFailed, match="web page"):
        fetch(item(url, checksum=None), tmp_path)
    assert only(tmp_path) == []


@pytest.mark.parametrize("length", [True, False])
def test_a_sender_that_does_not_stop_is_cut_off(server, tmp_path, length, monkeypatch):
    monkeypatch.setattr(Download, "most_bytes", 200_000)
    url = server.add("a.bin", BODY, length=length)
    with pytest.raises(DownloadFailed, match=r"expected"):
        fetch(item(url), tmp_path)
    parts = [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    assert all(path.stat().st_size <= 200_000 + 2**16 for path in parts)


def test_sizes_are_believed_up_to_the_double(tmp_path):
    assert item("http://x/", megabytes=100).most_bytes == pytest.approx(2e8, rel=0.1)


def test_only_web_addresses(tmp_path):
    (tmp_path / "secret").write_text("x")
    for url in ((tmp_path / "secret").as_uri(), "ftp://127.0.0.1/a.bin"):
        with pytest.raises(DownloadFailed, match="No connection adapters"):
            fetch(item(url), tmp_path / "to")


def test_a_host_that_is_gone(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def nowhere(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(DownloadFailed, match="one to the internet"):
        fetch(item(f"http://127.0.0.1:{port}/a.bin"), tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(DownloadFailed, match="one to the internet"):
        fetch(item("http://nowhere.invalid/a.bin"), tmp_path)


def test_offline_never_connects(server, tmp_path):
    with pytest.raises(DownloadFailed, match="download=False.*by hand"):
        fetch(item(server.add("a.bin", BODY)), tmp_path, online=False)
    assert server.requests == [] and only(tmp_path) == []


# ---------------------------------------------------------------------- trust on first use


def test_the_first_file_is_recorded_and_another_one_later_refused(server, tmp_path):
    thing = item(server.add("a.bin", BODY), checksum=None)
    path = fetch(thing, tmp_path)
    entry = json.loads((tmp_path / "checksums.json").read_text())["a.bin"]
    assert entry["sha256"] == sha256(BODY).partition(":")[2] and entry["bytes"] == len(BODY)
    assert entry["from"] == thing.urls[0] and re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"])
    path.unlink()
    server.add("a.bin", BODY[::-1])
    with pytest.raises(DownloadFailed, match="recorded when it first arrived .*delete that entry"):
        fetch(thing, tmp_path)
    assert only(tmp_path) == ["checksums.json"]
    download.forget(tmp_path, "a.bin")
    assert fetch(thing, tmp_path).read_bytes() == BODY[::-1]


def test_a_damaged_record_counts_as_none(tmp_path):
    for text in ("{[", "[]", '{"a": 1}', '{"a": {"sha256": "x"}}'):
        (tmp_path / "checksums.json").write_text(text)
        assert download.recorded(tmp_path) == {}


# ---------------------------------------------------------------------- disk


def test_too_little_disk_is_said_before_anything_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6)
    )
    with pytest.raises(
        OSError, match=r"a.bin needs about 500 MB .* 1 MB free; make room.*CBIRKIT_DATA"
    ) as caught:
        fetch(item(server.add("a.bin", BODY), megabytes=500), tmp_path)
    assert caught.value.errno == errno.ENOSPC and server.requests == []


def test_a_disk_that_fills_up_on_the_way_is_no_fault_of_the_server(server, tmp_path, monkeypatch):
    class Full(download.tqdm):
        def update(self, n=1):
            if n:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "tqdm", Full)
    with pytest.raises(OSError, match="No space left"):
        fetch(item(server.add("a.bin", BODY)), tmp_path)
    assert len(server.requests) == 1


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_that_may_not_be_written(server, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        fetch(item(server.add("a.bin", BODY)), tmp_path)


def test_where_data_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CBIRKIT_DATA", str(tmp_path / "set"))
    assert disk.data_root() == tmp_path / "set" and disk.data_root(tmp_path) == tmp_path
    monkeypatch.delenv("CBIRKIT_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    assert disk.data_root() == tmp_path / "home" / ".cache" / "cbirkit"
    assert disk.free_bytes(tmp_path / "not" / "there") > 0


def test_a_part_from_one_mirror_is_continued_from_another_if_a_checksum_will_tell(server, tmp_path):
    broken = server.add("broken.bin", BODY, break_after=[100_000, *[0] * 9])
    good = server.add("good.bin", BODY)
    assert fetch(item(broken, good), tmp_path).read_bytes() == BODY
    assert server.requests[-1] == ("/good.bin", "bytes=100000-")


KILLED = """
import sys
from cbirkit.datasets.fetch.download import Download, get
get(Download("a.bin", (sys.argv[1],), 0.3, sys.argv[2]), sys.argv[3], progress=False)
"""


def test_a_process_killed_at_any_moment_loses_little(server, tmp_path):
    url, patient = (
        server.add("a.bin", BODY, break_after=[100_000], stall=60),
        time.monotonic() + 120,
    )
    command = [sys.executable, "-c", KILLED, url, MD5, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT)
    part = tmp_path / "a.bin.part"
    while not (part.exists() and part.stat().st_size) and time.monotonic() < patient:
        time.sleep(0.05)
    process.kill()
    process.wait()
    size = part.stat().st_size
    assert size
    server.add("a.bin", BODY)
    assert fetch(item(url), tmp_path).read_bytes() == BODY
    assert server.requests[-1] == ("/a.bin", f"bytes={size}-")


def test_one_process_at_a_time(tmp_path):
    with (
        disk.only_one(tmp_path),
        pytest.raises(OSError, match="another process is downloading"),
        disk.only_one(tmp_path),
    ):
        pass
    with disk.only_one(tmp_path):
        pass


def test_by_hand_says_where_no_checksum_is_known(tmp_path):
    assert "none is published" in download.by_hand(item("http://x/a", checksum=None), tmp_path)
