// Labels from a text graph with stock onnxruntime-node; nothing of nlphub is needed.
//   npm install --onnxruntime-node-install=skip
//   node predict.mjs model_text.onnx 我要退这双鞋 转人工
import { InferenceSession, Tensor } from "onnxruntime-node";

const [path, ...texts] = process.argv.slice(2);
const session = await InferenceSession.create(path);
const given = texts.map((text) => text.toWellFormed()); // lone surrogates become U+FFFD, as everywhere in nlphub
const { label, score, accepted } = await session.run({ texts: new Tensor("string", given, [given.length]) });
texts.forEach((text, i) => console.log([text, label.data[i], score.data[i], Boolean(accepted.data[i])].join("\t")));
