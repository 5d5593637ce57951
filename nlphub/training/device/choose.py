"""Which trainings the device can run by itself (``train.graphs``), and which loop a training gets."""

import logging

import torch

from nlphub import kernels
from nlphub.data.examples import Examples
from nlphub.errors import InputError, NlphubError
from nlphub.kernels.layout import Places
from nlphub.module import Module
from nlphub.nn.heads import SequenceHead, TokenHead
from nlphub.nn.text_heads import LabelSetHead, ValueHead
from nlphub.recipe import TrainSettings
from nlphub.training.adamw import AdamW
from nlphub.training.device.fixed import FixedLayout
from nlphub.training.device.loop import DeviceLoop
from nlphub.training.distillation.teaching import Teaching
from nlphub.training.loop import Loop
from nlphub.training.precision import precision

log = logging.getLogger(__name__)

_HEADS = (SequenceHead, TokenHead, LabelSetHead, ValueHead)  # exactly these: their losses are of rows, of shapes that do not change


def loop_for(
    module: Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    train: Examples,
    dev: Examples | None = None,
    *,
    teaching: Teaching | None = None,
) -> Loop:
    """The loop of a training: with captured graphs where ``settings.graphs`` asks for them and they fit, else the plain one.

    Raises:
        InputError: ``graphs`` is ``on`` and they do not fit, with all reasons; or as :class:`~nlphub.training.loop.Loop`.
    """
    reasons = unfit(module, optimizer, settings, teaching=teaching) if settings.graphs != "off" else ["train.graphs is off"]
    if not reasons:
        log.info("training steps are captured as CUDA graphs (train.graphs=%s)", settings.graphs)
        return DeviceLoop(module, optimizer, settings, train, dev)
    if settings.graphs == "on":
        raise InputError("train.graphs=on, but this training cannot be captured; set train.graphs=auto or off:", reasons)
    if settings.graphs == "auto":
        log.info("train.graphs=auto: no graphs, since %s", "; ".join(reasons))
    return Loop(module, optimizer, settings, train, dev, teaching=teaching)


def require_gpu(asked: str) -> None:
    """Check that there is one.

    Args:
        asked: what asked for it, for the message.

    Raises:
        InputError: torch sees none.
    """
    if not torch.cuda.is_available():
        raise InputError(f"{asked}, but torch sees no GPU here; leave it out to train on the CPU")


def unfit(module: Module, optimizer: torch.optim.Optimizer, settings: TrainSettings, *, teaching: Teaching | None = None) -> list[str]:
    """Why a training's steps cannot be captured; nothing where they can."""
    found = _unfit_training(module, optimizer, settings, teaching)
    if module.device.type != "cuda":
        return [f"the module is on {module.device}, and graphs are of CUDA devices: train.device=cuda", *found]
    if torch.version.hip is not None:
        return ["they were made for NVIDIA devices, and this is another one", *found]
    return found or _unfit_kernels(module, precision(settings.precision, module.device))


def _unfit_training(module: Module, optimizer: torch.optim.Optimizer, settings: TrainSettings, teaching: Teaching | None) -> list[str]:
    found = []
    if type(module.task_head) not in _HEADS:
        found.append(f"the loss of {type(module.task_head).__name__} follows the lengths of each batch")
    if type(optimizer) not in (AdamW, torch.optim.AdamW):
        found.append(f"the optimizer is {type(optimizer).__name__}, and only AdamW is known here")
    elif any(group["amsgrad"] or group["maximize"] for group in optimizer.param_groups):
        found.append("the optimizer has amsgrad or maximize, which are not known here")
    options = {
        "r_drop": bool(settings.r_drop),
        "adversarial": settings.adversarial != "none",
        "backoff": bool(settings.backoff),
        "distill": teaching is not None,
    }
    return found + [f"{name} looks at a step before it goes on" for name, on in options.items() if on]


def _unfit_kernels(module: Module, dtype: torch.dtype) -> list[str]:
    """Try the route of attention on a few rows: it has to find the sequences by tensors on the device."""
    config, device = module.encoder.config, module.device
    numbers = torch.tensor([[0, 8], [8, 8], [0, 1]], dtype=torch.int32, device=device)
    layout = FixedLayout(Places(numbers[0], numbers[1], numbers[2], (2, 0, 0, 0, 0)), device)
    rows = torch.zeros(3, 16, config.mixed, dtype=dtype, device=device)
    keys = torch.zeros(16, dtype=torch.int32, device=device)
    try:
        for dropped in (None, kernels.Dropout(0.1, keys)):
            kernels.attention(rows[0], rows[1], rows[2], layout, heads=config.heads, dropped=dropped)
    except NlphubError as wrong:
        return [str(wrong)]
    return []
