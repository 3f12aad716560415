"""Putting FFmpeg's errors into words."""

import av
import pytest

from aegis.ingest import capture


def test_no_error_quotes_the_address() -> None:
    for number in av.error.classes:
        with pytest.raises(av.FFmpegError) as caught:
            av.error.err_check(-number, "rtsp://user:secret@cam/live")
        said = capture.explain(caught.value)
        assert said
        assert "secret" not in said
