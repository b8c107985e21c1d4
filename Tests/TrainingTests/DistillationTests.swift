import Foundation
import Models
import OrderedJSON
import Recipes
import Tensors
import TestSupport
import Testing
import Training

/// Training on a teacher's predictions: see Tests/Goldens/generators/distillation.py.
@Suite struct DistillationTests {
  /// The loss and gradient of TRL's function on given logits.
  @Test func divergencesEqualTRL() throws {
    let backend = CPUBackend.shared
    for test in try #require(golden("distillation/divergences.json").array) {
      let (student, teacher) = (test["student"]?.doubles ?? [], test["teacher"]?.doubles ?? [])
      let columns = try #require(test["vocabulary"]?.integer)
      let shape = [student.count / columns, columns]
      let logits = backend.tensor(student.map(Float.init), shape)
      let found = backend.empty([shape[0], 4], .float32)
      backend.divergence(
        logits, from: backend.tensor(teacher.map(Float.init), shape), targets: [Int32](repeating: 0, count: shape[0]),
        beta: Float(try #require(test["beta"]?.double)), temperature: Float(try #require(test["temperature"]?.double)),
        gradientScale: 1, softcap: 0, into: found)
      let losses = backend.floats(found)
      for (row, expected) in (test["losses"]?.doubles ?? []).enumerated() {
        #expect(relativeError(Double(losses[4 * row]), expected) < 5e-6, "\(test["beta"]?.text() ?? "")")
      }
      for (ours, theirs) in zip(backend.floats(logits), test["gradient"]?.doubles ?? []) {
        #expect(abs(Double(ours) - theirs) < 1e-6)
      }
    }
  }

  static func trainer(
    _ name: String, output: URL? = nil, _ change: (inout TrainingConfiguration) -> Void = { _ in }
  ) throws -> (Trainer, JSONValue) {
    let reference = try golden("distillation/\(name).json")
    func path(_ key: String) throws -> String {
      try #require(reference[key]?.string).replacingOccurrences(of: "models/", with: "")
    }
    let hasAdapter = reference["adapter"]?.string != nil
    let model = try TinyModel.model(path("base"), inFloat32: !hasAdapter)
    let recipe = try Recipe(
      yaml: """
        teacher_model_name_or_path: \(try path("teacher"))
        beta: \(try #require(reference["beta"]?.double))
        max_steps: 20
        per_device_train_batch_size: 2
        gradient_accumulation_steps: 2
        learning_rate: 1e-3
        train_sampling_strategy: sequential
        logging_steps: 1
        save_strategy: 'no'
        """)
    var configuration = recipe.training
    change(&configuration)
    let trainer = try Trainer(
      model, adapter: hasAdapter ? TinyModel.adapter("lora", on: model) : nil, configuration: configuration,
      trainingSet: TinyModel.rows(), validationSet: configuration.evalStrategy == .no ? nil : TinyModel.rows(0..<9),
      output: output, teacher: TinyModel.model(path("teacher")))
    return (trainer, reference)
  }

  /// Twenty steps of GKDTrainer.
  @Test(arguments: ["forward", "reverse", "between"]) func runEqualsTRL(_ name: String) throws {
    let (trainer, reference) = try Self.trainer(name)
    try trainer.train()
    let steps = try #require(reference["steps"]?.array)
    #expect(steps.count == 20 && trainer.state.logHistory.count == 20)
    for (log, step) in zip(trainer.state.logHistory, steps) {
      for (key, tolerance) in [("loss", 1e-5), ("grad_norm", 1e-5), ("learning_rate", 1e-8)] {
        let (ours, theirs) = (try #require(log[key]?.double), try #require(step[key]?.double))
        #expect(
          relativeError(ours, theirs) < tolerance, "\(key) of step \(log["step"]?.integer ?? 0): \(ours), \(theirs)")
      }
    }
  }

  /// The validation loss is the divergence too; the teacher itself has none.
  @Test func validationMeasuresTheDivergence() throws {
    let (trainer, _) = try Self.trainer("forward") {
      $0.maxSteps = 2
      $0.evalStrategy = .steps
      $0.evalSteps = 2
    }
    try trainer.train()
    let sums = try trainer.evaluate(TinyModel.rows(0..<9))
    let logged = trainer.state.logHistory.compactMap { $0["eval_loss"]?.double }
    #expect(logged.count == 1 && relativeError(logged[0], sums.loss / Double(sums.count)) < 1e-9)
    let model = try TinyModel.model("llama")
    var configuration = TinyTrainer.arguments(batch: 2, steps: 1)
    configuration.distillation = DistillationConfiguration(teacher: "itself")
    let own = try Trainer(
      model, adapter: TinyModel.adapter(dropout: 0.1, on: model), configuration: configuration,
      trainingSet: TinyModel.rows(), teacher: TinyModel.model("llama"))
    let none = try own.evaluate(TinyModel.rows(0..<9))
    #expect(abs(none.loss / Double(none.count)) < 1e-6)
  }

  @Test func resumedIsUninterrupted() throws {
    let folder = try scratchFolder("distillation")
    defer { try? FileManager.default.removeItem(at: folder) }
    func trainer(_ name: String) throws -> Trainer {
      try Self.trainer("between", output: folder.appendingPathComponent(name)) {
        $0.maxSteps = 6
        $0.saveStrategy = .steps
        $0.saveSteps = 3
      }.0
    }
    let whole = try trainer("one")
    try whole.train()
    let first = try trainer("two")
    first.callbacks = [Kill(after: 4)]
    try first.train()
    let second = try trainer("two")
    try second.resume(from: folder.appendingPathComponent("two/checkpoint-3"))
    try second.train()
    #expect(TinyTrainer.log(second) == TinyTrainer.log(whole))
    let files = ["one", "two"].map { folder.appendingPathComponent("\($0)/checkpoint-6/model.safetensors") }
    #expect(try Data(contentsOf: files[0]) == Data(contentsOf: files[1]))
  }

  @Test func unsuitableTeachersAreRefused() throws {
    func message(teacher: String?, _ change: (inout TrainingConfiguration) -> Void = { _ in }) throws -> String {
      let model = try TinyModel.model("llama")
      var configuration = TinyTrainer.arguments(batch: 2, steps: 1)
      configuration.distillation = DistillationConfiguration(teacher: "x")
      change(&configuration)
      let adapter = try TinyModel.adapter("lora", on: model)
      return TinyTrainer.message {
        _ = try Trainer(
          model, adapter: adapter, configuration: configuration, trainingSet: TinyModel.rows(),
          teacher: teacher.map { try TinyModel.model($0) })
      }
    }
    #expect(try message(teacher: "llama_tied").isEmpty)
    #expect(try message(teacher: nil).contains("needs a teacher"))
    #expect(try message(teacher: "llama_tied") { $0.lossType = .dft }.contains("`lossType`"))
    #expect(try message(teacher: "llama_tied") { $0.distillation?.beta = 2 }.contains("`beta`"))
    #expect(try message(teacher: "llama_tied") { $0.method = .orpo(ORPOConfiguration()) }.contains("belongs to sft"))
    func refusal(_ yaml: String) -> String { TinyTrainer.message { _ = try Recipe(yaml: yaml) } }
    #expect(refusal("beta: 0.1").contains("teacher_model_name_or_path"))
    #expect(refusal("teacher_model_name_or_path: x\nlmbda: 0.5").contains("lmbda"))
    #expect(refusal("teacher_model_name_or_path: x\nlmbda: 0\nseq_kd: false").isEmpty)
  }
}
