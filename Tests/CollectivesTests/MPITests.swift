import Foundation
import Testing

import Collectives
import TestSupport

/// Runs `RankProbe` under `mpirun`. Open MPI is one of the packages that `make test` installs, so its absence is a
/// failure.
@Suite(.serialized) struct MPITests {
  /// The build folder, where `RankProbe` is, and the MPI bridge built for this test run.
  private static let products: URL = {
    var url = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    while !FileManager.default.fileExists(atPath: url.appendingPathComponent("RankProbe").path), url.path != "/" {
      url.deleteLastPathComponent()
    }
    return url
  }()

  private static let bridge = Task {
    let root = URL(fileURLWithPath: #filePath).appendingPathComponents("../../..")
    let library = products.appendingPathComponent("libswiftlet_mpi.so")
    let outcome = try await run(root.appendingPathComponent("Scripts/build-mpi").path, [library.path])
    guard outcome.status == 0 else { throw Failure(outcome: outcome) }
    return library
  }

  private struct Failure: Error { let outcome: Program.Outcome }

  private static func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:]
  ) async throws -> Program.Outcome {
    try await Program.run(
      "/usr/bin/env", [program] + arguments,
      environment: ProcessInfo.processInfo.environment.merging(environment) { $1 },
      in: FileManager.default.temporaryDirectory)
  }

  private func launch(_ ranks: Int, _ arguments: [String] = []) async throws -> Program.Outcome {
    try await Self.run(
      "mpirun",
      ["-n", "\(ranks)", "--oversubscribe", "--allow-run-as-root"]
        + [Self.products.appendingPathComponent("RankProbe").path] + arguments,
      environment: ["SWIFTLET_MPI": try await Self.bridge.value.path])
  }

  @Test(.timeLimit(.minutes(2)), arguments: [2, 3, 4])
  func everyOperationAgreesOnAllRanks(ranks: Int) async throws {
    let outcome = try await launch(ranks)
    #expect(outcome.status == 0, "\(outcome)")
  }

  /// The numbers of each line of a run's log.
  fileprivate func train(_ ranks: Int, _ arguments: [String]) async throws -> [[Double]] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    return try await train(ranks, arguments, in: folder)
  }

  fileprivate func train(_ ranks: Int, _ arguments: [String], in folder: URL) async throws -> [[Double]] {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let words =
      arguments[0] == "reference"
      ? arguments + [folder.path] : ["train", arguments[0], folder.path] + arguments.dropFirst()
    let probe = Self.products.appendingPathComponent("RankProbe").path
    let outcome = ranks == 1 ? try await Self.run(probe, words) : try await launch(ranks, words)
    #expect(outcome.status == 0, "\(outcome)")
    let text = try String(contentsOf: folder.appendingPathComponent("log.txt"), encoding: .utf8)
    return text.split(separator: "\n").map { line in line.split(separator: " ").compactMap { Double($0) } }
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["lora", "full"])
  func severalRanksLearnWhatOneProcessLearns(method: String) async throws {
    try await compare(method, ranks: [2, 4])
  }

  fileprivate func compare(_ method: String, ranks: [Int]) async throws {
    let alone = try await train(1, [method])
    for ranks in ranks {
      let together = try await train(ranks, [method])
      try #require(together.count == alone.count && alone.count == 10)
      for (a, b) in zip(alone.joined(), together.joined()) {
        #expect(abs(a - b) <= 1e-5 * max(abs(a), 1e-3), "\(ranks) ranks: \(b) instead of \(a)")
      }
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["lora", "full"])
  func aResumedRunOfRanksEndsInTheSameBytes(method: String) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (whole, resumed) = (folder.appendingPathComponent("whole"), folder.appendingPathComponent("resumed"))
    _ = try await train(2, [method], in: whole)
    _ = try await train(2, [method, whole.appendingPathComponent("checkpoint-4").path], in: resumed)
    for name in ["optimizer.safetensors", method == "lora" ? "adapter_model.safetensors" : "model.safetensors"] {
      let files = try [whole, resumed].map {
        try Data(contentsOf: $0.appendingPathComponent("checkpoint-8").appendingPathComponent(name))
      }
      #expect(files[0] == files[1], "\(name)")
    }
  }

  /// The reference's own rounding moves these by some 1e-6.
  @Test(.timeLimit(.minutes(2)), arguments: ["lora", "full", "experts"])
  func twoRanksLearnWhatTRLLearnsOverTwoProcesses(method: String) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let ours = try await train(2, ["reference", method], in: folder)
    let file = URL(fileURLWithPath: #filePath).appendingPathComponents("../../Goldens/ranks/\(method).json")
    let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: file))
    try #require(ours.count == golden.steps.count && ours.count == 10)
    for (log, step) in zip(ours, golden.steps) {
      #expect(abs(log[1] - step.loss) <= 1e-5 * step.loss, "\(log[1]) instead of \(step.loss)")
      #expect(abs(log[2] - step.grad_norm) <= 1e-5 * step.grad_norm, "\(log[2]) instead of \(step.grad_norm)")
      // From the end of the first epoch on, TRL leaves out the tokens of rows that fill up the last batches.
      if log[0] < 5 { #expect(log[4] == step.num_tokens) }
      // At the end of an epoch, it leaves out the loss of routers of ranks that have such rows, but only from the log.
      if let loss = step.aux_loss, Int(log[0]) % 5 != 0 {
        #expect(abs(log[5] - loss) <= 1e-5 * loss, "\(log[5]) instead of \(loss)")
      }
    }
  }

  private struct Golden: Decodable {
    let steps: [Step]

    struct Step: Decodable {
      let loss, grad_norm, num_tokens: Double
      let aux_loss: Double?
    }
  }

  @Test(.timeLimit(.minutes(1))) func aRankThatDiesEndsTheOthers() async throws {
    let outcome = try await launch(3, ["--die"])
    #expect(outcome.status != 0, "\(outcome)")
  }
}

/// Ranks that compute on a GPU, which they share here: gradients go through host memory to MPI and back.
@Suite(.serialized, .enabled(if: TestGPU.isExpected)) struct GPURankTests {
  @Test(.timeLimit(.minutes(3)), arguments: ["gpu-lora", "gpu-full"])
  func twoRanksLearnWhatOneProcessLearns(method: String) async throws {
    try await MPITests().compare(method, ranks: [2])
  }
}

extension URL {
  fileprivate func appendingPathComponents(_ path: String) -> URL { appendingPathComponent(path).standardizedFileURL }
}
