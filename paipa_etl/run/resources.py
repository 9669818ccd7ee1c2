"""Resources: what steps share or need (clients, caches, settings), asked for by parameter.

A function asks by keyword-only parameter; the plan, or ``@needs`` at the function, says
what makes it and for whom: one for each worker, for each step, or for the run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from types import GeneratorType
from typing import Any, TypeVar

from paipa_etl.errors import PlanError, shown
from paipa_etl.threads import forks
from paipa_etl.threads.collector import CleanupStack

LOCK = "_lock"  # the ending of a parameter's name that asks for a resource's lock

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Resource:
    """What makes a resource, and whose it is: a ``"worker"``'s, a ``"step"``'s, the ``"run"``'s."""

    make: Any
    scope: str

    def __post_init__(self) -> None:
        enterable = hasattr(self.make, "__enter__") and self.scope != "worker"
        if not (callable(self.make) or enterable):
            raise PlanError(f"per_{self.scope} takes what makes a resource, not {shown(self.make)}")


def per_worker(make: Any) -> Resource:
    """One for each worker, made in its thread and released there when it ends.

    ``make`` is called without arguments. What it returns is the resource; a context
    manager (but not a lock) is entered, a generator is run up to its ``yield``, and both
    are left again at the end, after errors too.
    """
    return Resource(make, "worker")


def per_step(make: Any) -> Resource:
    """One for each step, shared by its workers: made by the first that asks, released at the end.

    Whoever asks for ``<name>_lock`` as well gets the lock that goes with it.
    """
    return Resource(make, "step")


def per_run(make: Any) -> Resource:
    """One for the whole run, shared by all steps that ask; otherwise like ``per_step``."""
    return Resource(make, "run")


def needs(**resources: Any) -> Callable[[F], F]:
    """Say at a function what makes the resources that it asks for; a pipeline's come first.

    >>> @needs(seen=per_step(set))
    ... def is_new(record, *, seen, seen_lock):
    ...     with seen_lock:
    ...         return record not in seen and not seen.add(record)
    """

    def carrying(function: F) -> F:
        unknown = [name for name in resources if name not in asked_for(function)]
        if unknown:
            raise PlanError(f"{shown(function)} has no keyword-only parameter {unknown[0]!r}")
        function.__needs__ = resources  # type: ignore[attr-defined]
        return function

    return carrying


def asked_for(function: Any) -> dict[str, bool]:
    """The keyword-only parameters of a callable, and whether each must be given.

    >>> def f(record, *, session, limit=3): ...
    >>> asked_for(f)
    {'session': True, 'limit': False}
    """
    given: Mapping[str, Any] = {}
    while isinstance(function, partial):
        given = {**function.keywords, **given}
        function = function.func
    function = getattr(function, "__wrapped__", function)
    if not isinstance(function, type) and not hasattr(function, "__code__"):
        call = getattr(function, "__call__", None)  # noqa: B004  (its parameters are what counts)
        function = getattr(function, "__func__", call)
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = getattr(function, "__kwdefaults__", None) or {}
    return {name: name not in defaults and name not in given for name in names}


def needs_of(function: Any) -> Mapping[str, Any]:
    """What ``@needs`` says at a callable."""
    while isinstance(function, partial):
        function = function.func
    found: Mapping[str, Any] = getattr(function, "__needs__", {})
    return found


def is_plain(function: Any) -> bool:
    """Whether a callable asks for nothing, and has nothing to set up."""
    return not asked_for(function) and not _has_set_up(function)


def _has_set_up(function: Any) -> bool:
    return callable(getattr(function, "setup", None)) or callable(
        getattr(function, "teardown", None)
    )


def check(functions: Iterable[Any], given: Mapping[str, Any]) -> None:
    """Refuse a plan in which a resource is missing, or one that nobody asks for."""
    unused = set(given)
    for function in functions:
        asked = asked_for(function)
        known = {**needs_of(function), **given}
        for name, required in asked.items():
            base = name.removesuffix(LOCK)
            unused -= {name, base}
            if required and name not in known and base not in known:
                raise PlanError(
                    f"{shown(getattr(function, '__name__', function))} asks for {name!r}, "
                    f"and resources= has only: {', '.join(sorted(known)) or 'nothing'}"
                )
    if unused:
        raise PlanError(f"no step asks for the resource {min(unused)!r}")


class Shared:
    """One resource of a step or of the run: made once, by the first who asks."""

    def __init__(self) -> None:
        self.lock = forks.lock()
        """Goes with the resource, for those who share it."""
        self._making = forks.lock()
        self._made: list[Any] = []

    def value(self, make: Callable[[], Any]) -> Any:
        """The resource; whoever else asks meanwhile waits."""
        with self._making:
            if not self._made:
                self._made.append(make())
            return self._made[0]


class Resources:
    """The resources of one run."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._lock = forks.lock()
        self._shared: dict[tuple[object, str], Shared] = {}
        self._stack = ExitStack()
        self._borrowed = False
        forks.own(self)

    def borrowed(self) -> Resources:
        """The same ones, for a part of a run whose end releases nothing."""
        borrowed = copy(self)
        borrowed._borrowed = True
        return borrowed

    @contextmanager
    def lent(self, function: Any, step: object) -> Generator[Any, None, None]:
        """The callable with what it asks for, for one worker of a step, in the worker's thread."""
        known = {**needs_of(function), **self._given}
        with CleanupStack() as stack, _left_alone_by_children(stack):
            if _has_set_up(function):
                self._of((step, ""), lambda: self._set_up(function))
            lent: dict[str, Any] = {}
            for name, required in asked_for(function).items():
                base = name.removesuffix(LOCK)
                if name in known:
                    lent[name] = self._one(name, known[name], step, stack)
                elif name != base and base in known:
                    scope = getattr(known[base], "scope", "run")
                    lent[name] = self._slot((step if scope == "step" else None, base)).lock
                elif required:
                    raise PlanError(f"{shown(function)} asks for {name!r}, which nobody provides")
            yield partial(function, **lent) if lent else function

    def _one(self, name: str, resource: Any, step: object, stack: ExitStack) -> Any:
        if not isinstance(resource, Resource):
            return resource
        if resource.scope == "worker":
            return made(resource.make, stack)
        key = (step if resource.scope == "step" else None, name)
        return self._of(key, lambda: made(resource.make, self._stack))

    def _of(self, key: tuple[object, str], make: Callable[[], Any]) -> Any:
        return self._slot(key).value(make)

    def _slot(self, key: tuple[object, str]) -> Shared:
        with self._lock:
            return self._shared.setdefault(key, Shared())

    def _set_up(self, function: Any) -> None:
        if callable(getattr(function, "setup", None)):
            function.setup()
        if callable(getattr(function, "teardown", None)):
            self._stack.callback(function.teardown)

    def disown(self) -> None:
        """In a forked child: the parent releases them."""
        forks.keep(self._stack.pop_all())

    def release(self) -> None:
        """Release what steps and the run share, last made first; raises what that raises."""
        if not self._borrowed:
            self._stack.close()


@contextmanager
def _left_alone_by_children(stack: ExitStack) -> Generator[None, None, None]:
    """Have a forked child release nothing of a stack that its parent made."""
    process = forks.generation
    try:
        yield
    finally:
        if forks.generation != process:
            forks.keep(stack.pop_all())


def made(make: Any, stack: ExitStack) -> Any:
    """A resource, with whatever ends it on a stack."""
    value = make() if callable(make) else make
    if isinstance(value, GeneratorType):
        for resource in value:
            stack.callback(_resume, value)
            return resource
        raise RuntimeError(f"the resource {value.__name__} yields nothing")
    # A lock is a context manager too, and to enter it would be to take it.
    if hasattr(value, "__enter__") and not hasattr(value, "acquire"):
        return stack.enter_context(value)
    return value


def _resume(generator: GeneratorType[Any, None, Any]) -> None:
    """Let a generator clean up behind its ``yield``, whatever ended the run."""
    try:
        next(generator)
    except StopIteration:
        return
    raise RuntimeError(f"the resource {generator.__name__} yields more than once")
