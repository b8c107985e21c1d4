import Recipes
import TestSupport
import Training
import Foundation
import Models
import OrderedJSON
import Tensors
import Testing

/// Ten or twenty steps of TRL's Trainer on the tiny Llama: see Tests/Goldens/generators/training.py.
///
/// The reference's own rounding moves losses and gradient norms by 1e-6 and trained tensors by 5e-7; the tolerances are
/// ten times that.
@Suite struct TrainingGoldenTests {
  static let runs = [
    "full", "full_warmup", "full_weight_decay", "full_no_clip", "full_dft", "full_smoothing", "lora",
    "lora_weight_decay", "lora_patterns", "lora_adafactor", "lora_adafactor_from_zero", "lora_saved_linear",
    "lora_saved_blocks", "lora_tied_head", "lora_tied_embedding", "lora_plus", "dora", "lora_bias", "lora_tokens",
    "lora_tied_tokens", "lora_tied_tokens_apart", "schedule_free", "full_twenty", "lora_twenty",
    "lora_experts", "lora_experts_gpt_oss", "lora_experts_granite", "router_full", "router_mixed", "router_gpt_oss",
    "router_granite", "router_lora", "router_smoothing",
  ]

  @Test(arguments: runs) func runEqualsTRL(_ name: String) throws {
    try Self.checkRun(name, on: CPUBackend.shared)
  }

  /// 8-bit moments with the nearest level, as bitsandbytes finds it on a GPU. A moment within rounding of the middle
  /// between two levels may take the other one, which moves its weight by a level: weights are compared less closely.
  @Test func trainingWithEightBitMomentsEqualsTRL() throws {
    let reference = try golden("training/full_adamw_8bit/golden.json")
    let trainer = try Trainer(
      TinyModel.model(inFloat32: true), adapter: nil, configuration: Self.arguments(reference),
      trainingSet: TinyModel.rows())
    try trainer.train()
    try Self.checkLog(trainer, reference)
  }

  /// - Parameter lossTolerance: if given, products are rounded to 16 bits where `backend` multiplies these faster, and
  ///   only losses are compared, with this tolerance.
  static func checkRun(_ name: String, on backend: any Backend, lossTolerance: Double? = nil) throws {
    let reference = try golden("training/\(name)/golden.json")
    let adapterPath = reference["adapter"]?.string
    let base = try #require(reference["base"]?.string).replacingOccurrences(of: "models/", with: "")
    let model = try TinyModel.model(base, inFloat32: adapterPath == nil, on: backend)
    let adapter = try adapterPath.map {
      try Adapter(reading: TinyModel.folder.appendingPathComponent($0), onto: model.transformer)
    }
    var configuration = try Self.arguments(reference)
    configuration.bf16 = lossTolerance != nil
    let trainer = try Trainer(model, adapter: adapter, configuration: configuration, trainingSet: TinyModel.rows())
    try trainer.train()
    if let lossTolerance {
      let losses = trainer.state.logHistory.compactMap { $0["loss"]?.double }
      let expected = try #require(reference["steps"]?.array).compactMap { $0["loss"]?.double }
      #expect(losses.count == expected.count)
      for (ours, theirs) in zip(losses, expected) { #expect(relativeError(ours, theirs) < lossTolerance) }
      return
    }
    try Self.checkLog(trainer, reference)
    try Self.check(trainer, reference["trained"], tolerance: weightTolerance(name, on: backend))
    try Self.checkEvaluation(trainer, reference)
  }

  /// The loss of the first eight rows after training, and that of their routers. TRL smooths labels here too.
  private static func checkEvaluation(_ trainer: Trainer, _ reference: JSONValue) throws {
    guard let evaluation = reference["evaluation"] else { return }
    let sums = try trainer.evaluate(TinyModel.rows(0..<8))
    let auxiliary = try #require(sums.metrics["aux_loss"])
    #expect(auxiliary.weight == 1)
    #expect(relativeError(auxiliary.mean, try #require(evaluation["eval_aux_loss"]?.double)) < 1e-5)
    guard trainer.configuration.labelSmoothing == 0 else { return }
    let loss = sums.loss / Double(sums.count)
    #expect(relativeError(loss, try #require(evaluation["eval_loss"]?.double)) < 1e-5)
  }

  /// B of experts lies in memory in another order than PEFT's.
  @Test(arguments: ["adafactor", "muon"]) func optimizersOfMatricesRefuseExperts(_ optimizer: String) throws {
    let reference = try golden("training/lora_experts/golden.json")
    let model = try TinyModel.model("qwen3_moe")
    let path = try #require(reference["adapter"]?.string)
    let adapter = try Adapter(reading: TinyModel.folder.appendingPathComponent(path), onto: model.transformer)
    var configuration = try Self.arguments(reference)
    configuration.optimizer = try Recipe(yaml: "optim: \(optimizer)").training.optimizer
    #expect {
      _ = try Trainer(model, adapter: adapter, configuration: configuration, trainingSet: TinyModel.rows())
    } throws: { "\($0)".contains("target_parameters") }
  }

  /// From PiSSA's own initialization. The signs of singular vectors are arbitrary, so what the adapters add to the weights
  /// is compared; the reference's is converted to plain LoRA.
  @Test func pissaEqualsPEFT() throws {
    let reference = try golden("training/pissa/golden.json")
    let model = try TinyModel.model("llama")
    let backend = model.transformer.backend
    let recipe = try Recipe(
      yaml: "use_peft: true\nlora_dropout: 0\nlora_r: 4\nlora_alpha: 8\nlora_target_modules: all-linear\n"
        + "init_lora_weights: pissa")
    let adapter = try Adapter(try #require(recipe.lora), on: model.transformer, seed: 1)
    let trainer = try Trainer(
      model, adapter: adapter, configuration: Self.arguments(reference), trainingSet: TinyModel.rows())
    try trainer.train()
    try Self.checkLog(trainer, reference)
    let folder = try scratchFolder("pissa")
    defer { try? FileManager.default.removeItem(at: folder) }
    try adapter.write(to: folder, base: "models/llama")
    func changes(_ folder: URL) throws -> [[Float]] {
      let other = try TinyModel.model("llama").transformer
      let read = try Adapter(reading: folder, onto: other)
      return try read.layers.map { layer in
        let update = try #require(layer.lora)
        let product = backend.empty([layer.outputSize, layer.inputSize], .float32)
        let left = backend.leftOperand(Columns(backend.scaled(update.b.value, update.scale)), transposed: false)
        backend.compute([Product([ProductTerm(left, update.a.value, transposed: false)], into: Columns(product))])
        return backend.floats(product)
      }
    }
    let expected = try changes(TinyModel.folder.appendingPathComponent("training/pissa/adapter"))
    let found = try changes(folder)
    #expect(found.count == 14 && expected.count == 14)
    for (ours, theirs) in zip(found, expected) {
      let norm = theirs.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      let error = zip(ours, theirs).reduce(0.0) { $0 + pow(Double($1.0 - $1.1), 2) }.squareRoot()
      // Singular vectors are exact to about 1e-6 in float32, and AdamW's first steps divide by small gradients.
      #expect(error < 1e-3 * norm, "\(error / norm)")
    }
    func text(_ folder: URL) throws -> JSONObject {
      var json = try #require(
        try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("adapter_config.json"))).object)
      json["target_modules"] = .array(
        (json["target_modules"]?.array?.compactMap(\.string).sorted() ?? []).map { .string($0) })
      return json
    }
    let theirs = try text(TinyModel.folder.appendingPathComponent("training/pissa/adapter"))
    let ours = try text(folder)
    for key in ours.keys { #expect(ours[key] == theirs[key], "\(key)") }
  }

  /// Ten times by how much the reference's own rounding moves its tensors.
  private static func weightTolerance(_ name: String, on backend: any Backend) -> Double {
    switch name {
    // A bias of keys adds nearly the same to all scores, so its gradients are near zero, where AdamW's step depends on
    // rounding.
    case "lora_bias": 5e-5
    // Most gradients are near zero, where AdamW's step depends on rounding.
    case "full_smoothing": 9e-6
    // One element of an expert's B has a gradient near zero: TRL's own result moves by 4.2e-6 with one thread instead of two,
    // and by 5.1e-6 with transformers' batched_mm instead of grouped_mm for the experts.
    case "lora_experts": 1e-5
    // The first steps divide gradients near zero by their own means: 2.2e-6 between two instruction sets.
    case "lora_adafactor_from_zero": 2e-5
    // Vulkan's divisions and roots may be off by 2.5 ulp, differently in each driver, and if a gradient is near zero,
    // AdamW's step depends on rounding: 1.7e-5 with Mesa 26.
    default: backend is VulkanBackend ? 2e-5 : 5e-6
    }
  }

  /// QLoRA: the base quantized on loading to NF4 with double quantization. `qlora_bf16.json` has A, B and their
  /// gradients in bfloat16, which Swiftlet doesn't do; its gradient norms have three digits.
  @Test func trainingOverFourBitsEqualsTRL() throws { try Self.checkFourBits(on: CPUBackend.shared) }

  static func checkFourBits(on backend: any Backend, tolerance: Double = 5e-6) throws {
    let reference = try golden("quantization/qlora.json")
    let settings = try #require(reference["quantization"]?.object).members
    let lines = (settings + [("load_in_4bit", true), ("use_peft", true)]).map { "\($0.key): \($0.value.text())" }
    let recipe = try Recipe(yaml: lines.joined(separator: "\n"))
    let model = try TinyModel.model(on: backend, quantization: recipe.model.quantization)
    #expect(
      model.transformer.linearLayers.allSatisfy {
        $0.weight.value.fourBitFormat == FourBitFormat(doubleQuantized: true)
      })
    let adapter = try Adapter(
      reading: TinyModel.folder.appendingPathComponent(try #require(reference["adapter"]?.string)),
      onto: model.transformer)
    let trainer = try Trainer(
      model, adapter: adapter, configuration: Self.arguments(reference), trainingSet: TinyModel.rows())
    try trainer.train()
    try Self.checkLog(trainer, reference)
    try Self.check(trainer, reference["trained"], tolerance: tolerance)
  }

  static func checkLog(_ trainer: Trainer, _ reference: JSONValue) throws {
    let steps = try #require(reference["steps"]?.array)
    #expect(trainer.state.logHistory.count == steps.count)
    for (log, step) in zip(trainer.state.logHistory, steps) {
      for (key, tolerance) in [("loss", 1e-5), ("grad_norm", 1e-5), ("learning_rate", 1e-8), ("epoch", 1e-12)] {
        let ours = try #require(log[key]?.double)
        let theirs = try #require(step[key]?.double)
        #expect(relativeError(ours, theirs) < tolerance, "\(key) of step \(log["step"]?.integer ?? 0)")
      }
      #expect(log["num_tokens"]?.double == step["num_tokens"]?.double)
      #expect((log["aux_loss"] == nil) == (step["aux_loss"] == nil))
      guard let ours = log["aux_loss"]?.double, let theirs = step["aux_loss"]?.double else { continue }
      #expect(relativeError(ours, theirs) < 1e-5, "aux_loss of step \(log["step"]?.integer ?? 0)")
    }
  }

  static func arguments(_ reference: JSONValue) throws -> TrainingConfiguration {
    let settings = try #require(reference["settings"])
    var lines = ["train_sampling_strategy: sequential", "logging_steps: 1", "save_strategy: 'no'"]
    if reference["adapter"]?.string != nil { lines.append("use_peft: true") }
    for (key, value) in settings.object?.members ?? [] { lines.append("\(key): \(value.text())") }
    return try Recipe(yaml: lines.joined(separator: "\n")).training
  }

  /// Compares every trained tensor at the end, relative to its norm, but not the matrices of experts, which are stacked there.
  static func check(_ trainer: Trainer, _ trained: JSONValue?, tolerance: Double) throws {
    let trained = try #require(trained?.object)
    let isAdapter = trainer.adapter != nil
    let ours = Dictionary(
      uniqueKeysWithValues: trainer.parameters.map { (isAdapter ? Adapter.fileName(of: $0) : $0.name, $0) })
    let stacks = isAdapter ? [] : trainer.model.transformer.expertParameters.flatMap { [$0.path, "\($0.path)_bias"] }
    for (name, summary) in trained.members where !stacks.contains(name) {
      let parameter = try #require(ours[name], "\(name) was trained by the reference")
      let value = trainer.adapter?.saved(parameter.value, of: parameter) ?? parameter.value
      let values = trainer.model.transformer.backend.floats(value).map(Double.init)
      let norm = try #require(summary["l2"]?.double)
      #expect(value.shape.map(Double.init) == summary["shape"]?.doubles)
      #expect(relativeError(values.reduce(0) { $0 + $1 * $1 }.squareRoot(), norm) < tolerance, "norm of \(name)")
      #expect(abs(values.reduce(0, +) - (summary["sum"]?.double ?? .nan)) < tolerance * norm, "sum of \(name)")
      let first = summary["first"]?.doubles ?? []
      let scale = max(norm / Double(values.count).squareRoot(), first.map(abs).max() ?? 0)
      for (a, b) in zip(values, first) { #expect(abs(a - b) < 10 * tolerance * scale, "\(name)") }
    }
  }
}
