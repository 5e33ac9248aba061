"""The daemon's own settings: which source wins, and what is refused."""

from pathlib import Path

import pytest

from cpcd.model.errors import Code, Failure
from cpcd.settings import Settings, load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a file of settings that sets four of them."""
    path = tmp_path / "cpcd.toml"
    path.write_text('spec = "/srv/spec"\nlisten = "127.0.0.1:1"\nlog_level = "debug"\nworktree = true\n')
    return path


def refusal(flags: dict[str, object], environment: dict[str, str], config: Path | None = None) -> str:
    """Return the words with which settings are refused."""
    with pytest.raises(Failure) as caught:
        load_settings(flags, environment, config=config)
    assert caught.value.code is Code.CONFIG
    return caught.value.what


def test_flags_win_over_environment_over_file_over_defaults(config: Path) -> None:
    """Each source sets what the ones above it leave open."""
    settings = load_settings(
        {"spec": "/flag", "listen": None}, {"CPCD_SPEC": "/env", "CPCD_LISTEN": "127.0.0.1:2"}, config=config
    )

    assert settings == Settings(spec=Path("/flag"), listen="127.0.0.1:2", log_level="debug", worktree=True)


def test_without_any_source_there_are_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file may be absent when nobody named it."""
    monkeypatch.setattr("cpcd.settings.CONFIG", tmp_path / "absent.toml")

    assert load_settings({}, {}) == Settings()


def test_the_environment_names_the_file(config: Path) -> None:
    """As a flag does."""
    assert load_settings({}, {"CPCD_CONFIG": str(config)}).spec == Path("/srv/spec")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    """Else a typing error would start a daemon with defaults."""
    assert refusal({}, {}, tmp_path / "absent.toml") == f"{tmp_path}/absent.toml does not exist"


def test_all_mistakes_are_told_with_their_source(tmp_path: Path) -> None:
    """File, environment and flags, in one sentence."""
    config = tmp_path / "cpcd.toml"
    config.write_text('statedir = "/x"\nlog_level = "loud"\n')

    assert refusal({"listen": "9469"}, {"CPCD_WORKTREE": "perhaps"}, config) == "; ".join(
        (
            f"{config}: statedir is no setting; did you mean state_dir?",
            f"{config}: log_level must be debug, info, warning or error, not 'loud'",
            "CPCD_WORKTREE must be true or false, not 'perhaps'",
            "--listen must be an address such as 127.0.0.1:9469, not '9469'",
        )
    )


def test_broken_toml_is_named_with_its_place(tmp_path: Path) -> None:
    """Tomllib knows the line; what to do is not what is done about a spec."""
    config = tmp_path / "cpcd.toml"
    config.write_text("spec = \n")
    with pytest.raises(Failure) as caught:
        load_settings({}, {}, config=config)

    assert caught.value.what == f"{config} is no TOML: Invalid value (at line 1, column 8)"
    assert caught.value.hint == "Mend cpcd's own settings where it says; nothing was started."


def test_a_misspelt_variable_is_refused_and_a_secret_is_left_alone() -> None:
    """Variables may be secrets that the spec refers to, so only near misses are mistakes."""
    assert refusal({}, {"CPCD_STATEDIR": "/x"}) == "CPCD_STATEDIR is no setting; did you mean state_dir?"
    assert load_settings({"spec": "/x"}, {"CPCD_PVE_TOKEN": "5eed"}).spec == Path("/x")


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("127.77.0.1:8006", "http://127.77.0.1:8006"),
        ("[::1]:9", "http://[::1]:9"),
        ("https://127.0.0.1:8006", "https://127.0.0.1:8006"),
        ("http://127.0.0.1:9/", "http://127.0.0.1:9"),
        ("", ""),
    ],
)
def test_a_lab_is_on_loopback(given: str, asked: str) -> None:
    """With or without a scheme, as the refusal of another address says it; what is asked is a URL to which a path fits."""
    assert asked == load_settings({"lab": given}, {}).lab


@pytest.mark.parametrize(
    "url", ["10.0.0.1:8006", "https://pve.home.arpa:8006", "localhost:8006", "127.0.0.1", "127.0.0.1.evil:80"]
)
def test_a_lab_elsewhere_is_refused(url: str) -> None:
    """A lab speeds up clocks and answers for machines: it must never be mistaken for the world."""
    assert "loopback" in refusal({"lab": url}, {}) or "address" in refusal({"lab": url}, {})


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("TRUE", True), ("no", False), ("0", False)])
def test_switches_of_the_environment(text: str, expected: bool) -> None:
    """Variables are text, so the usual words are read."""
    assert load_settings({}, {"CPCD_WORKTREE": text}).worktree is expected


@pytest.mark.parametrize("flags", [{"spec": ""}, {"spec": 3}, {"listen": "a:99999"}, {"log_format": "xml"}])
def test_wrong_values_are_refused(flags: dict[str, object]) -> None:
    """Of every kind of setting."""
    assert refusal(flags, {}).startswith("--")
