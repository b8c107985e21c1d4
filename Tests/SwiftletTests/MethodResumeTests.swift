import Foundation
import TestSupport
import Testing
import Training

/// A run of each method that is killed and resumed ends in the same bytes as an uninterrupted one, log included.
@Suite struct MethodResumeTests {
  @Test(arguments: MethodRunTests.runs) func resumedIsUninterrupted(_ name: String) throws {
    try Self.checkResumed(name)
  }

  /// The model's own completions, of which some were sampled before the checkpoint and are trained on after it.
  @Test(arguments: ["grpo_text", "grpo_full"]) func sampledCompletionsResume(_ name: String) throws {
    try Self.checkResumed(
      name, changes: ["--reward_funcs", "soft_overlong_punishment", "--steps_per_generation", "4"], isScripted: false)
  }

  @Test func damagedCompletionsAreRefused() throws {
    let folder = try scratchFolder("damaged-completions")
    defer { try? FileManager.default.removeItem(at: folder) }
    func trainer() throws -> Trainer {
      try MethodRunTests.trainer(
        "grpo_text", changes: ["--reward_funcs", "soft_overlong_punishment", "--steps_per_generation", "4"],
        output: folder, isScripted: false
      ) {
        $0.maxSteps = 5
        $0.saveStrategy = .steps
        $0.saveSteps = 5
      }
    }
    try trainer().train()
    let checkpoint = folder.appendingPathComponent("checkpoint-5")
    let file = checkpoint.appendingPathComponent("completions.json")
    let text = try String(contentsOf: file, encoding: .utf8)
    for key in ["ids", "targets"] {
      let damaged = text.replacing(try Regex("\"\(key)\": ?\\[-?[0-9]+"), with: "\"\(key)\":[2000000000")
      try #require(damaged != text)
      try damaged.write(to: file, atomically: true, encoding: .utf8)
      let message = TinyTrainer.message { try trainer().resume(from: checkpoint) }
      #expect(message.contains("completions.json") && message.contains("damaged"), "\(key): \(message)")
    }
  }

  private static func checkResumed(_ name: String, changes: [String] = [], isScripted: Bool = true) throws {
    try checkResumed { output, change in
      try MethodRunTests.trainer(name, changes: changes, output: output, isScripted: isScripted, change)
    }
  }

  /// - Parameter make: makes the trainer of a run that writes to a folder, with changed settings.
  static func checkResumed(_ make: (URL, (inout TrainingConfiguration) -> Void) throws -> Trainer) throws {
    let folder = try scratchFolder("method-resume")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (one, two) = (folder.appendingPathComponent("one"), folder.appendingPathComponent("two"))
    func trainer(_ output: URL) throws -> Trainer {
      try make(output) {
        $0.maxSteps = 11
        $0.loggingSteps = 3
        $0.saveStrategy = .steps
        $0.saveSteps = 5
        $0.evalStrategy = .steps
        $0.evalSteps = 4
      }
    }
    let whole = try trainer(one)
    try whole.train()
    let first = try trainer(two)
    // Killed between two logs, and after the checkpoint.
    first.callbacks = [Kill(after: 7)]
    try first.train()
    let second = try trainer(two)
    try second.resume(from: two.appendingPathComponent("checkpoint-5"))
    try second.train()
    #expect(TinyTrainer.log(second) == TinyTrainer.log(whole))
    let names = try FileManager.default.contentsOfDirectory(atPath: one.appendingPathComponent("checkpoint-11").path)
    #expect(names.contains("optimizer.safetensors"))
    for name in names where name.hasSuffix(".safetensors") || name.hasSuffix("config.json") {
      let bytes = try Data(contentsOf: one.appendingPathComponent("checkpoint-11/\(name)"))
      #expect(try bytes == Data(contentsOf: two.appendingPathComponent("checkpoint-11/\(name)")), "\(name)")
    }
  }
}
