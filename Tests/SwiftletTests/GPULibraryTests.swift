import Foundation
import Swiftlet
import Tensors
import TestSupport
import Testing

/// Recipes on a GPU.
@Suite(.enabled(if: TestGPU.isExpected)) struct GPURecipeRunTests {
  /// Twenty steps, full and LoRA, with packing.
  @Test(arguments: RecipeRunTests.names) func recipeRunsAsWithTRL(_ name: String) throws {
    try RecipeRunTests.checkRun(name, on: #require(TestGPU.backend))
  }
}

/// The library on a GPU.
@Suite(.enabled(if: TestGPU.isExpected)) struct GPULibraryTests {
  private static func gpu() throws -> DeviceSelection { .gpu(try #require(TestGPU.information).index) }

  /// Chats and evaluates as on the CPU; an adapter that was trained on one device works on the other.
  @Test func adaptersMoveBetweenDevices() async throws {
    let workspace = try LibraryTests.Workspace()
    let data = Dataset(workspace.rows).renamingColumns(["sentence": "prompt", "translation": "completion"])
    let devices = try [DeviceSelection.cpu, Self.gpu()]
    var losses: [[Double]] = []
    var answers: [String] = []
    for (number, trainedOn) in devices.enumerated() {
      let model = try await LanguageModel(workspace.model, device: trainedOn)
      #expect((model.device.backend is VulkanBackend) == (number == 1))
      answers.append(try await model.respond(to: "A cat", maxNewTokens: 8))
      let adapter = workspace.path("adapter-\(number)")
      let run = try FineTuning(model, adapter: .lora(rank: 4, dropout: 0.1), data: data) {
        LibraryTests.configure(&$0, output: adapter)
      }
      try await run.train()
      try await run.save()
      var found = [try await model.evaluate(on: data).loss]
      for device in devices {
        found.append(try await LanguageModel(workspace.model, adapter: adapter, device: device).evaluate(on: data).loss)
      }
      losses.append(found)
    }
    #expect(answers[0] == answers[1])
    for loss in losses.flatMap({ $0 }) { #expect(relativeError(loss, losses[0][0]) < 1e-5) }
  }

  /// On a device with too little memory for the batch, `auto_find_batch_size` takes a smaller one, and `auto`
  /// checkpointing recomputes layers; both runs then fit, or they would end with an error.
  @Test func runsFitTheDevicesMemory() throws {
    let workspace = try LibraryTests.Workspace()
    let file = workspace.path("long.jsonl")
    let text = (0..<24).map { "{\"text\": \"\(String(repeating: "A cat sat, did it? ", count: 4)) \($0)\"}\n" }.joined()
    try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    func run(_ settings: String, limit: Int = .max) throws -> TrainingRun {
      let gpu = try VulkanBackend(try #require(TestGPU.information))
      gpu.limitMemory(to: limit)
      let recipe = try Recipe(
        yaml: """
          model_name_or_path: \(workspace.model)
          dataset_name: \(file)
          per_device_train_batch_size: 24
          max_steps: 2
          save_strategy: "no"
          use_peft: true
          output_dir: \(workspace.path("output"))
          \(settings)
          """)
      return try TrainingRun(recipe, modelURL: URL(fileURLWithPath: workspace.model), on: gpu)
    }
    let kept = "gradient_checkpointing: false\n"
    let whole = try run(kept).plan()
    #expect(whole.fits && whole.memory.checkpointedLayers == 0)
    let limit = whole.memory.needed * 2 / 3
    #expect(try !run(kept, limit: limit).plan().fits)

    let smaller = try run(kept + "auto_find_batch_size: true", limit: limit)
    #expect(smaller.trainer.configuration.trainBatchSize < 24)
    try smaller.train()

    let least = try run("gradient_checkpointing: true").plan().memory.needed
    let checkpointed = try run("gradient_checkpointing: auto", limit: least / 7 * 8 + 64)
    #expect(try checkpointed.plan().memory.checkpointedLayers > 0)
    try checkpointed.train()
  }
}
