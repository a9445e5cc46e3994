"""A stub of torch: rknn-toolkit2 imports it eagerly but does not use it for ONNX models.

Every submodule can be imported and every name in it is an empty class, so that names, base classes and decorators exist at
import time; calls return nothing.
"""
import importlib.abc
import importlib.machinery
import sys
import types

__version__ = "0"
__path__ = []


def _name(module, name):
    if name.startswith("__"):
        raise AttributeError(name)
    decorate = lambda self, function=None, *more: function
    return type(name, (), {"__module__": module, "__init__": lambda self, *more: None, "__call__": decorate})


class _Module(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        return _name(self.__name__, name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name.startswith("torch.") else None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


def __getattr__(name):
    return _name(__name__, name)


sys.meta_path.append(_Finder())
