"""The stages of a net from input to head, under names that do not change."""

from collections import Counter
from dataclasses import dataclass

from torch import nn

from plt_nn.backbones.execution import wrapped_path
from plt_nn.backbones.heads import classifier_names
from plt_nn.backbones.stage_groups import is_known, parameter_groups

HEAD = "head"
STEM = "stem"


@dataclass(frozen=True)
class Stage:
    """A part of a net that is frozen or trained as one.

    Args:
        name: Unique in the net, and the same each time: `"stem"`, the path of the first module such as `"blocks.3"`, or
            `"head"`.
        parameters: Names as in `net.named_parameters()`, in its order.
        modules: Names as in `net.named_modules()` of all modules that lie entirely in this stage. Setting exactly these
            to eval mode freezes the statistics and the dropout of this stage and of no other. A module without
            parameters or buffers (dropout, pooling) between two stages belongs to the later one, whose input it
            prepares. Modules that span several stages, such as the net itself, belong to none.
    """

    name: str
    parameters: tuple[str, ...]
    modules: tuple[str, ...]


def stages(net: nn.Module, ends_in_head: bool = True) -> list[Stage]:
    """The stages of a net, from input to head: disjoint, and complete.

    Args:
        net: Any module. Nets of timm are divided by their own `group_matcher`, those of torchvision by a table; both
            start with `"stem"`. Other nets are divided by the order in which their children run, and their stages are
            named by paths; a net of timm or torchvision inside such a net is divided as if it were alone.
        ends_in_head: Whether the last layer of a net of another kind is its classifier. False: something else comes
            after the net.

    Returns:
        At least one stage. The last is `"head"`: the classifier alone (`classifier_names`), empty in a net without one.

    Example:
        >>> from plt_nn import create_backbone, stages
        >>> net = create_backbone("timm/resnet10t", pretrained=False)
        >>> [stage.name for stage in stages(net)]
        ['stem', 'layer1', 'layer2', 'layer3', 'layer4', 'head']
        >>> stages(net)[-1].parameters
        ('fc.weight', 'fc.bias')
    """
    parameters = [name for name, _ in net.named_parameters()]
    place = {name: index for index, name in enumerate(parameters)}
    has_head = ends_in_head or is_known(net.get_submodule(wrapped_path(net, is_known)))
    classifiers = tuple(classifier_names(net)) if has_head else ()
    body, head = _take_out(parameter_groups(net), classifiers)
    groups = [sorted(group, key=place.__getitem__) for group in [*body, head]]
    assert sorted(place[name] for group in groups for name in group) == list(range(len(parameters))), "not a partition"
    names = _names(groups, known=is_known(net))
    modules = _modules(net, groups, classifiers)
    return [
        Stage(name, tuple(group), tuple(modules[index]))
        for index, (name, group) in enumerate(zip(names, groups, strict=True))
    ]


def _take_out(groups: list[list[str]], classifiers: tuple[str, ...]) -> tuple[list[list[str]], list[str]]:
    """The groups without the parameters of the classifiers, and those parameters."""
    head = [name for group in groups for name in group if _inside(name, classifiers)]
    body = [[name for name in group if not _inside(name, classifiers)] for group in groups]
    return [group for group in body if group], head


def _inside(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or not module or name.startswith(f"{module}.") for module in modules)


def _names(groups: list[list[str]], known: bool) -> list[str]:
    """For each group the shortest beginning of its first module's path that no other group has."""
    leads = [next((name for name in group if "." in name), group[0]) for group in groups[:-1]]
    shared = Counter(start for group in groups for start in {start for name in group for start in _starts(name)})
    shared.update((HEAD, STEM) if known else (HEAD,))  # these names are given below
    names = [next((start for start in _starts(lead) if shared[start] == 1), f"{lead}_") for lead in leads]
    if known and names:
        names[0] = STEM
    return [*names, HEAD]


def _starts(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _modules(net: nn.Module, groups: list[list[str]], classifiers: tuple[str, ...]) -> list[list[str]]:
    """For each group the modules that lie entirely in it."""
    owner = _owners(net, groups, classifiers)
    following, before, after = {}, 0, len(groups) - 1
    for name, _ in reversed(list(net.named_modules())):
        following[name] = after = owner.get(name, after)
    for name, module in net.named_modules():
        parent = name.rpartition(".")[0]
        if name in owner:
            before = owner[name]
        elif next(module.parameters(), None) is None:
            has_buffers = next(module.buffers(), None) is not None  # statistics of the output of the stage before
            owner[name] = owner[parent] if parent in owner else before if has_buffers else following[name]
    modules: list[list[str]] = [[] for _ in groups]
    for name, _ in net.named_modules():
        if name in owner:
            modules[owner[name]].append(name)
    return modules


def _owners(net: nn.Module, groups: list[list[str]], classifiers: tuple[str, ...]) -> dict[str, int]:
    """Module -> its group, for modules whose parameters all lie in one group."""
    parameters = dict(net.named_parameters())
    group_of = {id(parameters[name]): index for index, group in enumerate(groups) for name in group}
    owner = {}
    for name, module in net.named_modules():
        found = {group_of[id(parameter)] for parameter in module.parameters()}
        if _inside(name, classifiers):
            found = {len(groups) - 1}  # also the empty classifier of a net without a head
        if len(found) == 1:
            owner[name] = found.pop()
    return owner
