"""What the bench makes of its samples of commits."""

from tests.bench.process import answered


def test_no_commit_is_left_out_of_the_figure_with_the_budget() -> None:
    """However busy the machine was while it was slow; those on a quiet one are told beside, without a budget."""
    every, quiet = answered([(0.1, 90.0)] * 30 + [(0.9, 400.0)] * 20)

    assert (400.0, 150, False) == (every.value, every.budget, every.ok)
    assert every.note.startswith("50 commits, 90 to 400, median 90; ")
    assert "in 30 of them 20% or less" in every.note
    assert (90.0, None) == (quiet.value, quiet.budget)


def test_a_few_quiet_commits_are_no_figure() -> None:
    """A 95th percentile of nineteen is the largest, and chance."""
    assert 1 == len(list(answered([(0.1, 90.0)] * 19 + [(0.9, 100.0)] * 31)))
