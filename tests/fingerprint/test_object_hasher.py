"""What may do something else has another text, the same in every process, and what nobody can tell has none."""

import re
import sys
import threading
from collections import OrderedDict, defaultdict
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from plt_nn.fingerprint.identity import object_identity
from tests.fingerprint.user_code import load

# Source in which AAA is one thing or another one.
VARIANTS: dict[str, tuple[str, object, object]] = {
    "the code itself": ("def it(x): return x + AAA", 1, 2),
    "the code in it": ("def it(x): return [y + AAA for y in x]", 1, 2),
    "a default": ("def it(x, y=AAA): return x + y", 1, 2),
    "a default of a keyword": ("def it(x, *, y=AAA): return x + y", 1, 2),
    "the handler of an exception": ("def it(x):\n try: return 1 / x\n except AAA: return 0", "OSError", "ValueError"),
    "a constant of the module": ("K = AAA\ndef it(x): return x + K", 1, 2),
    "in a function in it": ("K = AAA\ndef it(x): return [y + K for y in x]", 1, 2),
    "an array": ("import numpy as np\nK = np.array([AAA])\ndef it(x): return x + K", 1, 2),
    "a tensor": ("import torch\nK = torch.tensor([AAA])\ndef it(x): return x + K", 1, 2),
    "a helper": ("def help(x): return x + AAA\ndef it(x): return help(x)", 1, 2),
    "a helper's constant": ("K = AAA\ndef help(x): return x + K\ndef it(x): return help(x)", 1, 2),
    "a helper that calls it": ("def help(x): return it(x - AAA) if x else 0\ndef it(x): return help(x)", 1, 2),
    "a class": ("class C:\n def f(self, x): return x + AAA\ndef it(x): return C().f(x)", 1, 2),
    "a base": ("class B:\n def f(self): return AAA\nclass C(B): pass\ndef it(): return C().f()", 1, 2),
    "a constant of a class": ("class C: k = AAA\ndef it(x): return x + C.k", 1, 2),
    "a static method": ("class it:\n @staticmethod\n def f(x): return x + AAA", 1, 2),
    "a class method": ("class it:\n @classmethod\n def f(cls, x): return x + AAA", 1, 2),
    "a property": ("class it:\n @property\n def f(self): return AAA", 1, 2),
    "a cached property": (
        "from functools import cached_property\nclass it:\n @cached_property\n def f(self): return AAA",
        1,
        2,
    ),
    "a metaclass": ("class M(type):\n def f(cls): return AAA\nclass it(metaclass=M): pass", 1, 2),
    "a decorated function": ("import torch\n@torch.no_grad()\ndef it(x): return x + AAA", 1, 2),
    "a function that is never compiled": ("import torch\n@torch.compiler.disable\ndef it(x): return x + AAA", 1, 2),
    "a decorator": (
        "from functools import wraps\ndef w(f):\n @wraps(f)\n def g(x): return f(x) + AAA\n return g\n"
        "@w\ndef it(x): return x",
        1,
        2,
    ),
    "a decorator of a package's function": (
        "from functools import wraps\nfrom torch.nn.functional import gelu\ndef w(f):\n @wraps(f)\n"
        " def g(x): return f(x) + AAA\n return g\nit = w(gelu)",
        1,
        2,
    ),
    "what is wrapped": (
        "import torch\n@torch.no_grad()\ndef help(x): return x + AAA\ndef it(x): return help(x)",
        1,
        2,
    ),
    "a cached function": ("from functools import lru_cache\n@lru_cache\ndef it(x): return x + AAA", 1, 2),
    "a captured value": ("def make(y): return lambda x: x + y\nit = make(AAA)", 1, 2),
    "a method of a text": ("it = 'AAA'.join", 1, 2),
    "an attribute of a function": ("def it(x): return x + it.y\nit.y = AAA", 1, 2),
    "an object": ("class C:\n def __init__(self, y): self.y = y\nit = C(AAA)", 1, 2),
    "an object's slots": ("class C:\n __slots__ = ('y',)\nit = C()\nit.y = AAA", 1, 2),
    "an object's code": ("class C:\n def f(self): return AAA\nit = C()", 1, 2),
    "an object in an object": ("class C: pass\nit = C()\nit.a = C()\nit.a.b = [C()]\nit.a.b[0].c = AAA", 1, 2),
    "a data class": (
        "from dataclasses import dataclass, field\n@dataclass\nclass C:\n y: int\n"
        " z: list = field(default_factory=list)\nit = C(AAA)",
        1,
        2,
    ),
    "a choice": ("from enum import Enum\nclass E(Enum):\n A = 1\n B = 2\nit = E.AAA", "A", "B"),
    "a choice's meaning": ("from enum import Enum\nclass E(Enum):\n A = AAA\n B = 3\nit = E.A", 1, 2),
    "a list of one's own": ("class L(list):\n def f(self): return AAA\nit = L([1])", 1, 2),
    "a named tuple": ("from typing import NamedTuple\nclass T(NamedTuple):\n y: int\nit = T(AAA)", 1, 2),
    "a number of one's own": ("class N(int): pass\nit = N(AAA)", 1, 2),
    "a module's weights": (
        "import torch\nfrom torch import nn\nit = nn.Linear(1, 1)\nwith torch.no_grad(): it.weight.fill_(AAA)",
        1,
        2,
    ),
    "a function of a class of a package": (
        "from torch import nn\nclass It(nn.ReLU): pass\ndef forward(x): return AAA\nit = It()\nit.forward = forward",
        1,
        2,
    ),
    "torch's function": ("import torch\ndef it(x): return torch.AAA(x)", "relu", "sigmoid"),
}


def variant(name: str, second: bool = False) -> Any:
    source, *options = VARIANTS[name]
    weights = "import torch\ntorch.manual_seed(0)\n" if "nn" in source else ""
    return load(weights + source.replace("AAA", str(options[second]))).it


@pytest.mark.parametrize("name", VARIANTS)
def test_whatever_may_change_what_is_done_changes_the_text(name: str) -> None:
    first = object_identity(variant(name))
    assert first is not None
    assert object_identity(variant(name)) == first
    assert object_identity(variant(name, True)) not in (first, None)


def test_no_two_variants_are_taken_for_each_other() -> None:
    found = {object_identity(variant(name, second)) for name in VARIANTS for second in (False, True)}
    assert len(found) == 2 * len(VARIANTS)


def test_what_is_not_looked_up_does_not_count() -> None:
    def text(others: str) -> str | None:
        return object_identity(load(f"{others}\ndef it(x): return x.scale + 1").it)

    assert text("scale = 1") == text("scale = 2") == text("scale = iter([1])")


def test_the_code_that_is_loaded_counts_and_not_what_its_file_says_by_now(tmp_path: Path) -> None:
    file = tmp_path / "user_code.py"
    scope: dict[str, Any] = {"__name__": "user_code", "__file__": str(file)}
    file.write_text("def it(x): return x + 1")
    exec(compile(file.read_text(), str(file), "exec"), scope)
    first = object_identity(scope["it"])
    file.write_text("def it(x): return x + 2")
    assert object_identity(scope["it"]) == first


def test_a_constant_may_change_in_one_process() -> None:
    module = load("K = 1\nclass it:\n def f(self): return K")
    first = object_identity(module.it)
    module.K = 2
    assert object_identity(module.it) not in (first, None)


IMPORTS = {
    "above": "import settings\ndef it(x): return x + settings.K",
    "above, by another name": "import settings as s\ndef it(x):\n t = s\n return x + t.K",
    "inside": "def it(x):\n import settings\n return x + settings.K",
    "one name, inside": "def it(x):\n from settings import K\n return x + K",
    "a function": "import settings\ndef it(x): return settings.shift(x)",
    "a module in a module": "import settings\ndef it(x): return settings.deeper.up.deeper.K",
}


@pytest.mark.parametrize("source", IMPORTS.values(), ids=IMPORTS.keys())
def test_what_is_looked_up_in_other_modules_counts(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def text(k: int, other: int) -> str | None:
        settings = load(f"K = {k}\nOTHER = {other}\ndef shift(x): return x + K", "settings")
        settings.deeper = load(f"K = {k}", "settings.deeper")
        settings.deeper.up = settings
        monkeypatch.setitem(sys.modules, "settings", settings)
        return object_identity(load(source).it)

    assert text(1, 1) == text(1, 2) != text(2, 2)
    assert text(1, 1) is not None


def test_what_is_imported_from_packages_is_told_by_their_version() -> None:
    assert object_identity(load("def it(x):\n import wave\n return wave.open(x)").it) is not None
    assert object_identity(load("def it(x):\n import timm.layers\n return timm.layers.Mlp(x)").it) is not None


def test_what_is_not_imported_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = load("def it(x):\n import not_there\n return not_there.f(x)").it
    assert object_identity(it) is not None  # it will raise
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "not_there.py").write_text("def f(x): return x")
    assert object_identity(it) is None


def test_functions_that_one_function_of_a_package_has_made_are_told_apart() -> None:
    assert len({object_identity(made) for made in (F.max_pool1d, F.max_pool2d, F.adaptive_max_pool2d, None)}) == 4


def test_a_function_put_into_a_class_of_a_package_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    first = object_identity(nn.Hardtanh())
    monkeypatch.setattr(nn.Hardtanh, "forward", load("def it(self, x): return x").it)
    assert object_identity(nn.Hardtanh()) not in (first, None)


KNOWN = {
    "numbers": [1, 1.5, 2j, True, None, b"x", ...],
    "containers": {"a": (1, {2, 3}), "b": [frozenset("abc"), slice(1, 2), OrderedDict(a=1), defaultdict(list)]},
    "torch": [
        torch.float16,
        torch.device("cpu"),
        torch.Size([1]),
        torch.channels_last,
        torch.relu,
        F.gelu,
        F.max_pool2d,
    ],
    "operators": [torch.ops.aten.relu, torch.ops.aten.relu.default, torch.Tensor.relu, torch.Tensor],
    "partial": partial(F.leaky_relu, negative_slope=0.1),
    "numpy": [np.float32(1), np.dtype("int8"), np.add, np.zeros(3)],
    "others": [re.compile("a"), Path("a"), SimpleNamespace(a=1), range(3), "".join, str.lower, list[int]],
    "locks": [threading.Lock(), threading.RLock()],
    "module": nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
    "imported": torch.nn.functional,
    "a lambda": lambda x: x,
    "cached": cached_property(len),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_told(name: str) -> None:
    assert object_identity(KNOWN[name]) == object_identity(KNOWN[name]) is not None


class Sneaky:
    """Raises when anything is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


UNKNOWN: dict[str, Any] = {
    "an iterator": iter([1]),
    "one of two that differ in nothing": object(),
    "a generator": (x for x in "a"),
    "a file": sys.__stdout__,
    "a sparse tensor": torch.eye(2).to_sparse(),
    "a tensor without values": torch.empty(2, device="meta"),
    "a tensor of another class": torch.ones(2).as_subclass(type("Own", (torch.Tensor,), {})),
    "scripted code": torch.jit.script(nn.Sequential(nn.ReLU())),
    "objects in an array": np.array([object()]),
    "a module of one's own": load("K = 1"),
    "a name made at run time": load("def it(x): return globals()['K']").it,
    "the environment": load("import os\ndef it(x): return os.environ['K']").it,
    "an open file of the module": load("import sys\nK = sys.__stdout__\ndef it(x): return K.read()").it,
    "what raises when it is looked at": Sneaky(),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_can_tell_has_no_text(name: str) -> None:
    assert object_identity(UNKNOWN[name]) is None
    assert object_identity([{"a": UNKNOWN[name]}]) is None


def test_what_is_known_already_is_not_looked_into() -> None:
    inner = nn.Linear(2, 2)
    first = object_identity([inner], {id(inner): "inner"})
    nn.init.zeros_(inner.weight)
    assert object_identity([inner], {id(inner): "inner"}) == first
    assert object_identity([inner], {id(inner): "other"}) != first
    assert object_identity([iter([])], {}) is None


def test_shared_and_equal_things_are_alike() -> None:
    one, other = [1, 2], [1, 2]
    assert object_identity([one, one]) == object_identity([one, other])
