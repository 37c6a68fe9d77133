/* The mathematics of the playground: softmax, the label-smoothed cross-entropy, free logits.
 *
 * Plain functions on arrays of numbers, the same formulas as the library's and held equal to it by
 * the tests. In a page they are window.smoothing; in Node, require("./smoothing.js").
 */
(function (root) {
  "use strict";

  /** Probabilities from logits; the largest logit comes off first, so nothing overflows. */
  function softmax(logits) {
    const largest = Math.max(...logits);
    const weights = logits.map((z) => Math.exp(z - largest));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / total);
  }

  /** The smoothed target q': 1 - epsilon at the label, epsilon shared by all the classes. */
  function smoothedTargets(target, numClasses, epsilon) {
    const share = epsilon / numClasses;
    return Array.from({ length: numClasses }, (_, k) => (k === target ? 1 - epsilon : 0) + share);
  }

  /** Plain cross-entropy in nats, with all its digits for a confident right answer. */
  function hardLoss(logits, target) {
    const others = logits.filter((_, k) => k !== target);
    const top = Math.max(...others, logits[target]);
    if (top === logits[target]) {
      return Math.log1p(others.reduce((sum, z) => sum + Math.exp(z - top), 0));
    }
    const total = logits.reduce((sum, z) => sum + Math.exp(z - top), 0);
    return top - logits[target] + Math.log(total);
  }

  /** Cross-entropy under q': the plain one plus epsilon times (z_y - mean logit). */
  function loss(logits, target, epsilon) {
    const mean = logits.reduce((a, b) => a + b, 0) / logits.length;
    return hardLoss(logits, target) + epsilon * (logits[target] - mean);
  }

  /** p - q'; the entry at the label is minus the sum of the others, which cancels nothing. */
  function gradient(logits, target, epsilon) {
    const probs = softmax(logits);
    const share = epsilon / logits.length;
    const grad = probs.map((p) => p - share);
    let others = 0;
    probs.forEach((p, k) => {
      if (k !== target) others += p;
    });
    grad[target] = share * (logits.length - 1) - others;
    return grad;
  }

  /** H(q'), the least value of the smoothed loss. */
  function lossFloor(numClasses, epsilon) {
    const surprise = (q) => (q > 0 ? -q * Math.log(q) : 0);
    const share = epsilon / numClasses;
    return surprise(1 - epsilon + share) + (numClasses - 1) * surprise(share);
  }

  /** The gap at which the smoothed gradient vanishes; infinite without smoothing. */
  function restingGap(numClasses, epsilon) {
    return epsilon === 0 ? Infinity : Math.log((numClasses * (1 - epsilon)) / epsilon + 1);
  }

  /** How far the label's logit stands above the mean of the others. */
  function meanGap(logits, target) {
    const total = logits.reduce((a, b) => a + b, 0);
    return logits[target] - (total - logits[target]) / (logits.length - 1);
  }

  /** Logits after some steps of gradient descent on them; the argument is left as it is. */
  function descend(logits, target, epsilon, rate, steps) {
    let current = logits.slice();
    for (let step = 0; step < steps; step += 1) {
      const grad = gradient(current, target, epsilon);
      current = current.map((z, k) => z - rate * grad[k]);
    }
    return current;
  }

  /** The most probable class, the first one of equals. */
  function argmax(values) {
    return values.indexOf(Math.max(...values));
  }

  /** Steps until the label is the single most probable class, at most `limit`. */
  function stepsToLearn(logits, target, epsilon, rate, limit) {
    let current = logits;
    for (let step = 0; step < limit; step += 1) {
      if (leads(current, target)) return step;
      current = descend(current, target, epsilon, rate, 1);
    }
    return limit;
  }

  /** Whether a class stands strictly above all the others. */
  function leads(logits, target) {
    return logits.every((z, k) => k === target || z < logits[target]);
  }

  const smoothing = {
    argmax,
    descend,
    gradient,
    hardLoss,
    leads,
    loss,
    lossFloor,
    meanGap,
    restingGap,
    smoothedTargets,
    softmax,
    stepsToLearn,
  };
  if (typeof module !== "undefined" && module.exports) module.exports = smoothing;
  else root.smoothing = smoothing;
})(typeof window === "undefined" ? globalThis : window);
