"""`plt-nn rank`: finds the kind of the data, and reads the command line."""

import shlex

from plt_nn.cli.rank.options import image_parser


def run(argv: list[str]) -> int:
    """Ranks nets for the data, and gives advice.

    Raises:
        ConfigError: For a candidate that does not exist, or an argument that cannot be used.
        DataError: For data that cannot be trained on.
    """
    command, words = shlex.join(["plt-nn", *argv]), argv[1:]
    names = {word.partition("=")[0] for word in words}
    if "--data.root" not in names and names & {"--data", "--data.path", "--data.class_path"}:
        from plt_nn.cli.rank.architectures import rank_architectures_of

        rank_architectures_of(words, command)
    else:
        arguments = image_parser().parse_args(words)
        from plt_nn.cli.rank.images import rank_images

        rank_images(arguments, command)
    return 0
