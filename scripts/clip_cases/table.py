"""The clips: what is nasty about each, and what impasto must make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clip_cases.make import (
    AAC,
    FRAMES,
    HEIGHT,
    LOSSLESS_10,
    RATE,
    TONE,
    WIDTH,
    Nasty,
    coded,
    ffmpeg,
    mirrored,
    narrowed,
    pattern,
    rgb,
    sounding,
    tone_mapped,
    turned,
)

_BT2020 = {"matrix": "bt2020", "bits": 10, "codec": LOSSLESS_10}
_DEEP = ("bt2020nc", "bt2020")


def _vfr(folder: Path, path: Path) -> None:
    sounding(
        path, "-vf", "settb=1/90000,setpts='(N+mod(N,3)*0.4+gt(N,9)*6)/24/TB'", "-vsync", "vfr", "-enc_time_base", "1:90000"
    )


def _iphone(folder: Path, path: Path) -> None:
    plain = folder / "iphone-upright.mov"
    vfr = ("-vf", "settb=1/600,setpts='(N+mod(N,2)*0.3)/24/TB'", "-vsync", "vfr", "-enc_time_base", "1:600")
    sounding(plain, *vfr, tags=(*_DEEP, "arib-std-b67"), **_BT2020)
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v", "rotate=90", "-timecode", "01:00:00:00", path)


def _late_video(folder: Path, path: Path) -> None:
    sounding(folder / "late.mp4")
    source = folder / "late.mp4"
    ffmpeg("-itsoffset", "0.25", "-i", source, "-i", source, "-map", "0:v", "-map", "1:a", "-c", "copy", path)


def _late_sound(folder: Path, path: Path) -> None:
    sounding(folder / "early.mp4")
    source = folder / "early.mp4"
    ffmpeg("-itsoffset", "0.2", "-i", source, "-i", source, "-map", "1:v", "-map", "0:a", "-c", "copy", path)


def _trimmed(folder: Path, path: Path) -> None:
    """Cut by an edit list: the first quarter second is in the file and must not be shown."""
    source = folder / "untrimmed.mp4"
    sounding(source, codec=("-c:v", "libx264", "-crf", "8", "-preset", "fast", "-bf", "2"))
    ffmpeg("-ss", "0.25", "-i", source, "-c", "copy", path)


def _several_tracks(folder: Path, path: Path) -> None:
    """The data is the first track; two tracks of sound follow the video."""
    source, note = folder / "one-track.mp4", folder / "note.bin"
    sounding(source)
    note.write_bytes(b"impasto " * 40)
    second = ("-f", "lavfi", "-i", f"sine=frequency=880:duration={FRAMES / RATE}")
    data = ("-f", "data", "-i", note)
    tracks = ("-map", "1:0", "-map", "0:v", "-map", "0:a", "-map", "2:a")
    ffmpeg("-i", source, *data, *second, *tracks, "-c:v", "copy", "-c:d", "copy", *AAC, "-f", "mpegts", path)


def _cover_first(folder: Path, path: Path) -> None:
    cover, source = folder / "cover.png", folder / "uncovered.mp4"
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-i", "-", cover, data=rgb(1 - pattern(0)))
    sounding(source)
    ffmpeg("-i", cover, "-i", source, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic", path)


def _size_changes(folder: Path, path: Path) -> None:
    parts = []
    for number, size in enumerate(((HEIGHT, WIDTH), (HEIGHT // 2, WIDTH // 2))):
        part = folder / f"part{number}.h264"
        coded(part, "-bf", "0", size=size, frames=9)
        parts.append(part.read_bytes())
    joined = folder / "joined.h264"
    joined.write_bytes(b"".join(parts))
    ffmpeg("-r", str(RATE), "-i", joined, "-c", "copy", "-f", "mpegts", path)


def _cut_off(folder: Path, path: Path) -> None:
    whole = folder / "whole.mp4"
    sounding(whole, "-movflags", "faststart", "-g", "4")
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])


def _cut_off_mkv(folder: Path, path: Path) -> None:
    whole = folder / "whole.mkv"
    sounding(whole)
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])


def _no_frames(folder: Path, path: Path) -> None:
    source = folder / "some.mp4"
    sounding(source)
    ffmpeg("-i", source, "-c", "copy", "-frames:v", "0", "-map", "0:v", path)


def _sound_only(folder: Path, path: Path) -> None:
    ffmpeg(*TONE, *AAC, path)


def _text(folder: Path, path: Path) -> None:
    path.write_text("This is a letter, not a film.\n" * 20, encoding="utf-8")


def _playlist(folder: Path, path: Path) -> None:
    sounding(folder / "secret.mp4")
    path.write_text(
        f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{folder / 'secret.mp4'}\n#EXT-X-ENDLIST\n"
    )


def _list_of_files(folder: Path, path: Path) -> None:
    sounding(folder / "secret.mp4")
    path.write_text(f"ffconcat version 1.0\nfile '{folder / 'secret.mp4'}'\n")


def _encrypted(folder: Path, path: Path) -> None:
    source, key = folder / "open.mp4", "00112233445566778899aabbccddeeff"
    sounding(source)
    words = ("-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key)
    ffmpeg("-i", source, "-c", "copy", *words, path)


def _unknown_codec(folder: Path, path: Path) -> None:
    sounding(path)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))


def _huge(folder: Path, path: Path) -> None:
    """Its head says that it is 16000 pixels wide and 16000 high."""
    coded(path, "-pix_fmt", "yuv420p", frames=2, codec=("-c:v", "rawvideo"), tags=None)
    data = bytearray(path.read_bytes())
    place = data.index(b"strf") + 8 + 4  # behind the size of the BITMAPINFOHEADER
    data[place : place + 8] = (16000).to_bytes(4, "little") * 2
    path.write_bytes(data)


def _rgb(*out: str) -> object:
    def make(folder: Path, path: Path) -> None:
        data = b"".join(rgb(pattern(number)) for number in range(FRAMES))
        size = ("-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE))
        ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", *size, "-i", "-", *out, path, data=data)

    return make


def _transparent(folder: Path, path: Path) -> None:
    """Half transparent everywhere."""
    data = b"".join(
        np.concatenate((np.rint(pattern(k) * 255), np.full((HEIGHT, WIDTH, 1), 128)), axis=2).astype(np.uint8).tobytes()
        for k in range(FRAMES)
    )
    ffmpeg(
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgba",
        "-s",
        f"{WIDTH}x{HEIGHT}",
        "-r",
        str(RATE),
        "-i",
        "-",
        "-c:v",
        "qtrle",
        path,
        data=data,
    )


CLIPS: tuple[Nasty, ...] = (
    Nasty("plain.mp4", "nothing: BT.709, limited range, AAC", lambda folder, path: sounding(path)),
    Nasty("turned-90.mp4", "turned a quarter by the display matrix", turned("90"), lambda i: np.rot90(i, 1), (WIDTH, HEIGHT)),
    Nasty("turned-180.mp4", "upside down by the display matrix", turned("180"), lambda i: np.rot90(i, 2)),
    Nasty("turned-270.mp4", "turned three quarters", turned("270"), lambda i: np.rot90(i, -1), (WIDTH, HEIGHT)),
    Nasty(
        "mirrored.mp4",
        "mirrored by the display matrix, which an angle does not show",
        mirrored((-1, 0, 0, 1)),
        lambda i: i[:, ::-1],
    ),
    Nasty("mirrored-turned.mp4", "mirrored and turned", mirrored((0, 1, 1, 0)), lambda i: i.swapaxes(0, 1), (WIDTH, HEIGHT)),
    Nasty("variable-rate.mp4", "frames of different lengths", _vfr, note="has a variable frame rate, which is kept"),
    Nasty(
        "full-601.mp4",
        "full range, BT.601",
        lambda folder, path: sounding(path, matrix="bt601", full=True, tags=("smpte170m", "bt709", "bt709")),
    ),
    Nasty("full-709.mp4", "full range, BT.709 (PyAV 2149)", lambda folder, path: sounding(path, full=True)),
    Nasty(
        "untagged-small.mp4",
        "no color tags and few lines: BT.601",
        lambda folder, path: sounding(path, matrix="bt601", tags=None),
    ),
    Nasty(
        "untagged-large.mp4",
        "no color tags and 720 lines: BT.709",
        lambda folder, path: coded(path, tags=None, size=(720, 64), frames=2),
        size=(720, 64),
        frames=2,
    ),
    Nasty(
        "bt2020.mp4",
        "10 bits with the primaries of BT.2020",
        lambda folder, path: coded(path, tags=(*_DEEP, "bt2020-10"), **_BT2020),
        expected=narrowed(9),
        note="has the colors of BT.2020, which are converted to BT.709",
    ),
    Nasty(
        "display-p3.mp4",
        "the primaries of Display P3",
        lambda folder, path: coded(path, tags=("bt709", "smpte432", "bt709")),
        expected=narrowed(12),
        note="has the colors of Display P3",
    ),
    Nasty(
        "hlg.mov",
        "HLG, 10 bits",
        lambda folder, path: coded(path, tags=(*_DEEP, "arib-std-b67"), **_BT2020),
        expected=tone_mapped(18),
        note="is HLG video and is mapped to the standard range",
    ),
    Nasty(
        "pq.mp4",
        "PQ (HDR10), 10 bits",
        lambda folder, path: coded(path, tags=(*_DEEP, "smpte2084"), **_BT2020),
        expected=tone_mapped(16),
        note="is PQ video and is mapped to the standard range",
    ),
    Nasty(
        "telephone.mov",
        "HLG, 10 bits, turned, variable rate, a timecode track: all at once",
        _iphone,
        lambda i: np.rot90(i, 1),
        (WIDTH, HEIGHT),
        expected=tone_mapped(18),
        note="is HLG video",
    ),
    Nasty(
        "odd.mp4",
        "odd sides",
        lambda folder, path: coded(path, size=(63, 95), chroma=(1, 1)),
        size=(63, 95),
    ),
    Nasty("444.mp4", "4:4:4, which browsers do not play", lambda folder, path: sounding(path, chroma=(1, 1))),
    Nasty(
        "422-10.mp4",
        "4:2:2, 10 bits",
        lambda folder, path: coded(path, chroma=(2, 1), bits=10),
    ),
    Nasty("silent.mp4", "no sound", lambda folder, path: coded(path)),
    Nasty(
        "tracks.ts",
        "a data track first, two tracks of sound",
        _several_tracks,
        note="has 2 tracks of sound, of which",
    ),
    Nasty("cover.mp4", "a cover picture as the first video track", _cover_first),
    Nasty("late-video.mp4", "the video starts a quarter second after the sound", _late_video),
    Nasty("late-sound.mp4", "the sound starts a fifth of a second after the video", _late_sound),
    Nasty("trimmed.mp4", "an edit list hides the beginning", _trimmed, frames=12, colors=None),
    Nasty(
        "prores.mov",
        "ProRes with PCM sound",
        lambda folder, path: sounding(
            path,
            "-c:a",
            "pcm_s16le",
            matrix="bt601",
            tags=None,
            bits=10,
            chroma=(2, 1),
            codec=("-c:v", "prores_ks", "-profile:v", "3"),
        ),
    ),
    Nasty(
        "mjpeg.mov",
        "Motion JPEG: full range, BT.601",
        lambda folder, path: sounding(path, matrix="bt601", full=True, tags=None, codec=("-c:v", "mjpeg", "-q:v", "1")),
        colors=1.5,
    ),
    Nasty(
        "vp9.webm",
        "VP9 with Opus, times in milliseconds",
        lambda folder, path: sounding(
            path, "-c:a", "libopus", codec=("-c:v", "libvpx-vp9", "-lossless", "1", "-cpu-used", "8", "-deadline", "realtime")
        ),
    ),
    Nasty(
        "wide-pixels.mp4",
        "pixels that are not square (4:3)",
        lambda folder, path: sounding(path, "-vf", "setsar=4/3"),
        size=(HEIGHT, 128),
        colors=None,
        note="has pixels that are not square and is shown as 128x64, not 96x64",
    ),
    Nasty("size-changes.ts", "the size changes midway", _size_changes, colors=None, note="changes its size at"),
    Nasty("cut-off.mp4", "the file ends early", _cut_off, frames=0, note="is cut off: its pictures end at"),
    Nasty("cut-off.mkv", "the file ends early", _cut_off_mkv, frames=0, note="is cut off: its pictures end at"),
    Nasty(
        "interlaced.mpg",
        "interlaced MPEG-2",
        lambda folder, path: sounding(
            path, "-c:a", "mp2", "-flags", "+ilme+ildct", "-top", "1", "-q:v", "2", codec=("-c:v", "mpeg2video")
        ),
        colors=2.5,
        note="is interlaced",
    ),
    Nasty(
        "old.avi",
        "AVI: MPEG-4 with B-frames, MP3, no times",
        lambda folder, path: sounding(
            path, "-c:a", "libmp3lame", matrix="bt601", tags=None, codec=("-c:v", "mpeg4", "-q:v", "2", "-bf", "2")
        ),
        colors=2.5,
    ),
    Nasty("late-start.ts", "MPEG-TS: the clock starts at 1.4 s", lambda folder, path: sounding(path)),
    Nasty("rgb.mkv", "RGB, not luma and chroma", _rgb("-c:v", "ffv1", "-pix_fmt", "bgr0"), colors=0.3),
    Nasty("rgb.mp4", "H.264 in RGB", _rgb("-c:v", "libx264rgb", "-qp", "0"), colors=0.3),
    Nasty(
        "transparent.mov",
        "half transparent",
        _transparent,
        expected=lambda i: i * (128 / 255) + 1 - 128 / 255,
        note="is shown on white where it is transparent",
    ),
    Nasty("tiny.mp4", "16x16 pixels", lambda folder, path: coded(path, size=(16, 16)), size=(16, 16), colors=1.5),
    Nasty("one.mp4", "a single frame", lambda folder, path: coded(path, frames=1), frames=1),
    Nasty("none.mp4", "no frames at all", _no_frames, error="holds no video"),
    Nasty("sound-only.mp4", "only sound", _sound_only, error="has only sound and no video"),
    Nasty("text.mp4", "a text file", _text, error="is not a video, or its format is not supported"),
    Nasty(
        "playlist.mp4", "a playlist that names another file", _playlist, error="is not a video, or its format is not supported"
    ),
    Nasty("list.mp4", "a list of other files", _list_of_files, error="is not a video, or its format is not supported"),
    Nasty("encrypted.mp4", "encrypted", _encrypted, error="is encrypted"),
    Nasty("unknown.mp4", "a codec that nobody knows", _unknown_codec, error="is in a video format that is not supported"),
    Nasty(
        "huge.avi",
        "16000x16000 pixels",
        _huge,
        error="256,000,000 pixels, more than the limit of 200,000,000; raise max_pixels",
    ),
)
BY_NAME = {clip.name: clip for clip in CLIPS}


def make_all(folder: Path) -> None:
    """Write every clip into a folder. Parts of them go into a folder beside it."""
    work = folder.with_name(f"{folder.name}-parts")
    for place in (folder, work):
        place.mkdir(parents=True, exist_ok=True)
    for clip in CLIPS:
        clip.make(work, folder / clip.name)
