"""Our own settings of torch while we compute: programs that call us may have set a default device, autocast, inference mode and more.

Every public function enters `default_settings`, and iterators enter it for each step. Between steps and afterwards the caller's
settings are back.
"""

from __future__ import annotations

import atexit
import inspect
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

import torch

from impasto.errors import RunError

T = TypeVar("T")


class _Here(threading.local):
    """Whether this thread is inside `default_settings`."""

    inside = False


_here = _Here()
_unfinished: WeakSet[Generator[Any, None, None]] = WeakSet()
_process = 0  # the process that has computed with torch; a process forked from it cannot


@contextmanager
def default_settings() -> Iterator[None]:
    """Compute as torch does when a program starts, whatever the caller has set. Also a decorator.

    That is: gradients are recorded, tensors are made on the CPU in float32, and nothing is computed in another precision than that of
    its tensors. Inside `default_settings` it does nothing. Raises RunError in a process that was forked after torch was used.
    """
    if _here.inside:
        yield
        return
    check_process()
    with ExitStack() as stack:
        for setting in _resets():
            stack.enter_context(setting)
        stack.enter_context(set_to(_here, "inside", True))
        yield


def each_step(steps: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same generator, advanced, closed and thrown into inside `default_settings`."""
    advance: Callable[[], T] = partial(next, steps)
    _unfinished.add(steps)
    with ExitStack() as closing:
        closing.callback(_close, steps)
        while True:
            try:
                with default_settings():
                    found = advance()
            except StopIteration:
                return
            try:
                yield found
            except GeneratorExit:
                raise
            except BaseException as error:
                advance = partial(steps.throw, error)
            else:
                advance = partial(next, steps)
            del found  # of a large image every copy counts


def _close(steps: Generator[Any, None, None]) -> None:
    if inspect.getgeneratorstate(steps) != inspect.GEN_CLOSED:
        with default_settings():
            steps.close()


@atexit.register
def close_unfinished() -> None:
    """Close what a program that ends has not finished, while Python and torch still work. What closing saves is saved then."""
    for steps in list(_unfinished):
        with suppress(Exception):  # one of another thread may be running
            _close(steps)


def check_process() -> None:
    """Raise RunError in a process that was forked after torch was used.

    The threads that compute are not copied by a fork, and torch would wait for them forever.
    """
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise RunError(
            "impasto cannot be used in a process that was forked after impasto was used: start processes with 'spawn', "
            "as multiprocessing.get_context('spawn') does"
        )


def _resets() -> Iterator[AbstractContextManager[Any]]:
    """What undoes each setting of the caller, to be entered one after another."""
    if torch.is_inference_mode_enabled():
        yield torch.inference_mode(False)
    if not torch.is_grad_enabled():
        yield torch.enable_grad()
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")
    yield from (torch.autocast(kind, enabled=False) for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind))
    if torch.get_default_dtype() != torch.float32:
        yield _called(torch.set_default_dtype, torch.float32, torch.get_default_dtype())
    if torch.are_deterministic_algorithms_enabled():  # not every layer has one for CUDA
        yield _deterministic_algorithms_off()
    yield from _exact_products()


def _exact_products() -> Iterator[AbstractContextManager[None]]:
    """float32 products on the CPU as float32; `device.settings` has those on a GPU."""
    backends = [getattr(torch.backends.mkldnn, name, None) for name in ("matmul", "conv")]
    if all(hasattr(backend, "fp32_precision") for backend in backends):
        wrong = (backend for backend in backends if getattr(backend, "fp32_precision", "") in ("bf16", "tf32"))
        yield from (set_to(backend, "fp32_precision", "ieee") for backend in wrong)
    elif torch.get_float32_matmul_precision() != "highest":  # torch before 2.9
        yield _called(torch.set_float32_matmul_precision, "highest", torch.get_float32_matmul_precision())


@contextmanager
def _called(change: Callable[[Any], None], value: object, before: object) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(before)


@contextmanager
def _deterministic_algorithms_off() -> Iterator[None]:
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)


@contextmanager
def set_to(owner: Any, name: str, value: object) -> Iterator[None]:
    """An attribute with another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
