"""Labels from a text graph with stock onnxruntime; nothing of nlphub is needed.

pip install onnxruntime numpy
python predict.py model_text.onnx 我要退这双鞋 转人工
"""

import re
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
# Lone surrogates, which a str may hold and UTF-8 may not, become U+FFFD, as everywhere in nlphub.
texts = [re.sub("[\ud800-\udfff]", "\ufffd", text) for text in sys.argv[2:]]
label, score, accepted = session.run(["label", "score", "accepted"], {"texts": np.array(texts, dtype=object)})
for row in zip(texts, label, score, accepted, strict=True):
    print(*row, sep="\t")
