"""Fetching, against a server on the loopback interface that misbehaves on demand."""

import hashlib
import http.server
import os
import socket
import threading
import time

import pytest
from data_trees import make_archive, make_tree

from tinysmooth import data
from tinysmooth.data import ArchiveError, DataWarning, FetchError, choose_source, fetch, load
from tinysmooth.data.download import ARCHIVES, DEFAULT_URL, probe


class Server:
    """Serves one archive; ``faults`` says what goes wrong with the next requests, in turn."""

    def __init__(self, content):
        self.content = content
        self.faults = []
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.answer(head=True)

            def do_GET(self):
                self.answer(head=False)

            def answer(self, head):
                outer.asked.append(self.command)
                fault = outer.faults.pop(0) if outer.faults and not head else None
                if isinstance(fault, int):
                    self.send_error(fault)
                    return
                body = outer.content
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if head:
                    return
                if fault == "truncated":
                    body = body[: len(body) // 2]
                if fault == "flipped":
                    body = body[:500] + bytes([body[500] ^ 1]) + body[501:]
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/imagenette2-160.tgz"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return make_archive(make_tree(folder, train=2, val=1), folder / "imagenette2-160.tgz")


@pytest.fixture
def server(archive):
    server = Server(archive.read_bytes())
    yield server
    server.close()


@pytest.fixture
def checksum(archive):
    return hashlib.sha256(archive.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Only the loopback interface, no waiting, and nothing of the user's."""
    monkeypatch.delenv("TINYSMOOTH_OFFLINE", raising=False)
    monkeypatch.delenv("TINYSMOOTH_DATA", raising=False)
    monkeypatch.setenv("TINYSMOOTH_CACHE", "off")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_download_is_verified_unpacked_and_found(tmp_path, server, checksum):
    folder = fetch(tmp_path / "root", url=server.url, sha256=checksum)
    assert folder == tmp_path / "root" / "imagenette2-160"
    assert data.find_imagenette(tmp_path / "root") == folder
    assert names(tmp_path / "root") == ["imagenette2-160"]  # the archive itself is not kept


def test_what_is_there_is_not_fetched_again(tmp_path, server, checksum):
    fetch(tmp_path, url=server.url, sha256=checksum)
    fetch(tmp_path, url=server.url, sha256=checksum)
    assert server.asked == ["GET"]


@pytest.mark.parametrize("fault", ["truncated", "flipped", 500, 503, 429])
def test_a_passing_fault_is_tried_again(tmp_path, server, checksum, fault):
    server.faults = [fault, fault]
    assert fetch(tmp_path, url=server.url, sha256=checksum).is_dir()
    assert server.asked == ["GET"] * 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("truncated", "broke off in the middle, tried 3 times"),
        ("flipped", "another checksum than SHA-256 [0-9a-f]{64}"),
        (500, "the server answered 500 Internal Server Error, tried 3 times"),
    ],
)
def test_a_lasting_fault_is_named_and_leaves_nothing(tmp_path, server, checksum, fault, words):
    server.faults = [fault] * 9
    with pytest.raises(FetchError, match=words):
        fetch(tmp_path / "root", url=server.url, sha256=checksum, retries=2)
    assert names(tmp_path / "root") == []
    assert server.asked == ["GET"] * 3


def test_a_missing_file_is_not_asked_for_again(tmp_path, server, checksum):
    server.faults = [404] * 9
    with pytest.raises(FetchError, match="the server answered 404 Not Found"):
        fetch(tmp_path / "root", url=server.url, sha256=checksum)
    assert server.asked == ["GET"]
    assert names(tmp_path / "root") == []


def test_a_wrong_checksum_keeps_nothing(tmp_path, server):
    with pytest.raises(FetchError, match="another checksum .*nothing of it was kept"):
        fetch(tmp_path / "root", url=server.url, sha256="0" * 64, retries=0)
    assert names(tmp_path / "root") == []


def test_an_address_without_a_checksum_is_used_with_a_warning(tmp_path, server):
    with pytest.warns(DataWarning, match="without a checksum.*--sha256"):
        assert fetch(tmp_path, url=server.url).is_dir()


def test_without_a_checksum_damage_is_still_noticed(tmp_path, server):
    server.faults = ["flipped"] * 9
    with pytest.warns(DataWarning), pytest.raises(ArchiveError, match="damaged or truncated"):
        fetch(tmp_path / "root", url=server.url)
    assert names(tmp_path / "root") == []


def test_no_connection_is_said_in_a_line(tmp_path):
    url = f"http://127.0.0.1:{closed_port()}/imagenette2-160.tgz"
    with pytest.raises(FetchError, match="no connection, tried 2 times; .*--archive"):
        fetch(tmp_path, url=url, sha256="0" * 64, retries=1)


def test_offline_forbids_downloads_at_once(tmp_path, server, checksum, monkeypatch):
    monkeypatch.setenv("TINYSMOOTH_OFFLINE", "1")
    with pytest.raises(FetchError, match="TINYSMOOTH_OFFLINE is set"):
        fetch(tmp_path, url=server.url, sha256=checksum)
    with pytest.raises(FetchError, match="TINYSMOOTH_OFFLINE"):
        probe(server.url)
    assert server.asked == []


def test_an_archive_on_disk_needs_no_network(tmp_path, archive, checksum, monkeypatch):
    monkeypatch.setenv("TINYSMOOTH_OFFLINE", "1")
    assert fetch(tmp_path, archive=archive, sha256=checksum) == tmp_path / "imagenette2-160"
    assert archive.exists()


def test_an_archive_on_disk_with_another_checksum_is_refused(tmp_path, archive):
    with pytest.raises(FetchError, match="has SHA-256 .*; expected 1111"):
        fetch(tmp_path / "root", archive=archive, sha256="1" * 64)
    assert names(tmp_path / "root") == []


def test_a_download_goes_where_it_will_be_looked_for(tmp_path, archive, monkeypatch):
    user = tmp_path / "user" / "tinysmooth"
    assert fetch(archive=archive) == user / "imagenette2-160"
    assert data.find_imagenette() == user / "imagenette2-160"
    (tmp_path / "work" / "data").mkdir()
    assert fetch(archive=archive).resolve() == tmp_path / "work" / "data" / "imagenette2-160"
    assert data.find_imagenette().resolve() == tmp_path / "work" / "data" / "imagenette2-160"
    monkeypatch.setenv("TINYSMOOTH_DATA", str(tmp_path / "named"))
    assert fetch(archive=archive) == tmp_path / "named" / "imagenette2-160"
    assert data.find_imagenette() == tmp_path / "named" / "imagenette2-160"


def test_the_official_archives_have_checksums():
    assert DEFAULT_URL in ARCHIVES
    assert all(len(digits) == 64 for digits in ARCHIVES.values())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"url": "ftp://host/file.tgz"}, ValueError, "url is 'ftp://host/file.tgz'; .*https://"),
        ({"url": "/tmp/file.tgz"}, ValueError, "For a file on disk use archive"),
        ({"url": 3}, TypeError, "url is a int"),
        ({"url": "http://[x"}, ValueError, "url is 'http://\\[x'; Invalid IPv6"),
        ({"sha256": "abc"}, ValueError, "sha256 is 'abc'; expected 64 hexadecimal digits"),
        ({"sha256": 1}, TypeError, "sha256 is a int"),
        ({"retries": -1}, ValueError, "retries is -1"),
        ({"root": 5}, TypeError, "root is a int; expected a path"),
        ({"archive": "/nowhere/x.tgz"}, FileNotFoundError, "archive /nowhere/x.tgz is not a file"),
        ({"archive": "x.tgz", "url": "http://x/y"}, ValueError, "url and archive are both given"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(options, error, words):
    with pytest.raises(error, match=f"fetch: .*{words}|fetch: {words}"):
        fetch(**options)


def test_downloads_of_killed_processes_go_after_a_day(tmp_path, server, checksum):
    for name, age in ((".fetching-old", 2 * 86_400), (".fetching-new", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    fetch(tmp_path, url=server.url, sha256=checksum)
    assert not (tmp_path / ".fetching-old").exists() and (tmp_path / ".fetching-new").exists()


# ---- auto, imagenette, drawn


def use_server(monkeypatch, url, sha256):
    monkeypatch.setattr("tinysmooth.data.download.DEFAULT_URL", url)
    monkeypatch.setitem(ARCHIVES, url, sha256)


def test_auto_takes_what_is_on_disk(tmp_path, archive, monkeypatch, capsys):
    monkeypatch.setenv("TINYSMOOTH_OFFLINE", "1")
    folder = fetch(tmp_path / "root", archive=archive)
    source = choose_source("auto", tmp_path / "root")
    assert (source.kind, source.root, source.reason) == ("imagenette", folder, "")
    assert capsys.readouterr().err == ""
    images = load(source, size=8)
    assert not images.is_stand_in and images.images.shape == (20, 3, 8, 8)


def test_auto_downloads_what_is_not(tmp_path, server, checksum, monkeypatch):
    use_server(monkeypatch, server.url, checksum)
    source = choose_source("auto", tmp_path / "root")
    assert source.kind == "imagenette" and source.root == tmp_path / "root" / "imagenette2-160"
    assert server.asked == ["HEAD", "GET"]


def test_auto_without_a_connection_draws_and_says_so_in_one_line(tmp_path, monkeypatch, capsys):
    use_server(monkeypatch, f"http://127.0.0.1:{closed_port()}/x.tgz", "0" * 64)
    source = choose_source("auto", tmp_path)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Using the drawn stand-in" in said and "no connection" in said
    pictures = load(source, per_class=1, size=8)
    assert pictures.is_stand_in and "cannot be downloaded" in pictures.description


def test_auto_after_a_failed_download_draws(tmp_path, server, checksum, monkeypatch, capsys):
    use_server(monkeypatch, server.url, checksum)
    server.faults = [404] * 9
    assert choose_source("auto", tmp_path).kind == "drawn"
    assert "404" in capsys.readouterr().err


def test_imagenette_never_falls_back(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYSMOOTH_OFFLINE", "1")
    with pytest.raises(FetchError, match="expected train/ and val/.*TINYSMOOTH_OFFLINE is set"):
        choose_source("imagenette", tmp_path)


def test_drawn_asks_nobody(server):
    assert choose_source("drawn").kind == "drawn"
    assert load("drawn", per_class=1, size=8).is_stand_in
    assert server.asked == []


def test_drawn_with_no_number_is_a_full_set(monkeypatch):
    monkeypatch.setattr("tinysmooth.data.sources._ALL_DRAWN", {"train": 3, "val": 2})
    assert [load("drawn", size=8, split=split).num_images for split in ("train", "val")] == [30, 20]


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind is 'cifar'; expected one of 'auto', 'imagenette'"):
        load("cifar")
