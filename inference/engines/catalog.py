"""Finds engines by name: built in, installed (entry points `penstock.engines`), or named in the settings."""

import dataclasses
import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from inference.engines.base import Engine, EngineFactory, LoadSpec
from inference.engines.batcher import AnyRows, any_rows
from inference.errors import BadSettings, InvalidField

GROUP = "penstock.engines"


def find(framework: str, plugins: str = "") -> EngineFactory:
    """The factory for a framework. Its module is imported here, its runtime only when it loads a model.

    The engines it makes take any number of rows, also where the model's batch axis is fixed.

    `plugins`: `name=package.module:Class`, separated by commas; these win over installed ones, and those over
    built-in ones. Raises InvalidField, with the known names, for a framework that nobody provides.
    """
    return cut(_find(framework, plugins))


def cut(factory: EngineFactory) -> EngineFactory:
    """The same engines, as ones that take any number of rows; what they report of a part is said of the whole."""

    def load(spec: LoadSpec) -> Engine:
        cuts: list[AnyRows] = []

        def report(fraction: float, message: str = "", *, row: int | None = None) -> None:
            fraction, row = cuts[0].whole(fraction, row) if cuts else (fraction, row)
            spec.report(fraction, message, row=row)

        engine = any_rows(factory(dataclasses.replace(spec, report=report)))
        if isinstance(engine, AnyRows):
            cuts.append(engine)
        return engine

    return load


def runs_code(framework: str, plugins: str = "") -> bool:
    """Whether the engine says (`runs_code`, of the class or beside the function) that it runs code out of artefacts.

    One that says nothing does not. Raises InvalidField as `find` does.
    """
    factory = _find(framework, plugins)
    return bool(getattr(factory, "runs_code", False) or getattr(getattr(factory, "__self__", None), "runs_code", False))


def _find(framework: str, plugins: str) -> EngineFactory:
    named = _named(plugins)
    if framework in named:
        return _import(framework, named[framework])
    for point in installed():
        if point.name == framework:
            return _checked(framework, point.load())
    if framework in _BUILT_IN:
        return _BUILT_IN[framework]()
    raise InvalidField(
        f"There is no engine for framework '{framework[:80]}'; known here: {', '.join(known(plugins))}.",
        field="framework",
        known=known(plugins),
    )


def known(plugins: str = "") -> list[str]:
    """Every name that `find` answers to, sorted."""
    return sorted({*_BUILT_IN, *(point.name for point in installed()), *_named(plugins)})


@cache
def installed() -> tuple[EntryPoint, ...]:
    """What other packages provide. Looked up once: it reads what is known of every package there is."""
    return tuple(entry_points(group=GROUP))


def _onnx() -> EngineFactory:
    from inference.engines.onnx import OnnxEngine

    return OnnxEngine.load


_BUILT_IN: dict[str, Callable[[], EngineFactory]] = {"onnx": _onnx}


def _named(plugins: str) -> dict[str, str]:
    named = {}
    for entry in filter(None, (part.strip() for part in plugins.split(","))):
        name, separator, target = entry.partition("=")
        if not (separator and name.strip() and ":" in target):
            raise BadSettings(
                f"PENSTOCK_ENGINES__PLUGINS: '{entry}' is not of the form name=package.module:Class.",
                name="PENSTOCK_ENGINES__PLUGINS",
            )
        named[name.strip()] = target.strip()
    return named


def _import(framework: str, target: str) -> EngineFactory:
    module, _, attribute = target.partition(":")
    try:
        return _checked(framework, getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise BadSettings(
            f"PENSTOCK_ENGINES__PLUGINS: {target} cannot be imported: {error}.", name="PENSTOCK_ENGINES__PLUGINS"
        ) from error


def _checked(framework: str, factory: object) -> EngineFactory:
    if not callable(factory):
        raise BadSettings(f"The engine '{framework}' is not something that can be called.", engine=framework)
    return factory
