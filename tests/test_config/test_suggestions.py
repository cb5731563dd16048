"""Words that errors suggest, and texts that they repeat."""

import pytest

from bnexp.config import shorten, suggestion


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("activaton", "; did you mean 'activation'?"),
        ("ACTIVATION", "; did you mean 'activation'?"),
        ("steps", "; did you mean 'steps'?"),
        ("gamma", "; did you mean 'model.gamma'?"),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_the_nearest_known_word_is_suggested_if_one_is_near(word, told):
    """Case does not matter, nor a missing section; a word that is like none gives nothing."""
    assert suggestion(word, ["activation", "steps", "model.gamma"]) == told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        ("a" * 60, "a" * 60),
        ("a" * 61, "a" * 57 + "..."),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("é\ud800", r"\xe9\ud800"),
    ],
)
def test_a_text_in_an_error_is_short_and_printable(text, shown):
    """It can neither break the line nor give orders to the terminal."""
    assert shorten(text) == shown
    assert len(shorten(text)) <= 60
