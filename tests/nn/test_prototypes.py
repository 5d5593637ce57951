"""Prototypes: closed form against scikit-learn and slow twins, the same answers packed and padded, files of every state."""

import copy
import itertools

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import NearestCentroid

from nlphub.checkpoints import native
from nlphub.data.batching import pack, pad
from nlphub.errors import DataError, InputError
from nlphub.nn import prototypes
from nlphub.nn.contrastive import TEMPERATURE, ContrastiveHead
from nlphub.nn.dense import DenseModel
from nlphub.nn.encoder import Encoder, EncoderConfig, to_tensors
from nlphub.nn.inference import head_logits, sentence_vectors
from nlphub.nn.initialise import initialise
from nlphub.nn.prototype import Balance, PrototypeHead, content_means, form_problems, prototype_head
from nlphub.nn.prototypes import Labelled, examples_of, fit_prototypes, fit_vectors, labelled, left_out

LABELS = 3


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    encoder = Encoder(EncoderConfig(vocab=60, layers=2, width=24, heads=3, inner=40, positions=32))
    initialise(encoder, 1)
    return encoder.eval()


@pytest.fixture(scope="module")
def examples() -> Labelled:
    return make(18, seed=0)


def make(count: int, *, seed: int) -> Labelled:
    """Texts whose labels show in their tokens, without repeated tokens in a text."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % LABELS
    ids = [np.array([1, *generator.permutation(12)[:4] + 5 + 9 * target, *generator.permutation(15)[:2] + 40, 2]) for target in targets]
    return labelled(ids, targets)


def features(encoder: Encoder, learnt: Labelled, asked: Labelled) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The slow twin of both sides of the texts: TF-IDF of scikit-learn, and centred means of length 1."""
    vectorizer = TfidfVectorizer(analyzer=lambda text: [tuple(text[p : p + n]) for n in (1, 2, 3) for p in range(len(text) - n + 1)])
    texts = [[list(text[1:-1]) for text in np.split(one.encoded.ids, one.encoded.starts[1:-1])] for one in (learnt, asked)]
    said = vectorizer.fit_transform(texts[0]).toarray(), vectorizer.transform(texts[1]).toarray()
    means = [sentence_vectors(encoder, one.encoded, pooling="content").astype(np.float64) for one in (learnt, asked)]
    moved = [mean - means[0].mean(0) for mean in means]
    return [said[0], said[1]], [one / np.linalg.norm(one, axis=1, keepdims=True) for one in moved]


def logits_of(encoder: Encoder, head: PrototypeHead, asked: Labelled) -> np.ndarray:
    return head_logits(encoder, head, asked.encoded)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_logits_are_those_of_kernel_ridge_regression(encoder, examples, share):
    asked, balance = make(9, seed=1), Balance(share=share, ridge=0.3, scale=2.0)
    head = fit_prototypes(encoder, examples, LABELS, balance=balance).head
    said, meant = features(encoder, examples, asked)
    learnt, wanted = (share * said[n] @ said[0].T + (1 - share) * meant[n] @ meant[0].T for n in (0, 1))
    targets = np.eye(LABELS)[examples.targets]
    oracle = KernelRidge(alpha=0.3, kernel="precomputed").fit(learnt, targets - targets.mean(0))
    np.testing.assert_allclose(logits_of(encoder, head, asked), 2.0 * (oracle.predict(wanted) + targets.mean(0)), atol=2e-5)


def test_a_large_ridge_gives_the_means_of_the_labels(encoder, examples):
    asked = make(30, seed=2)
    head = fit_prototypes(encoder, examples, LABELS, balance=Balance(share=0.0, ridge=6e3, scale=1e3)).head  # 6 examples of each label
    _, (learnt, wanted) = features(encoder, examples, asked)
    means = np.stack([learnt[examples.targets == label].mean(0) for label in range(LABELS)])
    found = logits_of(encoder, head, asked)
    np.testing.assert_allclose(found - 1e3 / 3, wanted @ (means - learnt.mean(0)).T, atol=5e-3)
    assert (found.argmax(1) == NearestCentroid().fit(learnt, examples.targets).predict(wanted)).mean() > 0.9


def test_vectors_separate_as_shrunken_discriminants_do(encoder, examples):
    asked = make(60, seed=3)
    head = fit_prototypes(encoder, examples, LABELS, balance=Balance(share=0.0, ridge=0.5, scale=1.0)).head
    _, (learnt, wanted) = features(encoder, examples, asked)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5).fit(learnt, examples.targets).predict(wanted)
    assert (logits_of(encoder, head, asked).argmax(1) == oracle).mean() > 0.9


def test_left_out_answers_are_those_without_the_example(encoder, examples):
    vectors = sentence_vectors(encoder, examples.encoded, pooling="content")
    lexicon = prototypes._lexicon(examples.encoded)
    directions = prototypes._directions(vectors - vectors.mean(0, dtype=np.float64), examples.encoded.lengths)
    said = prototypes._similarities(lexicon)
    pairs = prototypes._Pairs(said, directions @ directions.T, lexicon.unshared(), examples.targets, LABELS)
    found = pairs._left_out(pairs._parts(0.6), 0.4)
    wanted = np.eye(LABELS)[examples.targets]
    similar = 0.6 * said + 0.4 * pairs.meant
    for row in range(len(wanted)):
        others = np.arange(len(wanted)) != row
        weights = np.linalg.solve(similar[np.ix_(others, others)] + 0.4 * np.eye(others.sum()), (wanted - wanted.mean(0))[others])
        asked = 0.6 * said[row, others] * lexicon.unshared()[row] + 0.4 * pairs.meant[row, others]
        np.testing.assert_allclose(found[row], asked @ weights + wanted.mean(0), atol=1e-9)


def test_a_head_says_what_its_examples_would_get_had_it_not_seen_them(encoder, examples):
    """Against heads of all examples but one: their n-grams' rarities and their center differ a little, by that one."""
    head = fit_prototypes(encoder, examples, LABELS).head
    logits, targets = left_out(encoder, head)
    assert np.array_equal(targets, examples.targets)
    ids = [examples.encoded.ids[a:b] for a, b in itertools.pairwise(examples.encoded.starts)]
    alone = []
    for row in range(len(ids)):
        others = labelled(ids[:row] + ids[row + 1 :], np.delete(examples.targets, row))
        made = fit_prototypes(encoder, others, LABELS, balance=head.balance).head
        alone.append(logits_of(encoder, made, labelled([ids[row]], [0]))[0])
    assert np.abs(logits - alone).mean() < 0.05 * np.abs(logits).mean()
    assert (logits.argmax(1) == np.argmax(alone, 1)).mean() > 0.9
    assert np.abs(logits_of(encoder, head, examples) - alone).mean() > 4 * np.abs(logits - alone).mean(), "it does know what it has seen"


def test_examples_that_were_learnt_by_heart_are_not_asked(encoder, examples):
    assert left_out(encoder, fit_prototypes(encoder, examples, LABELS, balance=Balance(0.5, 0.4, 2.0)).head) is None
    assert left_out(encoder, PrototypeHead(8, 2)) is None
    assert left_out(encoder, None) is None


def test_what_no_other_example_has_is_unknown_when_one_is_left_out():
    examples = labelled([np.array([1, 7, 8, 2]), np.array([1, 7, 9, 2]), np.array([1, 5, 2])], [0, 1, 0])
    lexicon = prototypes._lexicon(examples.encoded)
    common, own = np.log(4 / 3) + 1, np.log(4 / 2) + 1
    np.testing.assert_allclose(lexicon.unshared(), [np.sqrt(common**2 + 2 * own**2) / common] * 2 + [0.0], rtol=1e-6)


def test_blocks_of_features_add_up(encoder, examples, monkeypatch):
    whole = fit_prototypes(encoder, examples, LABELS).head
    monkeypatch.setattr(prototypes, "_CELLS", 7 * len(examples.targets))
    for name, tensor in fit_prototypes(encoder, examples, LABELS).head.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_the_rarest_n_grams_are_left_out_where_there_are_too_many(encoder, examples, monkeypatch):
    monkeypatch.setattr(prototypes, "MOST_GRAMS", 20)
    head = fit_prototypes(encoder, examples, LABELS).head
    assert head.sizes.grams == 20
    assert head.rarity.max() <= fit_prototypes(encoder, examples, LABELS).head.rarity.max()
    assert np.isfinite(logits_of(encoder, head, examples)).all()


def test_examples_choose_the_balance_with_the_least_error_when_left_out(encoder, examples):
    left = fit_prototypes(encoder, examples, LABELS).left
    for share in prototypes.SHARES:
        for ridge in prototypes.RIDGES:
            assert left.error <= fit_prototypes(encoder, examples, LABELS, balance=Balance(share, ridge, 1.0)).left.error + 1e-9
    assert 0 <= left.accuracy <= 1


def test_padded_texts_get_the_same_logits(encoder, examples):
    head = fit_prototypes(encoder, examples, LABELS).head
    texts = labelled([np.array(ids) for ids in ([1, 2], [1, 59, 2], [1, 7, 7, 7, 9, 2], [1, *range(5, 33), 2])], [0] * 4)
    inputs = [torch.from_numpy(part) for part in pad(texts.encoded, np.arange(4), pad_id=0)]
    with torch.inference_mode():
        dense = DenseModel(encoder, head)(*inputs)
        packed = to_tensors(pack(texts.encoded, np.arange(4)))
        torch.testing.assert_close(head(encoder(packed), packed), dense, rtol=1e-5, atol=1e-5)
        alone = DenseModel(encoder, head)(*(part[:1, :2] for part in inputs))
    torch.testing.assert_close(alone, dense[:1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dense[0], head.bias, rtol=1e-5, atol=1e-6)  # a text without a token says nothing


def test_hundreds_of_equal_n_grams_are_added_exactly(encoder, examples):
    """One after another in float32 they all round to the same side."""
    head = fit_prototypes(encoder, examples, LABELS).head
    text = labelled([np.array([1, *[int(examples.encoded.ids[1])] * 2000, 2])], [0])
    inputs = [torch.from_numpy(part) for part in pad(text.encoded, np.arange(1), pad_id=0)]
    packed, hidden = to_tensors(pack(text.encoded, np.arange(1))), torch.zeros(2002, 24)
    with torch.inference_mode():
        exact = copy.deepcopy(head).double()(hidden.double(), packed).float()
        torch.testing.assert_close(head(hidden, packed), exact, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            head.dense(hidden[None].repeat(2, 1, 1), *(part.repeat(2, 1) for part in inputs[:2])), exact.repeat(2, 1), rtol=1e-6, atol=1e-6
        )


def test_means_leave_out_the_special_tokens(batch):
    packed = batch([4, 2, 3])
    hidden = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    means, seen = content_means(hidden, packed)
    torch.testing.assert_close(means, torch.stack([hidden[1:3].mean(0), torch.zeros(5), hidden[7]]))
    assert seen.flatten().tolist() == [2, 0, 1]


def test_equal_examples_give_equal_bits_and_the_head_gives_them_back(encoder, examples):
    one, other = (fit_prototypes(encoder, examples, LABELS).head for _ in range(2))
    assert native.weights_digest(encoder, one) == native.weights_digest(encoder, other)
    held = examples_of(one)
    assert np.array_equal(held.encoded.ids, examples.encoded.ids)
    assert np.array_equal(held.encoded.starts, examples.encoded.starts)
    assert np.array_equal(held.targets, examples.targets)


def test_a_head_of_the_same_form_takes_the_weights(encoder, examples):
    head = fit_prototypes(encoder, examples, LABELS, balance=Balance(0.25, 0.1, 8.0)).head
    again = prototype_head(head.form, width=24, labels=LABELS)
    again.load_state_dict(head.state_dict())
    assert again.balance == head.balance
    assert np.array_equal(logits_of(encoder, head, examples), logits_of(encoder, again, examples))
    assert not list(head.parameters()), "nothing here is learnt by steps"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "neighbours"}, "kind"),
        ({"version": 1}, "version"),
        ({"grams": 0}, "grams"),
        ({"grams": 10**9}, "grams"),
        ({"examples": -1}, "examples"),
        ({"tokens": True}, "tokens"),
        ({"more": 1}, "expected kind"),
        ({"balance": {"share": 2, "ridge": 1, "scale": 1}}, "balance"),
        ({"balance": {"share": 0.5, "ridge": 0, "scale": 1}}, "balance"),
        ({"balance": 3}, "balance"),
        ({"learnt": 1}, "learnt"),
    ],
    ids=str,
)
def test_a_form_that_is_none_is_refused(change, message):
    form = PrototypeHead(8, 2).form | change
    assert any(message in problem for problem in form_problems(form))
    with pytest.raises(InputError, match=message):
        prototype_head(form, width=8, labels=2)
    assert form_problems(PrototypeHead(8, 2).form) == []
    assert form_problems([]) != []


def test_too_many_or_no_examples_are_refused(examples):
    with pytest.raises(DataError, match="finetune"):
        fit_vectors(np.zeros((0, 4), np.float32), labelled([], []), 2)
    many = Labelled(examples.encoded, np.zeros(5000, np.int64))
    with pytest.raises(DataError, match="5,000"):
        fit_vectors(np.zeros((5000, 4), np.float32), many, 2)


def test_examples_without_a_token_make_a_head_that_knows_nothing(encoder):
    head = fit_prototypes(encoder, labelled([np.array([1, 2])] * 4, [0, 1, 0, 1]), 2).head
    assert np.isfinite(logits_of(encoder, head, make(3, seed=0))).all()


def test_a_vocabulary_too_large_for_n_grams_is_refused(encoder):
    with pytest.raises(InputError, match="vocabularies"):
        PrototypeHead(8, 2).attach(type("Large", (), {"config": type("Config", (), {"vocab": 1 << 22})})())  # type: ignore[arg-type]
    PrototypeHead(8, 2).attach(encoder)


def test_the_contrastive_loss_is_that_of_the_formula(batch):
    packed, head = batch([4, 3, 5, 4, 3]), ContrastiveHead(6, 3)
    hidden = torch.randn(19, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 0, 0, 2])
    directions = head(hidden, packed)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(5))
    slow = []
    for i in range(5):
        others = [j for j in range(5) if j != i]
        below = sum(torch.exp(directions[i] @ directions[j] / TEMPERATURE) for j in others)
        same = [j for j in others if targets[j] == targets[i]]
        terms = [-torch.log(torch.exp(directions[i] @ directions[j] / TEMPERATURE) / below) for j in same]
        slow.append(sum(terms) / len(same) if same else torch.tensor(0.0))
    torch.testing.assert_close(head.loss(directions, targets), torch.stack(slow))
    with pytest.raises(TypeError, match="neither"):
        head.loss(directions, targets, label_smoothing=0.1)
    for alone in (ContrastiveHead(6, 3), PrototypeHead(6, 3)):
        with pytest.raises(TypeError, match="packed batch"):
            alone(hidden)


def test_a_batch_without_company_has_no_loss_and_finite_gradients(batch):
    hidden = torch.randn(7, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
    head = ContrastiveHead(6, 3)
    losses = head.loss(head(hidden, batch([4, 3])), torch.tensor([0, 1]))
    losses.sum().backward()
    assert losses.tolist() == [0, 0]
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()
