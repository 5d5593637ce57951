"""The tasks that ernie_tiny can be fine-tuned for."""

from nlphub.nn.heads import Head, MaskedLMHead, SequenceHead, TokenHead
from nlphub.nn.joint import JointHead
from nlphub.nn.matching import CrossEncoderHead
from nlphub.nn.text_heads import LabelSetHead, ValueHead

heads: dict[str, type[Head]] = {
    head.task: head for head in (LabelSetHead, ValueHead, SequenceHead, CrossEncoderHead, TokenHead, JointHead, MaskedLMHead)
}
