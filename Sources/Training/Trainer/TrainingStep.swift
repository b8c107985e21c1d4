import Diagnostics
import Datasets
import Models
import Tensors

/// The computation of one optimizer step, and of an evaluation: forward, loss, backward, clipping.
package struct TrainingStep {
  let transformer: Transformer
  let parameters: [Parameter]
  let arguments: TrainingArguments
  let checkpoints: CheckpointingPlan

  /// Accumulates the gradients of `batches`; the loss is the mean over all tokens that they predict together.
  /// - Throws: `SwiftletError` if the loss or the gradient is not a finite number.
  func gradients(_ batches: [TokenBatch], step: Int) throws(SwiftletError) -> (sums: LossSums, norm: Double) {
    var sums = LossSums()
    let targets = batches.reduce(0) { $0 + $1.targetCount }
    let sharesPrefix = transformer.sharesPrefix(arguments)
    for (index, rows) in batches.enumerated() {
      let batch = sharesPrefix ? rows.sharingPrefix() : rows
      let seed = UInt64(truncatingIfNeeded: arguments.seed) &* 1_000_003 &+ UInt64(step) &* 4099 &+ UInt64(index)
      let tape = Tape(
        on: transformer.backend, isRecording: true, dropoutSeed: seed, precision: arguments.precision)
      let hidden = transformer.hiddenStates(
        batch, on: tape, checkpointed: checkpoints.layers(tokens: batch.ids.count),
        // Masks draw from the seed itself.
        noise: arguments.neftuneNoiseAlpha.map { EmbeddingNoise(alpha: $0, seed: ~seed) })
      let found = tape.headLoss(
        hidden, head: transformer.head, targets: batch.targets, gradientScale: 1 / Float(max(1, targets)),
        softcap: transformer.configuration.logitSoftcap, smoothing: Float(arguments.labelSmoothing),
        weighsByProbability: arguments.lossType == .dft)
      guard found.loss.isFinite else { throw notFinite("loss", step, batch) }
      tape.backward()
      sums += found
    }
    let norm = gradientNorm()
    guard norm.isFinite else { throw notFinite("gradient", step, batches.last) }
    return (sums, norm)
  }

  /// The root of the sum of squares over all parameters.
  private func gradientNorm() -> Double {
    parameters.reduce(0.0) { sum, parameter in
      sum + (parameter.gradient.map { transformer.backend.sumOfSquares($0) } ?? 0)
    }.squareRoot()
  }

  private func notFinite(_ what: String, _ step: Int, _ batch: TokenBatch?) -> SwiftletError {
    for parameter in parameters { parameter.gradient = nil }
    let rows = (batch?.rows.prefix(8).map { String($0 + 1) } ?? []).joined(separator: ", ")
    return SwiftletError.training(
      "the \(what) is not a finite number at step \(step + 1), rows \(rows)\(layerWithBadValues()); nothing was saved "
        + "over the last good state; try a lower `learningRate`")
  }

  /// Names the first layer whose weights are no longer numbers, if that is the cause.
  private func layerWithBadValues() -> String {
    let bad = parameters.first { !transformer.backend.sumOfSquares($0.value).isFinite }
    return bad.map { ", weights of \($0.name)" } ?? ""
  }

  /// The loss of a batch without gradients; `collect` gets the rows and losses of predicted tokens.
  package static func loss(
    _ batch: TokenBatch, _ transformer: Transformer, collect: (([Int32], [Float]) -> Void)? = nil
  ) -> LossSums {
    let tape = Tape(on: transformer.backend, isRecording: false)
    let batch = collect == nil && transformer.canSharePrefix ? batch.sharingPrefix() : batch
    let hidden = transformer.hiddenStates(batch, on: tape)
    return tape.headLoss(
      hidden, head: transformer.head, targets: batch.targets, gradientScale: 1,
      softcap: transformer.configuration.logitSoftcap,
      collect: collect)
  }
}
