"""ONNX files of the instant painter: making one, running it with ONNX Runtime, and comparing it with torch.

This needs onnx, onnxscript and onnxruntime, which the extra `impasto[onnx]` installs. They are loaded when a file is made.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from impasto import files, palette, pictures
from impasto.compute import settings
from impasto.errors import RunError, UsageError
from impasto.fast import recolor
from impasto.fast.export import LEVEL, Portable, painted
from impasto.fast.net import MULTIPLE
from impasto.fast.searched import Flow, first_flow

SUFFIX = ".onnx"
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
SEVERAL = ("split", "reduced", "tables")  # parts of a painter that return tuples
MODULES = ("onnx", "onnxscript", "onnxruntime")
NOISY = "torch.onnx._internal.exporter._registration"  # warns that torchvision is missing, of which nothing is used


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
    onnx, helper = (importlib.import_module(name) for name in ("onnx", "onnx.helper"))
    parts = _Parts(painter)
    parts.add("Identity", painted(parts, "photo", "style"), "image")
    image = [1, 3, "height", "width"]
    inputs = [helper.make_tensor_value_info("photo", onnx.TensorProto.FLOAT, image)]
    if code is None:
        inputs.append(helper.make_tensor_value_info("style", onnx.TensorProto.FLOAT, [painter.code_length]))
    else:
        parts.constants.append(importlib.import_module("onnx.numpy_helper").from_array(code.numpy(), "style"))
    output = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, image)
    graph = helper.make_graph(parts.nodes, "impasto", inputs, [output], parts.used())
    opset = helper.make_operatorsetid("", OPSET)
    model = helper.make_model(graph, producer_name="impasto", opset_imports=[opset], ir_version=IR_VERSION)
    helper.set_model_props(model, properties)
    passes, ir = (importlib.import_module(name) for name in ("onnx_ir.passes.common", "onnx_ir"))
    model = ir.to_proto(passes.CommonSubexpressionEliminationPass()(ir.from_proto(model)).model)
    _rename(model.graph)
    data: bytes = model.SerializeToString()
    return data


class _Parts:
    """The parts of a painter in ONNX. Calling a part with names of values adds its nodes to the graph, and returns names.

    Torch takes seconds for every thousand operations. So what happens at several levels is exported once.
    """

    def __init__(self, painter: Portable) -> None:
        graph = _exported(painter)
        self.nodes, self.constants = list[Any](), list(graph.initializer)
        self._fixed = {"": ""} | {constant.name: constant.name for constant in self.constants}
        self._outputs: dict[str, list[str]] = {}
        for value in graph.output:
            self._outputs.setdefault(value.name.partition(".")[0], []).append(value.name)
        self._nodes = {part: _needed(graph.node, names) for part, names in self._outputs.items()}

    def add(self, kind: str, source: str, target: str) -> None:
        """Add a node with one input and one output."""
        self.nodes.append(importlib.import_module("onnx.helper").make_node(kind, [source], [target]))

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
            return found if part in SEVERAL else found[0]

        return call

    def used(self) -> list[Any]:
        """The constants that nodes use: a network of one level has no use for some parts."""
        names = {name for node in self.nodes for name in node.input}
        return [constant for constant in self.constants if constant.name in names]


def _needed(nodes: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Of nodes in the order of execution those that the values of these names depend on."""
    needed, found = set(names), list[Any]()
    for node in reversed(nodes):
        if needed & set(node.output):
            found.append(node)
            needed |= set(node.input)
    return found[::-1]


def _examples(painter: Portable) -> dict[str, tuple[tuple[Tensor, ...], tuple[Any, ...]]]:
    """For each part of a painter arguments of it, and which of their sizes vary. They serve for all sizes.

    Sizes that vary differ in the examples: torch takes equal ones for the same size.
    """
    free: dict[int, Any] = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    wide: dict[int, Any] = {axis: MULTIPLE * torch.export.Dim(name) for axis, name in ((2, "rows"), (3, "columns"))}
    Q, table = torch.zeros(len(palette.DIRECTIONS), palette.QUANTILES), torch.zeros(3, recolor.GRID**3)
    flow = first_flow([_black(0)])
    padded = [torch.zeros(1, 3, 12 * MULTIPLE, 20 * MULTIPLE) for _ in range(2)]
    return {
        "split": ((torch.zeros(painter.code_length),), ({},)),
        "reduced": ((_black(0),), (free,)),
        "stepped": ((Q, *flow), ({},) * (1 + len(flow))),
        "tables": ((flow.colors.clone(),), ({},)),
        "colored": ((_black(1), table), (free, {})),
        "start": ((_black(2), _black(3), _black(2)), (free, free, free)),
        "padded": ((_black(4),), (free,)),
        "paint": ((*padded, torch.zeros(LEVEL)), (wide, wide, {})),
        "cropped": ((_black(5), _black(6)), (free, free)),
        "finished": ((_black(7), Q.clone()), (free, {})),
    }


def _black(number: int) -> Tensor:
    """A black image, 1x3xHxW, of a size of its own for every number."""
    return torch.zeros(1, 3, 150 + number, 250 + number)


class _Apart(nn.Module):
    """Every part of a painter, each with arguments of its own."""

    def __init__(self, painter: Portable, counts: dict[str, int]) -> None:
        super().__init__()
        self.painter, self.counts = painter, counts

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        left, found = iter(values), list[Tensor]()
        for part, count in self.counts.items():
            result = getattr(self.painter, part)(*itertools.islice(left, count))
            found += result if part in SEVERAL else [result]
        return tuple(found)


def _exported(painter: Portable) -> Any:
    """The graph of all parts of a painter, with small constants folded, and without what only its makers need.

    Inputs are called "part.0", "part.1", ... and outputs "part.out.0", ...
    """
    passes, folding = (importlib.import_module(name) for name in ("onnx_ir.passes.common", "onnxscript.optimizer"))
    examples = _examples(painter)
    results = {"split": 1 + painter.levels, "reduced": painter.levels + len(Flow._fields)}
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            _Apart(painter, {part: len(example) for part, (example, _) in examples.items()}).eval(),
            tuple(value for example, _ in examples.values() for value in example),
            dynamic_shapes=(tuple(size for _, sizes in examples.values() for size in sizes),),
            input_names=[f"{part}.{number}" for part, (example, _) in examples.items() for number in range(len(example))],
            output_names=[f"{part}.out.{number}" for part in examples for number in range(results.get(part, 1))],
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


def _rename(graph: Any) -> None:
    """Give inner values numbers for names: thousands of long names are a tenth of the file."""
    kept = {"", "photo", "style", "image"}
    numbers: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else numbers.setdefault(name, str(len(numbers)))

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
