"""Fixtures that are shared with the tests of evaluation."""

from tests.evaluation.conftest import drawn_frames  # noqa: F401
