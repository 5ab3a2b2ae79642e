"""From a number to a case: always the same one, for the same seed and the same packages."""

from __future__ import annotations

import random

from fuzz_cases import PIXELS, SCHEDULE, Case, Random, images, lines, mutate, others, records, values

SUFFIXES = {"png": ".png", "apng": ".png", "jpeg": ".jpg", "mpo": ".jpg", "tiff": ".tif", "j2k": ".j2k", "pam": ".ppm"}
ROLES = ("photograph", "style image", "mask", "content mask", "start image", "painting in night.style")
HOW = ("bytes", "bytes", "path", "path", "file")
SMALL = ("--size", "32", "--iterations", "1", "--device", "cpu")


def kind_of(number: int) -> str:
    """The kind of a case."""
    return SCHEDULE[number % len(SCHEDULE)]


def case(number: int, seed: int = 0) -> Case:
    """The case of a number."""
    rng = random.Random(f"{seed}/{number}")
    return BUILDERS[kind_of(number)](rng)


def _image(rng: Random) -> tuple[str, bytes, str]:
    """A file name, a mutated image, and what it is in words."""
    seeds = images.made()
    name = rng.choice(list(seeds))
    data, what = mutate.mutated(seeds[name], rng, list(seeds.values()))
    first = name.split()[0]
    suffix = SUFFIXES.get(first, f".{first}")
    if rng.random() < 0.03:
        suffix = rng.choice((".png", ".jpg", ".tif", ".style", "", ".heic"))
    return f"image{suffix}", data, f"{name}: {what}"


def _images(rng: Random) -> Case:
    name, data, what = _image(rng)
    return Case("image", what, {name: data}, call=("image", name, rng.choice(HOW), rng.choice(ROLES)))


def _paint(rng: Random) -> Case:
    name, data, what = _image(rng)
    photo, painting, mask = others.PHOTO, others.PAINTING, others.MASK
    words = rng.choice(
        (
            (name, painting, "--keep-exif"),
            (name, "udnie", "-o", f"out{rng.choice(others.RECORDED)}", "--keep-exif"),
            (photo, name),
            (photo, painting, "--mask", f"{name}=keep"),
            (photo, painting, "--mask", f"{mask}={name}"),
            (photo, painting, "--content-mask", name, "--style-mask", mask),
            (photo, painting, "--content-mask", mask, "--style-mask", name),
            (photo, painting, "--init", f"./{name}"),
            ("-", painting, "-o", "out.png"),
            ("info", name),
            ("compare", photo, painting, name),
            ("compare", name, painting, photo),
            ("style", "make", name),
            ("sheet", name, "udnie"),
        )
    )
    if words[0] in ("compare", "style", "info"):
        small: tuple[str, ...] = ()
    else:
        small = SMALL[:2] if words[0] == "sheet" else (*SMALL, "--max-pixels", str(PIXELS))
    return Case("paint", what, {**others.basic(), name: data}, (*words, *small), stdin=data if words[0] == "-" else b"")


def _line(rng: Random) -> Case:
    return lines.made(rng)


def _style(rng: Random) -> Case:
    seeds = others.styles()
    data, what = mutate.mutated(rng.choice(seeds), rng, seeds)
    found = {**others.basic(), "night.style": data}
    kind = rng.random()
    if kind < 0.6:
        return Case("style", what, found, call=("style", "night.style"))
    if kind < 0.8:
        return Case("style", what, found, ("style", "show", "night.style"))
    more = rng.choice(((), ("--quality", "instant"), ("--encoder", "lite", "--pooling", "average"), ("--blend", "1")))
    iterations = () if more[:1] == ("--quality",) else SMALL[2:4]
    return Case("style", what, found, ("photo.png", "night.style", *SMALL[:2], *iterations, *SMALL[4:], *more))


def _record(rng: Random) -> Case:
    suffix = rng.choice(others.RECORDED)
    text, what = records.changed(others.settings(), rng)
    name, data = f"made{suffix}", others.recorded(text, suffix)
    if rng.random() < 0.2:
        data, what = mutate.mutated(data, rng, [data])
    words = rng.choice((("info", name), ("info", name, "--json"), ("again", name, *SMALL, "--max-pixels", str(PIXELS))))
    return Case("record", what, {**others.basic(), name: data}, words)


def _state(rng: Random) -> Case:
    seeds = others.states()
    data, what = mutate.mutated(rng.choice(seeds), rng, seeds)
    if rng.random() < 0.6 and data in seeds:
        header, rest = records.split(data)
        header, what = records.change_header(header, rng)
        data = records.sealed(records.joined(header, rest))
    out = {others.OUT: others.basic()[others.PHOTO]} if rng.random() < 0.2 else {}
    words = rng.choice(
        (("info", others.OUT), ("info", others.OUT, "--json"), ("resume", others.OUT), ("resume", others.OUT, "--overwrite"))
    )
    return Case("state", what, {**others.basic(), **out, others.STATE: data}, words)


def _weights(rng: Random) -> Case:
    seeds = others.weights()
    name = rng.choice(list(seeds))
    data, what = mutate.mutated(seeds[name], rng, list(seeds.values()))
    if rng.random() < 0.8:
        usual = "" if name.startswith("lite") else "vgg19"
        network = rng.choice((usual, usual, usual, "vgg16", "", "lite"))
        call = ("weights", name, network, rng.choice(("", "", "", "caffe", "torchvision")))
        return Case("weights", f"{name}: {what}", {name: data}, call=call)
    words = rng.choice(
        (("weights", "import", name), ("photo.png", "painting.png", "--encoder", "vgg19", "--weights", name, *SMALL))
    )
    return Case("weights", f"{name}: {what}", {**others.basic(), name: data}, words)


def _option(rng: Random) -> Case:
    kind = rng.choice(("Options", "Options", "Output", "Job"))
    if kind == "Job":
        job, what = records.change_value(others.job(), rng)
        return Case("option", what, call=("job", job))
    names = others.fields(kind)
    given = {
        rng.choice(names): rng.choice((rng.choice(records.VALUES), rng.choice(values.ODD)))
        for _ in range(rng.choice((1, 1, 2)))
    }
    return Case("option", f"{kind} {given!r}"[:300], call=("option", kind, given))


def _network(rng: Random) -> Case:
    data, what = mutate.mutated(others.network(), rng, [others.network()])
    return Case("network", what, {"net.safetensors": data}, call=("network", "net.safetensors"))


BUILDERS = {
    "image": _images,
    "paint": _paint,
    "line": _line,
    "option": _option,
    "style": _style,
    "record": _record,
    "state": _state,
    "weights": _weights,
    "network": _network,
}
