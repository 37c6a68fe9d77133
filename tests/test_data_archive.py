"""Unpacking: whatever an archive holds, nothing is written outside and nothing half-done stays."""

import gzip
import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from data_trees import make_archive, make_tree

from tinysmooth.data import ArchiveError
from tinysmooth.data.archive import Limits, unpack
from tinysmooth.data.layout import check_layout, find_imagenette


def member(name, content=b"x", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def write(path, *members):
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def everything_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*"))


@pytest.fixture
def whole(tmp_path):
    return make_archive(make_tree(tmp_path / "made"), tmp_path / "imagenette2-160.tgz")


def anything(folder):
    return folder


def test_a_whole_archive_arrives_file_by_file(tmp_path, whole):
    target = unpack(whole, tmp_path / "out", check=check_layout)
    assert target == tmp_path / "out" / "imagenette2-160"
    made = tmp_path / "made" / "imagenette2-160"
    assert everything_below(target) == everything_below(made)
    for name in everything_below(made):
        if (made / name).is_file():
            assert (target / name).read_bytes() == (made / name).read_bytes()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["imagenette2-160"]


def test_an_archive_without_a_top_folder_gets_a_name_that_is_found(tmp_path):
    made = make_tree(tmp_path / "made")
    path = tmp_path / "pictures.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(made, ".")
    folder = unpack(path, tmp_path / "out", check=check_layout)
    assert folder == tmp_path / "out" / "imagenette-pictures"
    assert find_imagenette(tmp_path / "out") == folder


EVIL = {
    "a path upwards": member("../evil.txt"),
    "a path upwards, hidden": member("train/../../evil.txt"),
    "an absolute path": member("/evil.txt"),
    "a drive": member("C:/evil.txt"),
    "backslashes": member("..\\evil.txt"),
    "a symbolic link": member("link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a link to a folder": member("dir", b"", type=tarfile.SYMTYPE, linkname=".."),
    "a hard link": member("link", b"", type=tarfile.LNKTYPE, linkname="../../secret"),
    "a device": member("null", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a block device": member("sda", b"", type=tarfile.BLKTYPE, devmajor=8),
    "a pipe": member("pipe", b"", type=tarfile.FIFOTYPE),
    "a very long path": member("a" * 300),
    "a very deep path": member("/".join("abcdefghijkl")),
}


@pytest.mark.parametrize("kind", EVIL)
def test_an_evil_member_is_refused_and_nothing_stays(tmp_path, kind):
    path = write(tmp_path / "evil.tgz", member("good.txt"), EVIL[kind])
    with pytest.raises(ArchiveError, match="evil.tgz has the member .*Nothing was unpacked"):
        unpack(path, tmp_path / "deep" / "out", check=anything)
    assert everything_below(tmp_path) == ["evil.tgz"]  # not even the folders


def test_a_file_that_is_also_a_folder_is_refused(tmp_path):
    path = write(tmp_path / "odd.tgz", member("a"), member("a/b"))
    with pytest.raises(ArchiveError, match="contradicts itself"):
        unpack(path, tmp_path / "out", check=anything)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError, match="contradicts itself"):
        unpack(path, tmp_path / "out", check=anything)
    assert everything_below(tmp_path / "out") == []  # a folder that was there stays


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    zeros = member("zeros", bytes(4 << 20))
    path = write(tmp_path / "bomb.tgz", zeros)
    assert path.stat().st_size < 10_000
    limits = Limits(ratio=20, allowance=1 << 20)
    with pytest.raises(ArchiveError, match="unpacks to more than"):
        unpack(path, tmp_path / "out", check=anything, limits=limits)
    assert everything_below(tmp_path / "out") == []


def test_a_member_that_claims_terabytes_is_refused_at_its_header(tmp_path):
    info = tarfile.TarInfo("huge")
    info.size = 1 << 40
    path = tmp_path / "huge.tgz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240)))
    with pytest.raises(ArchiveError, match="1,099,511,627,776 bytes"):
        unpack(path, tmp_path / "out", check=anything)


def test_too_many_members_are_refused(tmp_path):
    path = write(tmp_path / "many.tgz", *(member(f"f{k}") for k in range(6)))
    with pytest.raises(ArchiveError, match="more than 5 members"):
        unpack(path, tmp_path / "out", check=anything, limits=Limits(members=5))
    assert everything_below(tmp_path / "out") == []


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 0.999])
def test_a_truncated_archive_is_named_and_leaves_nothing(tmp_path, whole, share):
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArchiveError, match="imagenette2-160.tgz is damaged or truncated"):
        unpack(whole, tmp_path / "out", check=check_layout)
    assert everything_below(tmp_path / "out") == []


@pytest.mark.parametrize("place", [0.02, 0.2, 0.35, 0.5, 0.65, 0.8, 0.98])
def test_a_flipped_bit_is_noticed_and_leaves_nothing(tmp_path, whole, place):
    content = bytearray(whole.read_bytes())
    content[int(len(content) * place)] ^= 16
    whole.write_bytes(content)
    with pytest.raises(ArchiveError, match="imagenette2-160.tgz"):
        unpack(whole, tmp_path / "out", check=check_layout)
    assert everything_below(tmp_path / "out") == []


def test_an_unreadable_header_in_the_middle_is_not_taken_for_the_end(tmp_path):
    """tarfile stops in silence there, and gzip's checksum is right."""
    with_header = io.BytesIO()
    with tarfile.open(fileobj=with_header, mode="w") as tar:
        for name in "abc":
            info, content = member(name)
            tar.addfile(info, io.BytesIO(content))
    content = bytearray(with_header.getvalue())
    content[1024 : 1024 + 100] = b"?" * 100  # the name of the second member, not its checksum
    path = tmp_path / "odd.tgz"
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(ArchiveError, match="odd.tgz is damaged"):
        unpack(path, tmp_path / "out", check=anything)


def test_what_is_no_archive_is_named(tmp_path):
    path = tmp_path / "page.tgz"
    path.write_text("<html>not found</html>")
    with pytest.raises(ArchiveError, match="page.tgz is damaged or truncated"):
        unpack(path, tmp_path / "out", check=anything)


def test_an_archive_of_something_else_says_what_was_expected(tmp_path):
    path = write(tmp_path / "other.tgz", member("readme.txt"))
    with pytest.raises(ArchiveError, match="holds something else.*expected train/ and val/"):
        unpack(path, tmp_path / "out", check=check_layout)
    assert everything_below(tmp_path / "out") == []


def test_a_missing_archive_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.tgz is not a file"):
        unpack(tmp_path / "gone.tgz", tmp_path, check=anything)


def test_an_interrupt_leaves_nothing(tmp_path, whole):
    def interrupted(folder):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(whole, tmp_path / "out", check=interrupted)
    assert everything_below(tmp_path / "out") == []


def test_what_another_process_put_there_first_is_used(tmp_path, whole):
    first = unpack(whole, tmp_path / "out", check=check_layout)
    (first / "mark").touch()
    assert unpack(whole, tmp_path / "out", check=check_layout) == first
    assert (first / "mark").exists()


def test_something_else_in_the_place_is_not_overwritten(tmp_path, whole):
    precious = tmp_path / "out" / "imagenette2-160" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    with pytest.raises(FileExistsError, match="Move it away"):
        unpack(whole, tmp_path / "out", check=check_layout)
    assert precious.read_text() == "precious"
    assert len(everything_below(tmp_path / "out")) == 2


def test_leftovers_of_killed_processes_go_after_a_day(tmp_path, whole):
    out = tmp_path / "out"
    for name, age in ((".unpacking-old", 2 * 86_400), (".unpacking-new", 60)):
        (out / name).mkdir(parents=True)
        os.utime(out / name, (time.time() - age,) * 2)
    unpack(whole, out, check=check_layout)
    assert sorted(path.name for path in out.iterdir()) == [".unpacking-new", "imagenette2-160"]


def test_a_header_of_nonsense_is_damage(tmp_path):
    info, content = member("imagenette2-160/x")
    info.pax_headers = {"GNU.sparse.map": "x"}
    path = tmp_path / "bad.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(ArchiveError, match=r"bad\.tgz is damaged"):
        unpack(path, tmp_path / "out", check=anything)
    assert everything_below(tmp_path / "out") == []
