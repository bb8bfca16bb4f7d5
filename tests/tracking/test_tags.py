"""A tag, or the name of a run's file, is spelled in one place."""

import ast
from pathlib import Path

import plt_nn
from plt_nn.inference import model_files
from plt_nn.tracking import tags

ROOT = Path(plt_nn.__file__).parent
HOMES = {Path(tags.__file__), Path(model_files.__file__)}


def names() -> set[str]:
    """Those that cannot be anything else: they have a dot or a slash in them."""
    found = [value for module in (tags, model_files) for name, value in vars(module).items() if name.isupper()]
    return {text for text in found if isinstance(text, str) and ("." in text or "/" in text)}


def test_no_other_file_spells_one() -> None:
    assert {"plt_nn.uid", "mlflow.note.content", "system/", "config.yaml", "model.json"} <= names()
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in ROOT.rglob("*.py")
        if path not in HOMES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names()
    ]
    assert spelled == []


def test_naming_them_imports_nothing() -> None:
    imports = [node for node in ast.walk(ast.parse(Path(tags.__file__).read_text("utf-8"))) if "Import" in str(node)]
    assert imports == []
