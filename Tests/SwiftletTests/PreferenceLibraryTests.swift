import Foundation
import Swiftlet
import TestSupport
import Testing

/// Preferences from Swift.
@Suite struct PreferenceLibraryTests {
  /// A folder with the tiny Llama and its tokenizer.
  private static func model(in folder: URL) throws -> String {
    for name in [
      "llama/config.json", "llama/model.safetensors", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json",
    ] {
      let source = TinyModel.folder.appendingPathComponent("models/\(name)")
      try FileManager.default.copyItem(at: source, to: folder.appendingPathComponent(source.lastPathComponent))
    }
    return folder.path
  }

  @Test func preferencesFromSwift() async throws {
    let folder = try scratchFolder("preferences")
    defer { try? FileManager.default.removeItem(at: folder) }
    let model = try await LanguageModel(Self.model(in: folder))
    let data = Dataset(
      (0..<8).map { ["prompt": .string("p\($0):"), "chosen": " yes", "rejected": " no"] })
    var method = DPOConfiguration()
    method.beta = 0.5
    let run = try FineTuning(model, adapter: .lora(rank: 4), method: .dpo(method), data: data, validation: data) {
      $0.outputDir = folder.appendingPathComponent("out").path
      $0.learningRate = 1e-2
      $0.maxSteps = 12
      $0.loggingSteps = 1
      $0.evalStrategy = .steps
      $0.evalSteps = 12
    }
    var margins: [Double] = []
    var evaluated: Double?
    for try await event in run.events {
      if case .logged(let log) = event { margins.append(try #require(log.metrics["rewards/margins"])) }
      if case .evaluated(let log) = event { evaluated = log.metrics["rewards/margins"] }
    }
    #expect(margins.count == 12 && margins[0] == 0 && margins[11] > 1)
    #expect(try #require(evaluated) > 1)
    try await run.save()
  }

  @Test func faultsAreOneSentence() async throws {
    let folder = try scratchFolder("preferences")
    defer { try? FileManager.default.removeItem(at: folder) }
    let model = try await LanguageModel(Self.model(in: folder))
    let data = Dataset([["prompt": "a", "chosen": "b"]])
    let run = try FineTuning(model, adapter: .lora(rank: 4), method: .dpo(DPOConfiguration()), data: data) {
      $0.outputDir = folder.appendingPathComponent("out").path
    }
    await #expect { try await run.train() } throws: { "\($0)".contains("needs \"chosen\" and \"rejected\"") }
    var method = DPOConfiguration()
    method.reference.isSynced = true
    #expect { try FineTuning(model, adapter: .lora(rank: 4), method: .dpo(method), data: data) } throws: {
      "\($0)".contains("needs training of every weight")
    }
  }
}
