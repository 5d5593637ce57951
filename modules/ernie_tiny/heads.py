"""The tasks that ernie_tiny can be fine-tuned for."""

from nlphub.nn.heads import Head, MaskedLMHead, SequenceHead, TokenHead

heads: dict[str, type[Head]] = {head.task: head for head in (SequenceHead, TokenHead, MaskedLMHead)}
