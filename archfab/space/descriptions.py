"""Descriptions: what to make and with which arguments, as data. Nothing is built until a lowering asks."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from archfab.core import UsageError, canonical
from archfab.space.choices import CHANNELS, Arithmetic, Choice, InputChannels, Repeat

INFERRED: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "in_channels": lambda shape: shape[1],
    "num_channels": lambda shape: shape[1],
    "num_features": lambda shape: shape[1],
    "in_features": lambda shape: shape[-1],
    "normalized_shape": lambda shape: shape[-1],
    "input_size": lambda shape: shape[-1],
    "embed_dim": lambda shape: shape[-1],
    "d_model": lambda shape: shape[-1],
    "input_shape": lambda shape: tuple(shape[1:]),
}
"""Parameters that say the size of the input: filled in from the input's shape when they are left out."""


OPEN = "being read"         # the options of a choice while they are encoded
USER_FILE = "archfab_file_"  # modules made of the user's own files


class Description:
    """A call that will make a part of a network: a target, and arguments that may hold decisions."""

    def __init__(self, target: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], make: Any = None) -> None:
        self.target = target
        self.args = args
        self.kwargs = dict(kwargs)
        self._make = make

    @property
    def make(self) -> Callable[..., Any]:
        """The callable itself, imported when first needed."""
        if self._make is None:
            self._make = trusted(self.target)
        return self._make

    def __repr__(self) -> str:
        inside = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"{self.target.rpartition(':')[2]}({', '.join(inside)})"


class Describer:
    """Takes the place of a callable: calling it describes the call."""

    def __init__(self, make: Callable[..., Any], target: str | None = None,
                 signature: inspect.Signature | None = None) -> None:
        self._make = make
        self._signature = signature or signature_of(make)
        self.target = target or address(make)
        self.__doc__ = make.__doc__
        self.__name__ = self.target.rpartition(":")[2]

    def __call__(self, *args: Any, **kwargs: Any) -> Description:
        args, kwargs = keywords(self.target, self._signature, args, kwargs)
        return Description(self.target, args, kwargs, self._make)

    def __repr__(self) -> str:
        return f"<description of {self.target}>"


def describe(make: Callable[..., Any]) -> Describer:
    """Describes calls of any callable that returns a torch module: `Block = describe(MyBlock)`.

    Parameters that say the input's size (`in_channels`, `in_features`, ... see `INFERRED`) are left out and
    filled in when the network is built; give one by its name to overrule that.
    """
    if not callable(make):
        raise UsageError(f"describe takes a class or a function, not {make!r}")
    return Describer(make)


def signature_of(make: Callable[..., Any]) -> inspect.Signature | None:
    """The parameters of a call. A container says them in `assemble(builder, x, where, ...)`, which builds it."""
    try:
        if hasattr(make, "assemble"):
            known = inspect.signature(make.assemble)
            return known.replace(parameters=list(known.parameters.values())[3:])
        return inspect.signature(make)
    except (TypeError, ValueError):
        return None


def keywords(target: str, signature: inspect.Signature | None, args: tuple[Any, ...],
             kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments by name, so that two spellings of one call are one description; checked where it is written."""
    if signature is None:
        return args, kwargs
    parameters = signature.parameters.values()
    overruled = {name: kwargs.pop(name) for name in INFERRED if name in kwargs and name in signature.parameters}
    shown = signature.replace(parameters=[p for p in parameters if p.name not in INFERRED])
    try:
        bound = shown.bind(*args, **kwargs)
    except TypeError as error:
        left_out = ", ".join(name for name in signature.parameters if name in INFERRED)
        hint = f"; {left_out} is left out, the input tells it" if left_out else ""
        raise UsageError(f"{target} takes ({', '.join(shown.parameters)}): {error}{hint}") from None
    if any(p.kind in (p.VAR_POSITIONAL, p.POSITIONAL_ONLY) for p in parameters):
        return bound.args, {**bound.kwargs, **overruled}
    named = dict(bound.arguments)
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(parameter.name, {})
    return (), {**named, **overruled}


def address(make: Any) -> str:
    """Where a callable lives, as `module:name`; the same on every machine."""
    module = getattr(make, "__module__", None) or type(make).__module__
    name = getattr(make, "__qualname__", None) or type(make).__qualname__
    return f"{module}:{name}"


def locate(target: str) -> Any:
    """The object at an address; an error that says what is missing where it cannot be had."""
    module, _, name = target.partition(":")
    if module.startswith(USER_FILE) and module not in sys.modules:
        raise UsageError(f"the space uses {name} of a file that is not loaded here, or has changed since: "
                         f"{module.removeprefix(USER_FILE).rpartition('_')[0]}.py")
    if "<locals>" in name or "<lambda>" in name:
        raise UsageError(f"{target} was defined inside a function and cannot be found again; "
                         "move it to the top level of a .py file")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        raise UsageError(f"the space uses {target}, which cannot be imported here; install its package, or "
                         "give the .py file that declares it") from None
    return found


def trusted(target: str) -> Any:
    """The object at an address that was read from a file: a class of torch modules, or something of torch's, of
    archfab's or of a file that the user gave. A run or bundle of somebody else can name nothing beyond that."""
    found = locate(target)
    ours = target.split(":")[0].split(".")[0] in ("torch", "archfab") or target.startswith(USER_FILE)
    if ours and not target.startswith(("torch.hub", "torch.serialization", "torch:load", "torch:save")):
        return found
    import torch
    if isinstance(found, type) and issubclass(found, torch.nn.Module):
        return found
    raise UsageError(f"{target} is no class of torch modules, so it is not called on the word of a file; declare the "
                     "space in a .py file and give its path")


def encode(value: Any, choices: dict[str, Any]) -> Any:
    """A description as JSON; the choices met on the way are collected by name, each once."""
    if isinstance(value, Choice):
        known = choices.get(value.name)
        if known == OPEN:
            raise UsageError(f"choice '{value.name}' stands inside one of its own options; rename one of them")
        choices[value.name] = OPEN                          # holds its place in the order of declaration
        options = [[label, encode(option, choices)] for label, option in value.options.items()]
        if known is not None and canonical(known) != canonical(options):
            raise UsageError(f"two choices are named '{value.name}' and have different options: "
                             f"{_shown(known)} and {_shown(options)}; rename one of them")
        choices[value.name] = options
        return {"choice": value.name}
    if isinstance(value, Arithmetic):
        return {"expr": value.symbol, "of": [encode(part, choices) for part in value.operands]}
    if isinstance(value, InputChannels):
        return {"input": "channels"}
    if isinstance(value, Repeat):
        return {"repeat": encode(value.count, choices), "items": [encode(i, choices) for i in value.items]}
    if isinstance(value, Description):
        return {"make": value.target, "args": [encode(arg, choices) for arg in value.args],
                "kwargs": {key: encode(arg, choices) for key, arg in value.kwargs.items()}}
    if isinstance(value, list):
        return [encode(item, choices) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(item, choices) for item in value]}
    if isinstance(value, Mapping):
        return {"dict": [[key, encode(item, choices)] for key, item in value.items()]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, str | int | float | bool | None):
        return value
    if hasattr(value, "state_dict") and not isinstance(value, type):
        raise UsageError(f"{type(value).__name__}(...) is a module that was built already; describe it instead: "
                         f"nn.{type(value).__name__}(...) of archfab, or describe({type(value).__name__})(...)")
    if isinstance(value, Describer) or callable(value):
        return {"object": value.target if isinstance(value, Describer) else address(value)}
    raise UsageError(f"{value!r} is no data: a description takes numbers, texts, lists, choices, descriptions "
                     "and named functions or classes")


def decode(data: Any, choices: Mapping[str, Any], made: dict[str, Choice]) -> Any:
    """The description that `encode` wrote; `made` holds the choices already restored."""
    if isinstance(data, list):
        return [decode(item, choices, made) for item in data]
    if not isinstance(data, Mapping):
        return data
    match data:
        case {"choice": name}:
            if name not in made:
                made[name] = Choice(name, {label: decode(option, choices, made) for label, option in choices[name]})
            return made[name]
        case {"expr": symbol, "of": operands}:
            return Arithmetic(symbol, *(decode(part, choices, made) for part in operands))
        case {"input": "channels"}:
            return CHANNELS
        case {"repeat": count, "items": items}:
            return Repeat(decode(count, choices, made), tuple(decode(i, choices, made) for i in items))
        case {"make": target, "args": args, "kwargs": kwargs}:
            return Description(target, tuple(decode(arg, choices, made) for arg in args),
                               {key: decode(arg, choices, made) for key, arg in kwargs.items()})
        case {"tuple": items}:
            return tuple(decode(item, choices, made) for item in items)
        case {"float": text}:
            return float(text)
        case {"dict": items}:
            return {key: decode(item, choices, made) for key, item in items}
        case {"object": target}:
            return trusted(target)
    raise UsageError(f"this is no space written by archfab: {str(data)[:80]}")


def parts(value: Any) -> list[Any]:
    """What stands directly inside a description, an expression's operands included."""
    if isinstance(value, Description):
        return [*value.args, *value.kwargs.values()]
    if isinstance(value, Arithmetic):
        return list(value.operands)
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return list(value.values())
    return []


def _shown(options: list[list[Any]]) -> str:
    plain = all(label == option for label, option in options)
    return "[" + ", ".join(repr(label) if plain else f"{label}={str(option)[:60]}" for label, option in options) + "]"

