"""What the paper and the book page claim about label smoothing, each sentence in our own words.

"P" is section 7 of Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*,
2016 (arXiv 1512.00567); "B" is the passage on label smoothing in Howard and Gugger, *Deep Learning
for Coders with fastai and PyTorch*, 2020, chapter 7. The last chapter lists what came of each.
"""

from __future__ import annotations

__all__ = ["CLAIMS"]

CLAIMS: dict[str, str] = {
    "P1": "Smoothing has the average effect of randomly replacing labels during training",
    "P2": "Softmax turns logits into probabilities; logits are log-probabilities up to a constant",
    "P3": "The target may be any distribution over the classes",
    "P4": "The cross-entropy is the expected negative log-likelihood of a label from the target",
    "P5": "The loss is differentiable in the logits",
    "P6": "Its gradient is output minus target, p - q",
    "P7": "Every entry of the gradient is between -1 and 1",
    "P8": "With a one-hot target, the loss is the negative log-likelihood of the right label",
    "P9": "The log-likelihood is largest when the prediction puts everything on the right label",
    "P10": "No finite logits reach that maximum",
    "P11": "It is approached when the right logit is far above all the others",
    "P12": "Certainty about every training label does not promise generalisation",
    "P13": "Training drives the right logit ever further away from the others",
    "P14": "A large gap and a bounded gradient make the model slow to adapt",
    "P15": "This happens because the model becomes over-confident",
    "P16": "Smoothing gives up likelihood on the training labels in exchange for regularisation",
    "P17": "The smoothed target mixes the target with a fixed distribution, (1-eps) q + eps u",
    "P18": "It is the distribution of a label that is redrawn from u with probability eps",
    "P19": "The prior over the labels is a sensible u; the paper uses the uniform one",
    "P20": "It keeps the right logit from running away, because every target has a positive floor",
    "P21": "The smoothed loss is (1-eps) times the old loss plus eps times the loss against u",
    "P22": "The second loss counts eps/(1-eps) as much as the first",
    "P23": "The second loss is the divergence of the prediction from u, up to a constant",
    "P24": "A penalty on negative entropy is similar, but not the same",
    "P25": "With eps = 0.1 and 1000 classes ImageNet errors fell by about 0.2 percentage points",
    "B1": "With N classes the zeros become eps/N and the one becomes 1 - eps + eps/N",
    "B2": "The one-hot vectors never have to be built",
    "B3": "The unreachable maximum is the label value 1",
    "B4": "Only an infinite activation gives exactly 1 after a sigmoid or softmax",
    "B5": "To come close, the right activation has to be far above the others",
    "B6": "Large activations mean large weights",
    "B7": "Large weights make a bumpy function",
    "B8": "A single pixel could then change the prediction entirely",
    "B9": "At 0.999 there is still a gradient, so training keeps pushing",
    "B10": "The longer the training, the more extreme the activations",
    "B11": "The steps of gradient descent stay bounded, because the gradient is",
    "B12": "Such a model is hard to adapt in transfer learning",
    "B13": "Smoothing makes training robust to wrong labels and improves generalisation",
    "B14": "Mixup removes the problem, because its labels are rarely 0 or 1",
}
"""Claims by their number."""
