"""Durations, sizes, shares and addresses are read strictly and written back the same."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from cpcd.spec.quantities import AddressRange, Duration, Fingerprint, GiB, MiB, Range, Share, SpecPath
from cpcd.spec.references import matching, patterns

DURATION: TypeAdapter[float] = TypeAdapter(Duration)
MEMORY: TypeAdapter[int] = TypeAdapter(MiB)
DISK: TypeAdapter[int] = TypeAdapter(GiB)
SHARE: TypeAdapter[float] = TypeAdapter(Share)
RANGE: TypeAdapter[AddressRange] = TypeAdapter(Range)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("30s", 30),
        ("10m", 600),
        ("7d", 604_800),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("0s", 0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    """Units are written out; a bare number is ambiguous and refused elsewhere."""
    assert seconds == DURATION.validate_python(text)


@given(st.integers(0, 10**10).map(lambda milliseconds: milliseconds / 1000))
def test_durations_survive_being_printed(seconds: float) -> None:
    """To the millisecond."""
    assert seconds == DURATION.validate_python(DURATION.dump_python(seconds, mode="json"))


@pytest.mark.parametrize("text", ["5", "m", "5 m", "-5m", "5y", "1e3s", "", "\u0665m"])
def test_what_is_no_duration(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValidationError, match="must be a duration"):
        DURATION.validate_python(text)


@pytest.mark.parametrize(("text", "mib"), [(4096, 4096), ("4Gi", 4096), ("512Mi", 512), ("1TiB", 1_048_576)])
def test_memory_is_mib(text: object, mib: int) -> None:
    """Integers as in Proxmox, or sizes as in Kubernetes."""
    assert mib == MEMORY.validate_python(text)


def test_a_disk_is_whole_gib() -> None:
    """A size that would have to be rounded is refused."""
    assert DISK.validate_python("2Ti") == 2048
    with pytest.raises(ValidationError, match="whole number of GiB"):
        DISK.validate_python("1500Mi")


@pytest.mark.parametrize(("text", "share"), [("40%", 0.4), ("0%", 0.0), ("100%", 1.0)])
def test_shares_are_between_0_and_1(text: str, share: float) -> None:
    """Written as percentages, and printed so."""
    assert (share, text) == (SHARE.validate_python(text), SHARE.dump_python(share, mode="json"))


@pytest.mark.parametrize(
    ("text", "first", "last", "count"),
    [
        ("10.0.0.5-10.0.0.9", "10.0.0.5", "10.0.0.9", 5),
        ("10.0.0.5", "10.0.0.5", "10.0.0.5", 1),
        ("10.0.0.0/29", "10.0.0.1", "10.0.0.6", 6),
        ("10.0.0.5 - 10.0.0.6", "10.0.0.5", "10.0.0.6", 2),
    ],
)
def test_ranges_include_both_ends(text: str, first: str, last: str, count: int) -> None:
    """A network stands for its hosts."""
    found = RANGE.validate_python(text)

    assert (IPv4Address(first), IPv4Address(last), count, count) == (
        found.first,
        found.last,
        len(found),
        len(list(found)),
    )


def test_a_fingerprint_is_written_one_way() -> None:
    """With or without colons, in either case."""
    adapter = TypeAdapter(Fingerprint)

    assert adapter.validate_python("AB:" * 31 + "CD") == adapter.validate_python("ab" * 31 + "cd")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\\b"])
def test_references_stay_in_the_directory(path: str) -> None:
    """A spec cannot name files elsewhere on the machine."""
    with pytest.raises(ValidationError, match="leaves the spec's directory"):
        TypeAdapter(SpecPath).validate_python(path)


def test_patterns_stay_in_one_directory() -> None:
    """A star stands for names, not for directories or hidden files; the order is that of the names."""
    names = ["extras/b.yaml", "extras/a.yaml", "extras/sub/c.yaml", "a.yaml", "extras/.swp.yaml", "extras/a.yml"]

    assert matching("extras/*.yaml", names) == ("extras/a.yaml", "extras/b.yaml")


def test_patterns_are_found_in_files_with_other_mistakes() -> None:
    """So that the files are there once the mistake is mended; what leaves the directory is never looked for."""
    text = "spec: {addons: [{manifests: [{file: ./a.yaml}, {file: ../b}, {file: 3}, {file: /c}]}, 7], bad: [}"

    assert patterns({"c": text.encode()}) == ()
    assert patterns({"c": text.replace("bad: [", "bad: [").replace("[}", "[]}").encode()}) == ("a.yaml",)
