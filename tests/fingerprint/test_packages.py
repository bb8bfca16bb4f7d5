"""Packages are told by their versions, and what a user works on is not."""

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

import plt_nn.fingerprint.packages as packages
from plt_nn.fingerprint.packages import package_of


def test_packages_are_identified_by_their_version() -> None:
    import timm
    import torch

    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    for module in ("os", "builtins", "functools", "concurrent.futures", "_thread", "wave"):
        assert package_of(module) == python
    for module in ("torch", "torch.nn", "torch._C._nn", "torch.ops"):
        assert package_of(module) == f"torch {torch.__version__}"
    assert (package_of("timm.layers") or "").startswith(f"timm {timm.__version__} ")
    assert (package_of("yaml") or "").startswith("yaml ")  # of PyYAML


def test_what_a_user_writes_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__file__ = os.__file__  # as with python -m pdb
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert package_of("__main__") is None
    assert package_of("tests.fingerprint.test_packages") is None
    assert package_of("nobody_has_written_this") is None


def test_a_file_with_the_name_of_a_standard_module_is_a_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("code")
    module.__file__ = str(tmp_path / "code.py")
    monkeypatch.setitem(sys.modules, "code", module)
    assert package_of("code") is None


def test_a_package_installed_anew_without_another_version_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    information = site / "mine-1.0.dist-info"
    for folder in (site / "mine", information):
        folder.mkdir(parents=True)
    (site / "mine" / "__init__.py").touch()
    (information / "METADATA").write_text("Name: mine\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(site)

    def installed(digest: str, by: str) -> str | None:
        (information / "RECORD").write_text(
            f"mine/__init__.py,sha256={digest},0\nmine-1.0.dist-info/INSTALLER,{by},4\n"
        )
        packages._identified.cache_clear()
        return package_of("mine")

    first = installed("abc", "pip")
    assert first is not None
    assert first.startswith("mine 1.0 ")
    assert installed("abc", "uv") == first
    assert installed("abd", "pip") != first
    (information / "RECORD").unlink()
    (information / "METADATA").unlink()
    information.rmdir()
    packages._identified.cache_clear()
    assert package_of("mine") is None  # nothing tells its version: its code is looked at
