import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// Losses and regularization other than plain negative log-likelihood.
@Suite struct ObjectiveTests {
  /// Dynamic fine-tuning weights each token's loss by its probability p: the loss is the mean of −p ln p and, with p
  /// held constant, the gradient is that of the weighted likelihood.
  @Test func dynamicFineTuning() throws {
    let set = try TinyModel.rows(0..<4)
    let model = try TinyModel.model(inFloat32: true)
    let batch = set.batch(0..<4)
    var losses: [Float] = []
    let tape = Tape(on: model.transformer.backend, isRecording: false)
    _ = tape.linearCrossEntropy(
      model.transformer.hiddenStates(batch, on: tape), head: model.transformer.head, targets: batch.targets,
      gradientScale: 1
    ) { losses += $1 }
    let expected = losses.reduce(0.0) { $0 + Double($1) * exp(-Double($1)) } / Double(losses.count)

    func outcome(_ type: TrainingConfiguration.LossType) throws -> EquivalenceTests.Outcome {
      var arguments = TinyTrainer.arguments(batch: 4, steps: 1)
      arguments.lossType = type
      let trainer = try Trainer(
        TinyModel.model(inFloat32: true), adapter: nil, configuration: arguments, trainingSet: set)
      try trainer.train()
      return EquivalenceTests.Outcome(trainer)
    }
    let weighted = try outcome(.dft)
    #expect(relativeError(weighted.losses[0], expected) < 1e-6)
    #expect(try outcome(.nll).isSame(as: outcome(.chunkedNLL)))
    // All weights p are below 1.
    #expect(try weighted.norms[0] < outcome(.nll).norms[0])
  }

  /// With a single predicted token, the gradient is p times that of the plain loss.
  @Test func dynamicFineTuningScalesTheGradient() throws {
    let set = try TinyModel.rows(7..<8)
    #expect(set.batch(0..<1).targetCount == 1)
    func outcome(_ type: TrainingConfiguration.LossType) throws -> EquivalenceTests.Outcome {
      var arguments = TinyTrainer.arguments(batch: 1, steps: 1)
      arguments.lossType = type
      let model = try TinyModel.model()
      let trainer = try Trainer(
        model, adapter: TinyModel.adapter("lora", on: model), configuration: arguments, trainingSet: set)
      try trainer.train()
      return EquivalenceTests.Outcome(trainer)
    }
    let (plain, weighted) = (try outcome(.nll), try outcome(.dft))
    let probability = exp(-plain.losses[0])
    #expect(relativeError(weighted.losses[0], plain.losses[0] * probability) < 1e-6)
    #expect(relativeError(weighted.norms[0], plain.norms[0] * probability) < 1e-5)
  }

  @Test func neftuneNoise() throws {
    func outcome(_ alpha: Double?, seed: Int = 1, activationBudget: Int = .max) throws -> EquivalenceTests.Outcome {
      var arguments = TinyTrainer.arguments(batch: 4, steps: 3, seed: seed)
      arguments.neftuneNoiseAlpha = alpha
      let trainer = try Trainer(
        TinyModel.model(inFloat32: true), adapter: nil, configuration: arguments, trainingSet: TinyModel.rows(),
        activationBudget: activationBudget)
      try trainer.train()
      // Noise applies only in training.
      let set = try TinyModel.rows(0..<4)
      let loss = try trainer.evaluate(set).loss
      #expect(try trainer.evaluate(set).loss == loss)
      return EquivalenceTests.Outcome(trainer)
    }
    let plain = try outcome(nil)
    #expect(try plain.isSame(as: outcome(0)))
    let noisy = try outcome(5)
    #expect(!noisy.isSame(as: plain))
    #expect(try noisy.isSame(as: outcome(5, activationBudget: 0)))
    // A little noise changes the loss a little.
    #expect(relativeError(try outcome(1e-3).losses[0], plain.losses[0]) < 1e-3)
  }
}
