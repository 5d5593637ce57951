"""Which folder of the caller holds a module."""

from pathlib import Path

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
