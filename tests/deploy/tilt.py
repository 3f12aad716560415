"""Tilt's built-ins as its API reference has them, for a Tiltfile that is evaluated without Tilt.

Each takes the parameters of its namesake and no other, checks their types, and writes down what it was told.
"""
# ruff: noqa: A002, ARG002, N803, PLR0917 - the parameters are those of Tilt, in its order

import functools
import inspect
import os
import shlex
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import starlark
import yaml
from tests.conftest import ROOT

Strings = str | list[str]
AUTO, MANUAL = "TRIGGER_MODE_AUTO", "TRIGGER_MODE_MANUAL"


@dataclass(frozen=True)
class Blob:
    """Text that a built-in gave, which Tilt tells from the path of a file."""

    text: str


@dataclass(frozen=True)
class Step:
    """One step of a live update."""

    kind: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Forward:
    local: int
    container: int


@dataclass
class Resource:
    labels: list[str]
    after: list[str]
    trigger_mode: str
    auto_init: bool
    forwards: list[Forward] = field(default_factory=list)
    command: str = ""
    environment: dict[str, str] = field(default_factory=dict)


class TiltError(Exception):
    """What Tilt refuses, or what the Tiltfile fails with."""


Forwards = str | int | Forward | list[str | int | Forward]


class Tilt:
    """One evaluation."""

    def __init__(self, context: str, kustomize: Callable[[Path], str]) -> None:
        self._context = context
        self._kustomize = kustomize
        self.images: dict[str, list[Step]] = {}
        self.manifests: list[dict[str, Any]] = []
        self.resources: dict[str, Resource] = {}
        self.allowed: list[str] = []

    def evaluate(self, text: str) -> None:
        """Run a Tiltfile in the dialect that Tilt has: statements at the top, and no strings with ``f``."""
        module, dialect = starlark.Module(), starlark.Dialect.standard()
        dialect.enable_top_level_stmt = True
        dialect.enable_load = False
        names = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
        for name in BUILTINS:
            module.add_callable(name, _checked(getattr(self, name)))
        module.add_callable("_getenv", lambda key, default=None: os.environ.get(key, default))
        module.add_callable("_exists", os.path.exists)
        module.add_callable("_quote", shlex.quote)
        for mode in (AUTO, MANUAL):
            module[mode] = mode
        prelude = "os = struct(getenv=_getenv, path=struct(exists=_exists))\nshlex = struct(quote=_quote)\n"
        starlark.eval(module, starlark.parse("prelude", prelude, dialect), names)
        try:
            starlark.eval(module, starlark.parse("Tiltfile", text, dialect), names)
        except starlark.StarlarkError as error:
            raise TiltError(str(error)) from None
        self._assemble()

    def _assemble(self) -> None:
        """Check what Tilt does once the file was read: everything that is named exists."""
        for name, resource in self.resources.items():
            if unknown := set(resource.after) - set(self.resources):
                raise TiltError(f"{name} waits for {unknown}, which is no resource")
        taken = [forward.local for resource in self.resources.values() for forward in resource.forwards]
        if len(taken) != len(set(taken)):
            raise TiltError(f"a port is forwarded twice: {sorted(taken)}")
        used = {container["image"].partition(":")[0] for _, pod in self.workloads() for container in pod["containers"]}
        if unused := set(self.images) - used:
            raise TiltError(f"{unused} is built and nowhere used")

    def workloads(self) -> list[tuple[str, dict[str, Any]]]:
        """Give what Tilt makes a resource of by itself, with the pods of each."""
        return [
            (manifest["metadata"]["name"], manifest["spec"]["template"]["spec"])
            for manifest in self.manifests
            if manifest["kind"] in ("Deployment", "StatefulSet", "Job")
        ]

    def k8s_context(self) -> str:
        return self._context

    def fail(self, msg: str) -> None:
        raise TiltError(msg)

    def allow_k8s_contexts(self, contexts: Strings) -> None:
        self.allowed += [contexts] if isinstance(contexts, str) else contexts

    def docker_build(
        self,
        ref: str,
        context: str,
        build_args: dict[str, str] | None = None,
        dockerfile: str = "Dockerfile",
        live_update: list[Step] | None = None,
        ignore: Strings = "",
        only: Strings = "",
        target: str = "",
        secret: Strings = "",
        extra_tag: Strings = "",
        pull: bool = False,
        platform: str = "",
    ) -> None:
        if not (ROOT / context / dockerfile).is_file():
            raise TiltError(f"{dockerfile} is no file")
        steps = live_update or []
        if [step.kind for step in steps] != sorted((step.kind for step in steps), key=["sync", "run"].index):
            raise TiltError("a live update runs what it has to run after it has synchronised")
        self.images[ref] = steps

    def sync(self, local_path: str, remote_path: str) -> Step:
        if not remote_path.startswith("/"):
            raise TiltError(f"{remote_path} is not absolute")
        return Step("sync", (local_path, remote_path))

    def run(self, cmd: Strings, trigger: Strings = "", echo_off: bool = False) -> Step:
        return Step("run", (cmd,) if isinstance(cmd, str) else tuple(cmd))

    def kustomize(self, pathToDir: str, kustomize_bin: str = "", flags: list[str] | None = None) -> Blob:
        return Blob(self._kustomize(ROOT / pathToDir))

    def decode_yaml_stream(self, yaml: str | Blob) -> list[dict[str, Any]]:
        return list(_load(yaml.text if isinstance(yaml, Blob) else yaml))

    def encode_yaml_stream(self, objs: list[dict[str, Any]]) -> Blob:
        if any(isinstance(value, float) for value in _values(objs)):
            raise TiltError("a float cannot be encoded")
        return Blob(yaml.safe_dump_all(objs))

    def k8s_yaml(self, yaml: Strings | Blob, allow_duplicates: bool = False) -> None:
        if not isinstance(yaml, Blob):
            raise TiltError("text that is no Blob is taken for the path of a file")
        self.manifests += _load(yaml.text)

    def port_forward(
        self, local_port: int, container_port: int = 0, name: str = "", link_path: str = "", host: str = ""
    ) -> Forward:
        return Forward(local_port, container_port or local_port)

    def k8s_resource(
        self,
        workload: str = "",
        new_name: str = "",
        port_forwards: Forwards = 0,
        trigger_mode: str = AUTO,
        resource_deps: list[str] | None = None,
        objects: list[str] | None = None,
        auto_init: bool = True,
        pod_readiness: str = "",
        links: Strings = "",
        labels: Strings = "",
    ) -> None:
        if workload not in dict(self.workloads()):
            raise TiltError(f"there is no workload {workload}")
        forwards = port_forwards if isinstance(port_forwards, list) else []
        told = [forward for forward in forwards if isinstance(forward, Forward)]
        after = resource_deps or []
        self._add(workload, Resource(_list(labels), after, trigger_mode, auto_init, told))

    def local_resource(
        self,
        name: str,
        cmd: Strings,
        deps: Strings = "",
        trigger_mode: str = AUTO,
        resource_deps: list[str] | None = None,
        ignore: Strings = "",
        auto_init: bool = True,
        serve_cmd: Strings = "",
        allow_parallel: bool = False,
        links: Strings = "",
        labels: list[str] | None = None,
        env: dict[str, str] | None = None,
        dir: str = "",
    ) -> None:
        for path in _list(deps):
            if not (ROOT / path).exists():
                raise TiltError(f"{name} depends on {path}, which is not there")
        command = cmd if isinstance(cmd, str) else shlex.join(cmd)
        made = Resource(labels or [], resource_deps or [], trigger_mode, auto_init, [], command, env or {})
        self._add(name, made)

    def _add(self, name: str, resource: Resource) -> None:
        if name in self.resources:
            raise TiltError(f"{name} is there twice")
        if resource.trigger_mode not in (AUTO, MANUAL):
            raise TiltError(f"{resource.trigger_mode!r} is no trigger mode")
        self.resources[name] = resource


BUILTINS = [name for name in vars(Tilt) if name[0] != "_" and name not in ("evaluate", "workloads")]


def _load(text: str) -> list[dict[str, Any]]:
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def _list(strings: Strings) -> list[str]:
    return strings if isinstance(strings, list) else [strings] * bool(strings)


def _values(tree: object) -> typing.Iterator[object]:
    if isinstance(tree, dict | list):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from _values(branch)
    else:
        yield tree


def _checked(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse arguments that the built-in does not have or that are of another type; hand objects through."""
    signature, hints = inspect.signature(builtin), typing.get_type_hints(builtin)

    @functools.wraps(builtin)
    def call(*positional: Any, **named: Any) -> Any:
        given = signature.bind(*positional, **named)
        for name, value in given.arguments.items():
            if not _is(value, hints[name]):
                raise TypeError(f"{builtin.__name__}: {name}={value!r} is no {hints[name]}")
        result = builtin(*given.args, **given.kwargs)
        return starlark.OpaquePythonObject(result) if isinstance(result, Blob | Step | Forward) else result

    return call


def _is(value: object, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return value is not None and any(_is(value, one) for one in inner if one is not type(None))
    if origin is list:
        return isinstance(value, list) and all(_is(item, inner[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is(k, inner[0]) and _is(v, inner[1]) for k, v in value.items())
    return type(value) is kind
