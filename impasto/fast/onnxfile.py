"""ONNX files of the instant painter: making one, running it with ONNX Runtime, and comparing it with torch.

This needs onnx and onnxscript, which the extra `impasto[onnx]` installs. They are loaded when a file is made.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from impasto import files, palette, pictures
from impasto.compute import settings
from impasto.errors import RunError, UsageError
from impasto.fast import recolor
from impasto.fast.export import LEVEL, Portable, painted
from impasto.fast.net import MULTIPLE
from impasto.fast.searched import Flow, first_flow

Shape: TypeAlias = list[int | str] | None

SUFFIX = ".onnx"
IMAGE: Shape = [1, 3, "height", "width"]
SIZE = "size"  # the only input of whole numbers
OPSET, IR_VERSION = 20, 10
PHOTO = Path(__file__).parent.parent / "assets" / "chelsea.jpg"  # that files are compared on
SIZES = (
    (64, 64),
    (65, 97),
    (128, 96),
    (150, 301),
    (333, 250),
)  # (height, width) in pixels at which a file is compared with torch
TOLERANCE = 1e-3  # largest difference between ONNX Runtime and torch, of values in 0..1
HALF_TOLERANCE = 0.02  # of float16: the runtimes round in different places
FOLDED = 512  # values: operations on larger constants are left to the runtime, which does them once, when it loads the file
MODULES = ("onnx", "onnxscript", "onnxruntime")
NOISY = "torch.onnx._internal.exporter._registration"  # warns that torchvision is missing, of which nothing is used


class Example(NamedTuple):
    """Arguments of a part of a painter, which of their sizes vary, and how many values it returns in a tuple, or None for a tensor."""

    inputs: tuple[Tensor, ...]
    sizes: tuple[Any, ...]
    results: int | None = None


class Session(Protocol):
    """An onnxruntime.InferenceSession."""

    def run(self, outputs: Any, inputs: dict[str, Any]) -> list[Any]:
        """The outputs for inputs by name."""


@dataclass(frozen=True)
class Distance:
    """How two images differ: the mean and the largest absolute difference of their values, which are in 0..1."""

    mean: float
    largest: float


def check_extra() -> None:
    """Raise UsageError unless everything from the extra is installed."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UsageError(f"exporting needs {name}", remedy="install it: pip install 'impasto[onnx]'") from error


@settings.default_settings()
def made(painter: Portable, properties: dict[str, str], code: Tensor | None = None) -> bytes:
    """The ONNX file of a painter. Raises UsageError if something from the extra is not installed.

    Inputs: `photo`, 1x3xHxW float32 in 0..1, RGB, and `style`, a code. Output: `image`, as `photo`. properties: metadata of the model.
    code: of the only style that the file paints in, which then is no input; a runtime folds it into the filters when it loads the file.
    """
    check_extra()
    parts = Parts(painter, _examples(painter))
    parts.share, parts.fade = parts.constant("share", painter.share), parts.constant("fade", painter.fade)
    inputs = {"photo": IMAGE}
    if code is None:
        inputs["style"] = [painter.code_length]
    else:
        parts.constant("style", code)
    outputs = {"image": (painted(parts, "photo", "style"), IMAGE)}
    data: bytes = parts.model(inputs, outputs, properties).SerializeToString()
    return data


class Parts:
    """The parts of a painter in ONNX. Calling a part with names of values adds its nodes to the graph, and returns names.

    Torch takes seconds for every thousand operations. So what happens several times is exported once. share, fade: names of values that
    `painted` hands to parts.
    """

    share: str
    fade: str

    def __init__(self, painter: nn.Module, examples: Mapping[str, Example]) -> None:
        graph = _exported(painter, examples)
        self.nodes, self.constants = list[Any](), list(graph.initializer)
        self._fixed = {"": ""} | {constant.name: constant.name for constant in self.constants}
        self._several = {part for part, example in examples.items() if example.results is not None}
        self._outputs: dict[str, list[str]] = {}
        for value in graph.output:
            self._outputs.setdefault(value.name.partition(".")[0], []).append(value.name)
        self._nodes = {part: _needed(graph.node, names) for part, names in self._outputs.items()}

    def constant(self, name: str, value: Tensor) -> str:
        """Add a constant. Returns its name."""
        self.constants.append(importlib.import_module("onnx.numpy_helper").from_array(value.numpy(), name))
        return name

    def resized(self, image: str, size: str) -> str:
        """Add `pictures.resize`, which torch exports for fixed sizes only. size: the name of two whole numbers, height and width."""
        helper = importlib.import_module("onnx.helper")
        cubic = {"mode": "cubic", "cubic_coeff_a": -0.5, "antialias": 1, "exclude_outside": 1, "axes": [2, 3]}
        zero, one = self.constant("zero", torch.tensor(0.0)), self.constant("one", torch.tensor(1.0))
        self.nodes.append(helper.make_node("Resize", [image, "", "", size], ["stretched"], **cubic))
        self.nodes.append(helper.make_node("Clip", ["stretched", zero, one], ["clipped"]))
        return "clipped"

    def model(
        self, inputs: Mapping[str, Shape], outputs: Mapping[str, tuple[str, Shape]], properties: Mapping[str, str]
    ) -> Any:
        """The model of the nodes that were added since the last one. outputs: the value and the shape of each.

        properties: metadata.
        """
        onnx, helper = (importlib.import_module(name) for name in ("onnx", "onnx.helper"))
        self.nodes += [helper.make_node("Identity", [value], [name]) for name, (value, _) in outputs.items()]
        nodes, self.nodes = self.nodes, []
        used = {name for node in nodes for name in node.input}
        constants = [constant for constant in self.constants if constant.name in used]  # one level has no use for some parts

        def values(shapes: Mapping[str, Shape]) -> list[Any]:
            types = {name: "INT64" if name == SIZE else "FLOAT" for name in shapes}
            return [
                helper.make_tensor_value_info(name, onnx.TensorProto.DataType.Value(types[name]), shapes[name])
                for name in shapes
            ]

        shapes = {name: shape for name, (_, shape) in outputs.items()}
        graph = helper.make_graph(nodes, "impasto", values(inputs), values(shapes), constants)
        opset = helper.make_operatorsetid("", OPSET)
        model = helper.make_model(graph, producer_name="impasto", opset_imports=[opset], ir_version=IR_VERSION)
        helper.set_model_props(model, properties)
        passes, ir = (importlib.import_module(name) for name in ("onnx_ir.passes.common", "onnx_ir"))
        model = ir.to_proto(passes.CommonSubexpressionEliminationPass()(ir.from_proto(model)).model)
        _rename(model.graph, {*inputs, *outputs})
        return model

    def __getattr__(self, part: str) -> Callable[..., Any]:
        def call(*inputs: str) -> Any:
            names = self._fixed | {f"{part}.{number}": name for number, name in enumerate(inputs)}
            prefix = f"{len(self.nodes)}."
            for node in self._nodes[part]:
                copy = type(node)()
                copy.CopyFrom(node)
                names |= {name: prefix + name for name in node.output if name}
                copy.input[:], copy.output[:] = [names[name] for name in node.input], [names[name] for name in node.output]
                self.nodes.append(copy)
            found = [names[name] for name in self._outputs[part]]
            return found if part in self._several else found[0]

        return call


def _needed(nodes: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Of nodes in the order of execution those that the values of these names depend on."""
    needed, found = set(names), list[Any]()
    for node in reversed(nodes):
        if needed & set(node.output):
            found.append(node)
            needed |= set(node.input)
    return found[::-1]


FREE: dict[int, Any] = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}  # sizes of an image that vary
WIDE: dict[int, Any] = {axis: MULTIPLE * torch.export.Dim(name) for axis, name in ((2, "rows"), (3, "columns"))}


def _examples(painter: Portable) -> dict[str, Example]:
    """For each part of a painter arguments of it. They serve for all sizes.

    Sizes that vary differ in the examples: torch takes equal ones for the same size.
    """
    flow, Q = first_flow([black(0)]), torch.zeros(len(palette.DIRECTIONS), palette.QUANTILES)
    return common_examples() | {
        "stepped": Example((Q, *flow), ({},) * (1 + len(flow))),
        "tables": Example((flow.colors.clone(),), ({},), 1),
        "split": Example((torch.zeros(painter.code_length),), ({},), 1 + painter.levels),
        "reduced": Example((black(0),), (FREE,), painter.levels + len(Flow._fields)),
        "paint": Example((*padded_images(), torch.zeros(LEVEL)), (WIDE, WIDE, {})),
    }


def common_examples() -> dict[str, Example]:
    """Those of parts that every painter has."""
    Q, table = torch.zeros(len(palette.DIRECTIONS), palette.QUANTILES), torch.zeros(3, recolor.GRID**3)
    share = torch.tensor(1.0)
    return {
        "colored": Example((black(1), table, share.clone()), (FREE, {}, {})),
        "start": Example((black(2), black(3), black(2)), (FREE, FREE, FREE)),
        "padded": Example((black(4),), (FREE,)),
        "cropped": Example((black(5), black(6), share.clone()), (FREE, FREE, {})),
        "finished": Example((black(7), Q.clone(), share.clone()), (FREE, {}, {})),
    }


def padded_images() -> list[Tensor]:
    """Two images of a size that levels may have."""
    return [torch.zeros(1, 3, 12 * MULTIPLE, 20 * MULTIPLE) for _ in range(2)]


def black(number: int) -> Tensor:
    """A black image, 1x3xHxW, of a size of its own for every number."""
    return torch.zeros(1, 3, 150 + number, 250 + number)


class _Apart(nn.Module):
    """Every part of a painter, each with arguments of its own."""

    def __init__(self, painter: nn.Module, examples: Mapping[str, Example]) -> None:
        super().__init__()
        self.painter, self.examples = painter, examples

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        left, found = iter(values), list[Tensor]()
        for part, example in self.examples.items():
            result = getattr(self.painter, part)(*itertools.islice(left, len(example.inputs)))
            found += [result] if example.results is None else result
        return tuple(found)


def _exported(painter: nn.Module, examples: Mapping[str, Example]) -> Any:
    """The graph of all parts of a painter, with small constants folded, and without what only its makers need.

    Inputs are called "part.0", "part.1", ... and outputs "part.out.0", ...
    """
    passes, folding = (importlib.import_module(name) for name in ("onnx_ir.passes.common", "onnxscript.optimizer"))
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            _Apart(painter, examples).eval(),
            tuple(value for example in examples.values() for value in example.inputs),
            dynamic_shapes=(tuple(size for example in examples.values() for size in example.sizes),),
            input_names=[f"{part}.{number}" for part, example in examples.items() for number in range(len(example.inputs))],
            output_names=[
                f"{part}.out.{number}" for part, example in examples.items() for number in range(example.results or 1)
            ],
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
        )
    model = program.model
    passes.ClearMetadataAndDocStringPass()(model)
    folding.fold_constants_ir(model, onnx_shape_inference=False, input_size_limit=FOLDED, output_size_limit=FOLDED)
    passes.RemoveUnusedNodesPass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.DeduplicateInitializersPass()(model)
    return program.model_proto.graph


def _rename(graph: Any, kept: set[str]) -> None:
    """Give inner values numbers for names: thousands of long names are a tenth of the file. kept: names that stay."""
    numbers: dict[str, str] = {}

    def short(name: str) -> str:
        return name if not name or name in kept else numbers.setdefault(name, str(len(numbers)))

    del graph.value_info[:]
    for tensor in graph.initializer:
        tensor.name, tensor.doc_string = short(tensor.name), ""
        del tensor.metadata_props[:]
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [short(name) for name in names]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about itself."""
    logger = logging.getLogger(NOISY)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"# The axis name: .* will not be used", UserWarning)
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


# ----------------------------------------------------------------------------------------------------------- checking


def opened(data: bytes) -> Session:
    """A session of ONNX Runtime on the CPU. Raises RunError if it does not take the file."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session: Session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has a class for each of its status codes, and no base class but this
        raise RunError(f"ONNX Runtime does not open the exported network: {files.one_line(str(error))}") from error
    return session


def run(session: Session, photo: Tensor, code: Tensor | None) -> Tensor:
    """What a file paints. photo: 1x3xHxW; code: of the style, or None for a file of one style. Returns as photo. Raises RunError."""
    inputs = {"photo": photo.numpy()} | ({} if code is None else {"style": code.numpy()})
    try:
        return torch.from_numpy(session.run(None, inputs)[0])
    except Exception as error:  # as above
        raise RunError(f"ONNX Runtime does not run the exported network: {files.one_line(str(error))}") from error


@settings.default_settings()
@torch.no_grad()
def verify(data: bytes, painter: Portable, code: Tensor, *, one_style: bool) -> float:
    """Run a file at SIZES and compare it with torch. Returns the largest difference; raises RunError if it is too large.

    painter, code: what the file was made from. one_style: whether the code is in the file.
    """
    session, most = opened(data), 0.0
    limit = TOLERANCE if painter.dtype == torch.float32 else HALF_TOLERANCE
    for height, width in SIZES:
        photo = sample((height, width))
        found = distance(run(session, photo, None if one_style else code), painter(photo, code)).largest
        if not found <= limit:  # NaN is too much as well
            raise RunError(
                f"the exported network is wrong: ONNX Runtime and torch differ by {found:.2g} at {width}x{height} pixels, "
                f"more than {limit:g}; nothing was written"
            )
        most = max(most, found)
    return most


@settings.default_settings()
@torch.no_grad()
def loss(painter: Portable, exact: Portable, code: Tensor, size: int) -> Distance:
    """How a painter's images differ from those in float32, at a longer side of `size` pixels. exact: the painter in float32.

    Both are computed by torch. ONNX Runtime on a CPU computes some of what is float16 in float32, and so it loses less.
    """
    photo = sample(None, size)
    return distance(painter(photo, code), exact(photo, code))


def distance(one: Tensor, other: Tensor) -> Distance:
    """How two images of one shape differ."""
    difference = (one - other).abs()
    return Distance(float(difference.mean()), float(difference.max()))


def sample(size: tuple[int, int] | None, longer: int = 0) -> Tensor:
    """The sample photograph, 1x3xHxW: squeezed to (height, width), or in its own proportions with a longer side of `longer`."""
    photo = pictures.load(PHOTO, max_pixels=1 << 24, role="photograph")
    return pictures.resize(photo.pixels, size or pictures.fit(photo.size, longer))
