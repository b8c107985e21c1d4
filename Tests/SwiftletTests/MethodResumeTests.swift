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

  private static func checkResumed(_ name: String, changes: [String] = [], isScripted: Bool = true) throws {
    let folder = try scratchFolder("method-resume")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (one, two) = (folder.appendingPathComponent("one"), folder.appendingPathComponent("two"))
    func trainer(_ output: URL) throws -> Trainer {
      try MethodRunTests.trainer(name, changes: changes, output: output, isScripted: isScripted) {
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
