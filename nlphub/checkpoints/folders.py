"""Which folder of the caller holds a module, and what its texts may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nlphub.checkpoints import native
from nlphub.errors import InputError
from nlphub.hub import zoo


def module_folder(directory: Path, *, import_code: bool) -> Path:
    """A folder with a config.json: the one that is named, or ``best/`` of a run. Code is imported from the first only.

    Raises:
        InputError: it holds code that may not be imported, an artefact, or nothing of ours.
    """
    if (directory / "transformer.py").is_file():
        if not import_code:
            raise InputError(
                f"{directory} holds code (transformer.py), which commands, recipes and load_checkpoint never run. "
                "If it is yours, open it in Python: hub.Module(directory=...)"
            )
        zoo.add_directory(directory)
    if (directory / "nlphub.json").is_file():
        raise InputError(f"{directory} is an exported artefact: run it with hub.Predictor({str(directory)!r}) or `nlphub predict`")
    for folder in (directory, directory / "best"):
        if (folder / native.CONFIG).is_file():
            return folder
    raise InputError(f"{directory} is no module and no run: there is no config.json in it, and none in {directory / 'best'}")


def length_of(config: Mapping[str, Any], wanted: int | None, *, longest: int) -> int:
    """The most tokens of a sequence: as the caller wants, as the folder says, or as the network can.

    Raises:
        InputError: it is no whole number from 3 to ``longest``.
    """
    length: Any = config.get("max_length", longest) if wanted is None else wanted
    if type(length) is not int or not 3 <= length <= longest:
        raise InputError(f"max_length={length!r} must be a whole number from 3 to {longest}, the positions of this network")
    return int(length)
