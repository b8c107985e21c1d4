import Diagnostics
import Checkpoints
import Recipes
import TestSupport
import Training
import Foundation
import OrderedJSON
import Tensors
import Testing

/// Optimizers compared with those of torch, transformers and bitsandbytes; see Tests/Goldens/generators/optimizers.py
/// and quantization.py.
@Suite struct UpdateRuleTests {
  static let backend = CPUBackend.shared

  /// Parameters of these shapes, by the formula of the goldens. Their names are such that weight decay applies to all.
  static func parameters(_ shapes: JSONObject) -> [Parameter] {
    shapes.members.map { name, shape in
      let sizes = shape.doubles.map { Int($0) }
      let values = Formula.values(name, count: sizes.reduce(1, *), scale: 1)
      return Parameter(name: "\(name).w", value: backend.tensor(values, sizes), isTrainable: true)
    }
  }

  static func setGradients(_ parameters: [Parameter], step: Int) {
    for parameter in parameters {
      let name = "\(parameter.name.dropLast(2)) \(step)"
      let values = Formula.values(name, count: parameter.value.count, scale: 0.1 / Double(step))
      parameter.gradient = backend.tensor(values, parameter.value.shape)
    }
  }

  static func values(_ parameter: Parameter) -> [Double] { backend.floats(parameter.value).map(Double.init) }

  @Test(arguments: [
    "sgd", "sgd_momentum", "sgd_nesterov", "adafactor", "adafactor_weight_decay", "lion", "lion_8bit",
    "muon", "schedule_free",
  ])
  func stepsEqualTheReference(_ name: String) throws {
    let run = try #require(try golden("optimizers/rules.json")["runs"]?[name])
    let settings = try #require(run["settings"])
    let arguments = try Recipe(
      yaml: """
        optim: \(try #require(run["optim"]?.string))
        optim_args: \(run["optim_args"]?.string.map { "'\($0)'" } ?? "null")
        learning_rate: \(try #require(settings["lr"]?.double))
        weight_decay: \(try #require(settings["weight_decay"]?.double))
        adam_beta1: \(settings["betas"]?.doubles.first ?? 0.9)
        adam_beta2: \(settings["betas"]?.doubles.last ?? 0.999)
        """
    ).training
    let parameters = Self.parameters(try #require(run["shapes"]?.object))
    let optimizer = try Optimizer(
      parameters, arguments.optimizer, warmupSteps: settings["warmup_steps"]?.integer ?? 0, on: Self.backend)
    var states = try #require(run["states"]?.array)[...]
    for step in 1...20 {
      _ = try optimizer.exchangeWeights(forEvaluation: false)
      Self.setGradients(parameters, step: step)
      optimizer.update(learningRate: arguments.learningRate, gradientScale: 1)
      guard states.first?["step"]?.integer == step, let state = states.popFirst() else { continue }
      // Of rules that average them, the weights to evaluate.
      #expect(try optimizer.exchangeWeights(forEvaluation: true) == (name == "schedule_free"))
      for parameter in parameters {
        let (ours, theirs) = (Self.values(parameter), try #require(state[String(parameter.name.dropLast(2))]))
        // Weights of up to 0.5 are exact to 6e-8, and Adafactor takes square roots.
        for (a, b) in zip(ours, theirs["first"]?.doubles ?? theirs.doubles) {
          #expect(abs(a - b) < 5e-7, "\(parameter.name) after step \(step)")
        }
        guard let norm = theirs["l2"]?.double else { continue }
        #expect(relativeError(ours.reduce(0) { $0 + $1 * $1 }.squareRoot(), norm) < 1e-5)
        #expect(abs(ours.reduce(0, +) - (theirs["sum"]?.double ?? .nan)) < 1e-2)
      }
    }
    #expect(states.isEmpty)
  }

  @Test func muonLeavesEmbeddingsAndVectorsToAdamW() throws {
    let shapes = [
      "model.embed_tokens.weight": [8, 4], "lm_head.weight": [8, 4], "model.norm.weight": [4],
      "model.layers.0.mlp.up_proj.weight": [8, 4],
    ]
    let parameters = shapes.map { name, shape in
      let values = Formula.values(name, count: shape.reduce(1, *), scale: 1)
      return Parameter(name: name, value: Self.backend.tensor(values, shape), isTrainable: true)
    }
    for parameter in parameters {
      let (name, shape) = (parameter.name, parameter.value.shape)
      let state = try OptimizerConfiguration(.muon).updateRule(for: name, shape: shape).state(for: shape).map(\.name)
      #expect(state == (name.contains("up_proj") ? ["momentum_buffer"] : ["exp_avg", "exp_avg_sq"]), "\(name)")
    }
  }

  @Test func embeddingsHaveTheirOwnLearningRate() throws {
    func steps(_ name: String, rate: Double, factor: Double) throws -> [Float] {
      let values = Formula.values("weight", count: 24, scale: 1)
      let parameter = Parameter(name: name, value: Self.backend.tensor(values, [6, 4]), isTrainable: true)
      let optimizer = try Optimizer(
        [parameter], OptimizerConfiguration(), embeddingRateFactor: factor, on: Self.backend)
      for step in 1...3 {
        parameter.gradient = Self.backend.tensor(Formula.values("\(step)", count: 24, scale: 0.1), [6, 4])
        optimizer.update(learningRate: rate, gradientScale: 1)
      }
      return Self.backend.floats(parameter.value)
    }
    let faster = try steps("model.layers.0.self_attn.q_proj.weight", rate: 0.04, factor: 1)
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
      #expect(try steps(name, rate: 0.01, factor: 4) == faster)
    }
    let other = try steps("model.layers.0.self_attn.q_proj.weight", rate: 0.01, factor: 4)
    #expect(other != faster)
    var configuration = TrainingConfiguration()
    configuration.learningRate = 1e-4
    #expect(configuration.embeddingRateFactor == 1)
    configuration.embeddingLearningRate = 1e-5
    #expect(abs(configuration.embeddingRateFactor - 0.1) < 1e-12)
  }

  // MARK: 8-bit AdamW

  static func adamW8Bit() throws -> (Optimizer, [Parameter], JSONValue) {
    let reference = try golden("quantization/adamw_8bit.json")
    var arguments = TrainingConfiguration()
    arguments.optimizer.kind = .adamW8Bit
    arguments.learningRate = try #require(reference["settings"]?["lr"]?.double)
    arguments.optimizer.weightDecay = try #require(reference["settings"]?["weight_decay"]?.double)
    let parameters = Self.parameters(try #require(reference["shapes"]?.object))
    return (try Optimizer(parameters, arguments.optimizer, on: backend), parameters, reference)
  }

  static let theirs = repository.appendingPathComponent("Tests/Goldens/quantization/adamw_8bit.safetensors")

  @Test func dynamicMapsEqualBitsAndBytes() throws {
    let file = try SafetensorsCheckpoint(contentsOf: Self.theirs)
    #expect(try DynamicMap.signed.values == Self.backend.floats(#require(file.tensor(named: "signed_map"))))
    #expect(try DynamicMap.unsigned.values == Self.backend.floats(#require(file.tensor(named: "unsigned_map"))))
  }

  /// A moment's levels relative to the largest magnitude of their block, and these magnitudes.
  static func shares(
    _ file: SafetensorsCheckpoint, _ codes: String, _ absmax: String, _ map: DynamicMap
  ) throws -> (shares: [Float], absmax: [Float]) {
    let bytes = try #require(file.tensor(named: codes)).withBytes { $0.map { map.values[Int($0)] } }
    return (bytes, backend.floats(try #require(file.tensor(named: absmax))))
  }

  /// bitsandbytes looks levels up in a table of 65,536 cells from −1 to 1. Near the midpoint of two levels, and where
  /// levels are closer than cells are wide, it may choose another level. Swiftlet chooses the nearest.
  ///
  /// - Parameter isFirstUse: whether no moment has been decoded from a different level before, which would add to the
  ///   error.
  /// - Returns: the fraction of elements with a different level.
  static func compare(_ ours: URL, step: Int, isFirstUse: Bool) throws -> Double {
    let (our, their) = (try SafetensorsCheckpoint(contentsOf: ours), try SafetensorsCheckpoint(contentsOf: theirs))
    var others = 0
    for (name, state, map) in [("exp_avg", "1", DynamicMap.signed), ("exp_avg_sq", "2", .unsigned)] {
      let a = try shares(our, "ragged.w.\(name)", "ragged.w.\(name).absmax", map)
      let b = try shares(their, "\(step).ragged.state\(state)", "\(step).ragged.absmax\(state)", map)
      for (x, y) in zip(a.absmax, b.absmax) { #expect(abs(x - y) <= 1e-6 * y) }
      for (x, y) in zip(a.shares, b.shares) where x != y {
        others += 1
        guard isFirstUse else { continue }
        let level = try #require(map.values.firstIndex(of: max(x, y)))
        #expect(map.values[level - 1] == min(x, y) || abs(x - y) < 2 / 65536, "\(name) of step \(step)")
      }
      let small = [our.tensor(named: "small.w.\(name)"), their.tensor(named: "\(step).small.state\(state)")]
      let (found, expected) = (backend.floats(try #require(small[0])), backend.floats(try #require(small[1])))
      // Up to 20 steps round a sum once each, by 6e-8 of its value at that time, which may have been larger than now.
      let largest = expected.map(abs).max() ?? 0
      for (x, y) in zip(found, expected) { #expect(abs(x - y) <= 1.2e-6 * largest) }
    }
    return Double(others) / Double(2 * 33 * 130)
  }

  static func parameterErrors(_ parameters: [Parameter], step: Int) throws -> (mean: Double, largest: Double) {
    let file = try SafetensorsCheckpoint(contentsOf: theirs)
    let errors = try parameters.filter { !$0.name.hasPrefix("wide") }.flatMap { parameter in
      let reference = try #require(file.tensor(named: "\(step).\(parameter.name.dropLast(2)).parameter"))
      return zip(values(parameter), backend.floats(reference)).map { abs($0 - Double($1)) }
    }
    return (errors.reduce(0, +) / Double(errors.count), errors.max() ?? .infinity)
  }

  @Test func eightBitStepsEqualBitsAndBytes() throws {
    let (optimizer, parameters, reference) = try Self.adamW8Bit()
    let file = try scratchFolder("adamw-8bit").appendingPathComponent("state.safetensors")
    defer { try? FileManager.default.removeItem(at: file.deletingLastPathComponent()) }
    for step in 1...20 {
      Self.setGradients(parameters, step: step)
      optimizer.update(learningRate: 0.01, gradientScale: 1)
      guard [1, 2, 20].contains(step) else { continue }
      try optimizer.write(to: file)
      #expect(try Self.compare(file, step: step, isFirstUse: step == 1) < 0.015)
      let errors = try Self.parameterErrors(parameters, step: step)
      // The first step decodes no moment; later, an element with a different level moves by a fraction of the rate,
      // 0.01.
      #expect(errors.largest < (step == 1 ? 1e-7 : 5e-3) && errors.mean < (step == 1 ? 1e-8 : 2e-5))
      let log = try #require(reference["steps"]?.array?.first { $0["step"]?.integer == step }?["wide"])
      let wide = Self.values(parameters[0])
      #expect(relativeError(wide.reduce(0) { $0 + $1 * $1 }.squareRoot(), log["l2"]?.double ?? 0) < 2e-5)
    }
  }

  /// Starts from bitsandbytes' state after the first step, so that only arithmetic can differ.
  @Test func eightBitStepFromBitsAndBytesState() throws {
    let (optimizer, parameters, _) = try Self.adamW8Bit()
    let file = try SafetensorsCheckpoint(contentsOf: Self.theirs)
    let url = try scratchFolder("adamw-8bit-state").appendingPathComponent("state.safetensors")
    defer { try? FileManager.default.removeItem(at: url.deletingLastPathComponent()) }
    Self.setGradients(parameters, step: 1)
    optimizer.update(learningRate: 0.01, gradientScale: 1)
    try optimizer.write(to: url)
    let ours = try SafetensorsCheckpoint(contentsOf: url)
    let theirNames = [
      "ragged.w.exp_avg": "state1", "ragged.w.exp_avg.absmax": "absmax1", "ragged.w.exp_avg_sq": "state2",
      "ragged.w.exp_avg_sq.absmax": "absmax2",
    ]
    let tensors = try ours.tensorNames.map { name in
      let tensor = theirNames[name].flatMap { file.tensor(named: "1.ragged.\($0)") } ?? ours.tensor(named: name)
      return TensorSource(name: name, tensor: try #require(tensor))
    }
    let mixed = url.deletingLastPathComponent().appendingPathComponent("mixed.safetensors")
    try SafetensorsWriter.write(tensors, metadata: ["step": "1"], to: mixed)
    try optimizer.read(from: mixed)
    Self.setGradients(parameters, step: 2)
    optimizer.update(learningRate: 0.01, gradientScale: 1)
    #expect(try Self.parameterErrors(parameters, step: 2).largest < 1.5e-7)
    try optimizer.write(to: url)
    #expect(try Self.compare(url, step: 2, isFirstUse: true) < 0.01)
  }

  // MARK: Settings

  @Test func contradictorySettingsAreRejected() throws {
    #expect {
      try Recipe(yaml: "optim: adamw_8bit\noptim_args: momentum=0.9")
    } throws: { "\($0)".contains("optim_args belongs to sgd") }
    for text in ["momentum", "momentum=x", "mass=1", "momentum=1", "nesterov=true", "weight_decay=0.1"] {
      #expect(throws: SwiftletError.self, "\(text)") { try Recipe(yaml: "optim: sgd\noptim_args: \(text)") }
    }
    #expect(throws: SwiftletError.self) { try Recipe(yaml: "optim: galore_adamw") }
    let spelled = try Recipe(yaml: "optim: sgd\noptim_args: {momentum: 0.5, nesterov: true}").training.optimizer
    #expect(spelled.momentum == 0.5 && spelled.nesterov)
    // Errors name the members of Swift types.
    var wrong = OptimizerConfiguration(.lion)
    wrong.momentum = 0.9
    #expect(TinyTrainer.message { _ = try Optimizer([], wrong, on: Self.backend) }.contains("`momentum`"))
    wrong = OptimizerConfiguration(.sgd)
    wrong.nesterov = true
    #expect(TinyTrainer.message { _ = try Optimizer([], wrong, on: Self.backend) }.contains("`nesterov`"))
  }

  @Test func pagedStateLeavesNothingBehind() throws {
    let folder = try scratchFolder("paged")
    defer { try? FileManager.default.removeItem(at: folder) }
    var arguments = TrainingConfiguration()
    arguments.optimizer.kind = .pagedAdamW8Bit
    let parameters = try Self.adamW8Bit().1
    let optimizer = try Optimizer(parameters, arguments.optimizer, on: Self.backend, pagesIn: folder)
    Self.setGradients(parameters, step: 1)
    optimizer.update(learningRate: 0.01, gradientScale: 1)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    let text = TinyTrainer.message {
      let file = folder.appendingPathComponent("file")
      try Data().write(to: file)
      _ = try Optimizer(parameters, arguments.optimizer, on: Self.backend, pagesIn: file)
    }
    #expect(text.contains("`optimizer`: paged_adamw_8bit") && text.contains("without paged_"), "\(text)")
  }
}
