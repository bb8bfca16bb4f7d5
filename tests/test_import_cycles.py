"""No module of plt_nn imports itself by way of others: not for types alone, nor inside functions."""

from graphlib import CycleError, TopologicalSorter

import grimp


def test_imports_go_in_no_circle() -> None:
    graph = grimp.build_graph("plt_nn", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    circle: list[str] = []
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert not circle, "each imports the next"
