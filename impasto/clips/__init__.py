"""Moving pictures: clips to a stream of frames with their times, and frames to files with the clip's sound.

A clip is a video file, an animated GIF, WebP or PNG, or a folder of numbered images. Importing this room does not import
PyAV. Only video files need it, which comes with the extra `video`.
"""

from impasto.clips.clip import Clip, is_clip, open_clip
from impasto.clips.container import check_extra
from impasto.clips.encode import encode
from impasto.clips.formats import FRAME_NAME, Format, format_of
from impasto.clips.gif import write_gif
from impasto.clips.join import join, settings_of
from impasto.clips.window import Frame, Window

__all__ = [
    "FRAME_NAME",
    "Clip",
    "Format",
    "Frame",
    "Window",
    "check_extra",
    "encode",
    "format_of",
    "is_clip",
    "join",
    "open_clip",
    "settings_of",
    "write_gif",
]
