import Datasets
import Diagnostics
import Models
import Tensors

/// The computation of one optimizer step: forward, loss and backward passes, and the gradient norm.
package struct TrainingStep {
  let transformer: Transformer
  let parameters: [Parameter]
  let configuration: TrainingConfiguration
  let loss: any TrainingLoss
  let checkpoints: CheckpointingPlan
  /// The model that the loss compares with, if it needs one.
  let reference: ReferenceModel?
  /// The model whose predictions are learned, if there is one.
  let teacher: Transformer?
  /// The other ranks of the run; `nil` if there is one process.
  let parallelism: DataParallelism?

  /// How much the routers' auxiliary loss counts; 0 for a model or method without it.
  private var routerLossCoefficient: Double {
    configuration.routerLossCoefficient(transformer.configuration.experts)
  }

  /// The names of everything that may be in the metrics of the sums.
  var metricNames: [String] { loss.metricNames + (routerLossCoefficient == 0 ? [] : [LossSums.routerLossName]) }

  /// Accumulates the gradients of `batches`, over all ranks. Each counts by the weight that the loss gives it.
  /// - Throws: `SwiftletError` if the loss or the gradient is not finite.
  func gradients(_ batches: [TokenBatch], step: Int) throws -> (sums: LossSums, norm: Double) {
    let backend = transformer.backend
    var sums: [LossSums] = []
    var (weight, count) = (batches.reduce(0) { $0 + loss.weight(of: $1) }, batches.count)
    if let parallelism {
      let all = try parallelism.sum([Double(weight), Double(count)])
      (weight, count) = (Int(all[0]), Int(all[1]))
      parallelism.clearGradients()
    }
    let ranks = parallelism?.collective.size ?? 1
    let rank = parallelism?.collective.rank ?? 0
    let sharesPrefix = transformer.sharesPrefix(configuration)
    for (index, batch) in batches.enumerated() {
      let seed =
        UInt64(truncatingIfNeeded: configuration.seed) &* 1_000_003 &+ UInt64(step) &* 4099
        &+ UInt64(index * ranks + rank)
      let tape = Tape(
        on: backend, isRecording: true, dropoutSeed: seed, precision: configuration.precision,
        appliesDropout: !configuration.disablesDropout)
      if let parallelism, index == batches.count - 1 { tape.passed = { parallelism.passed(layer: $0) } }
      let routerLosses = routerLosses(share: 1 / Double(count), weight: weight)
      var found = try loss.compute(
        TrainingPass(
          batch: batch, model: transformer, tape: tape, gradientScale: 1 / Float(max(1, weight)),
          checkpoints: checkpoints,
          // Dropout masks use the seed itself.
          noise: configuration.neftuneNoiseAlpha.map { NEFTuneNoise(alpha: $0, seed: ~seed) },
          sharesPrefix: sharesPrefix, reference: reference, teacher: teacher,
          sequencesPerItem: configuration.rowKind.sequences, routerLosses: routerLosses))
      routerLosses?.add(to: &found)
      sums.append(found)
      tape.backward()
    }
    try parallelism?.sumGradients()
    // All work has been enqueued. Only the next two calls wait for a device.
    let norm = try gradientNorm()
    LossSums.resolve(&sums, on: backend)
    try backend.check()
    for (batch, found) in zip(batches, sums) where !found.loss.isFinite { throw notFinite("loss", step, batch) }
    guard norm.isFinite else { throw notFinite("gradient", step, batches.last) }
    return (sums.reduce(into: LossSums()) { $0 += $1 }, norm)
  }

  /// What collects the routers' auxiliary losses of a batch; `nil` if they don't count.
  /// - Parameters:
  ///   - share: the batch's share of the mean over batches.
  ///   - weight: the weight of all of these batches.
  private func routerLosses(share: Double, weight: Int) -> RouterLosses? {
    let coefficient = routerLossCoefficient
    guard coefficient != 0 else { return nil }
    let scale = configuration.minimizesRouterLoss ? coefficient * share : 0
    return RouterLosses(gradientScale: scale, weight: scale * Double(weight))
  }

  /// The L2 norm over the gradients of all parameters.
  private func gradientNorm() throws(SwiftletError) -> Double {
    if let parallelism { return try parallelism.sumOfSquaredGradients().squareRoot() }
    return transformer.backend.sumOfSquares(parameters.compactMap(\.gradient)).squareRoot()
  }

  private func notFinite(_ what: String, _ step: Int, _ batch: TokenBatch?) -> SwiftletError {
    for parameter in parameters { parameter.gradient = nil }
    let rows = (batch?.rows.prefix(8).map { String($0 + 1) } ?? []).joined(separator: ", ")
    return SwiftletError.training(
      "the \(what) is not a finite number at step \(step + 1), rows \(rows)\(layerWithBadValues()); "
        + "the last checkpoint is intact, so resume from it with a lower `learningRate`")
  }

  /// Names the first parameter whose values are no longer finite, if that is the cause.
  private func layerWithBadValues() -> String {
    let bad = parameters.first { !transformer.backend.sumOfSquares($0.value).isFinite }
    return bad.map { ", in the weights of \($0.name)" } ?? ""
  }

  /// The validation loss of a batch.
  func validate(_ batch: TokenBatch) throws -> LossSums {
    let routerLosses = routerLosses(share: 1, weight: loss.weight(of: batch))
    var sums = try loss.validate(evaluationPass(batch, routerLosses))
    routerLosses?.add(to: &sums)
    return sums
  }

  private func evaluationPass(_ batch: TokenBatch, _ routerLosses: RouterLosses? = nil) -> TrainingPass {
    TrainingPass(
      evaluating: batch, transformer, reference: reference, teacher: teacher,
      sequencesPerItem: configuration.rowKind.sequences, routerLosses: routerLosses)
  }

  /// The log-probability of each predicted token of each sequence of a batch, as training computes it.
  func logProbabilities(of batch: TokenBatch, temperature: Float) -> [[Float]] {
    let pass = TrainingPass(
      batch: batch, model: transformer,
      tape: Tape(on: transformer.backend, isRecording: false, precision: configuration.precision), gradientScale: 1,
      checkpoints: nil, noise: nil, sharesPrefix: transformer.sharesPrefix(configuration), reference: nil,
      sequencesPerItem: 1)
    let predictions = pass.silentPredictions(temperature: temperature)
    return predictions.ranges.map { Array(predictions.tokens.logProbabilities[$0]) }
  }

  /// Fills in the reference's log-probability of every sequence of `set`, whose items are sequences of their own.
  func precomputeReference(of set: inout TrainingSet, batchSize: Int) {
    guard let loss = loss as? any ReferenceLoss else { return }
    var found = [Double](repeating: 0, count: set.documentCount)
    for start in stride(from: 0, to: set.items.count, by: max(1, batchSize)) {
      let items = start..<min(set.items.count, start + max(1, batchSize))
      let pass = evaluationPass(set.batch(items))
      let documents = set.items[items].flatMap { $0.map { set.document(at: $0.lowerBound) } }
      for (document, value) in zip(documents, loss.referenceLogProbabilities(pass)) { found[document] = value }
    }
    set.referenceLogProbabilities = found
  }

  /// The negative log-likelihood of a batch, without gradients.
  /// - Parameter collect: called with the rows of predicted tokens and their losses in nats.
  package static func loss(
    _ batch: TokenBatch, _ transformer: Transformer, collect: (([Int32], [Float]) -> Void)? = nil
  ) -> LossSums {
    let tape = Tape(on: transformer.backend, isRecording: false)
    let batch = collect == nil && transformer.canSharePrefix ? batch.sharingPrefix() : batch
    let hidden = transformer.hiddenStates(batch, on: tape)
    return tape.linearCrossEntropy(
      hidden, head: transformer.head, targets: batch.targets, gradientScale: 1,
      softcap: transformer.configuration.logitSoftcap, collect: collect)
  }
}
