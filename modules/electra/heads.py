"""The tasks that an ELECTRA checkpoint can be fine-tuned for. Its classifier of whole texts has GELU where BERT's has tanh."""

from nlphub.zoo.ernie_tiny.heads import heads as others
from torch import Tensor
from torch.nn import functional as F

from nlphub.nn.heads import Head, SequenceHead
from nlphub.nn.matching import CrossEncoderHead


class ElectraSequenceHead(SequenceHead):
    """``transformers``' ``ElectraClassificationHead``."""

    def squash(self, pooled: Tensor) -> Tensor:
        """GELU in its exact form, whatever the encoder's activation is."""
        return F.gelu(pooled)


class ElectraPairHead(ElectraSequenceHead, CrossEncoderHead):
    """The same for pairs."""


heads: dict[str, type[Head]] = {**others, "seq-cls": ElectraSequenceHead, "text-matching": ElectraPairHead}
