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

  private static let bridge: Result<URL, any Error> = Result {
    let root = URL(fileURLWithPath: #filePath).appendingPathComponents("../../..")
    let library = products.appendingPathComponent("libswiftlet_mpi.so")
    let (status, output) = try run(root.appendingPathComponent("Scripts/build-mpi").path, [library.path])
    guard status == 0 else { throw Failure(text: output) }
    return library
  }

  private struct Failure: Error { let text: String }

  private static func run(
    _ program: String, _ arguments: [String], environment: [String: String] = [:]
  ) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, output)
  }

  private func launch(_ ranks: Int, _ arguments: [String] = []) throws -> (status: Int32, output: String) {
    let library = try Self.bridge.get()
    return try Self.run(
      "mpirun",
      ["-n", "\(ranks)", "--oversubscribe", "--allow-run-as-root"]
        + [Self.products.appendingPathComponent("RankProbe").path] + arguments,
      environment: ["SWIFTLET_MPI": library.path])
  }

  @Test(.timeLimit(.minutes(2)), arguments: [2, 3, 4])
  func everyOperationAgreesOnAllRanks(ranks: Int) throws {
    let (status, output) = try launch(ranks)
    #expect(status == 0, "\(output)")
  }

  /// The numbers of each line of a run's log.
  fileprivate func train(_ ranks: Int, _ arguments: [String]) throws -> [[Double]] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    return try train(ranks, arguments, in: folder)
  }

  fileprivate func train(_ ranks: Int, _ arguments: [String], in folder: URL) throws -> [[Double]] {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let words =
      arguments[0] == "reference"
      ? arguments + [folder.path] : ["train", arguments[0], folder.path] + arguments.dropFirst()
    let probe = Self.products.appendingPathComponent("RankProbe").path
    let (status, output) = try ranks == 1 ? Self.run(probe, words) : launch(ranks, words)
    #expect(status == 0, "\(output)")
    let text = try String(contentsOf: folder.appendingPathComponent("log.txt"), encoding: .utf8)
    return text.split(separator: "\n").map { line in line.split(separator: " ").compactMap { Double($0) } }
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["lora", "full"])
  func severalRanksLearnWhatOneProcessLearns(method: String) throws {
    try compare(method, ranks: [2, 4])
  }

  fileprivate func compare(_ method: String, ranks: [Int]) throws {
    let alone = try train(1, [method])
    for ranks in ranks {
      let together = try train(ranks, [method])
      try #require(together.count == alone.count && alone.count == 10)
      for (a, b) in zip(alone.joined(), together.joined()) {
        #expect(abs(a - b) <= 1e-5 * max(abs(a), 1e-3), "\(ranks) ranks: \(b) instead of \(a)")
      }
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["lora", "full"])
  func aResumedRunOfRanksEndsInTheSameBytes(method: String) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let (whole, resumed) = (folder.appendingPathComponent("whole"), folder.appendingPathComponent("resumed"))
    _ = try train(2, [method], in: whole)
    _ = try train(2, [method, whole.appendingPathComponent("checkpoint-4").path], in: resumed)
    for name in ["optimizer.safetensors", method == "lora" ? "adapter_model.safetensors" : "model.safetensors"] {
      let files = try [whole, resumed].map {
        try Data(contentsOf: $0.appendingPathComponent("checkpoint-8").appendingPathComponent(name))
      }
      #expect(files[0] == files[1], "\(name)")
    }
  }

  /// The reference's own rounding moves these by some 1e-6.
  @Test(.timeLimit(.minutes(2)), arguments: ["lora", "full"])
  func twoRanksLearnWhatTRLLearnsOverTwoProcesses(method: String) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let ours = try train(2, ["reference", method], in: folder)
    let file = URL(fileURLWithPath: #filePath).appendingPathComponents("../../Goldens/ranks/\(method).json")
    let golden = try JSONDecoder().decode(Golden.self, from: Data(contentsOf: file))
    try #require(ours.count == golden.steps.count && ours.count == 10)
    for (log, step) in zip(ours, golden.steps) {
      #expect(abs(log[1] - step.loss) <= 1e-5 * step.loss, "\(log[1]) instead of \(step.loss)")
      #expect(abs(log[2] - step.grad_norm) <= 1e-5 * step.grad_norm, "\(log[2]) instead of \(step.grad_norm)")
      // From the end of the first epoch on, TRL leaves out the tokens of rows that fill up the last batches.
      if log[0] < 5 { #expect(log[4] == step.num_tokens) }
    }
  }

  private struct Golden: Decodable {
    let steps: [Step]

    struct Step: Decodable {
      let loss, grad_norm, num_tokens: Double
    }
  }

  @Test(.timeLimit(.minutes(1))) func aRankThatDiesEndsTheOthers() throws {
    let (status, output) = try launch(3, ["--die"])
    #expect(status != 0, "\(output)")
  }
}

/// Ranks that compute on a GPU, which they share here: gradients go through host memory to MPI and back.
@Suite(.serialized, .enabled(if: TestGPU.isExpected)) struct GPURankTests {
  @Test(.timeLimit(.minutes(3)), arguments: ["gpu-lora", "gpu-full"])
  func twoRanksLearnWhatOneProcessLearns(method: String) throws { try MPITests().compare(method, ranks: [2]) }
}

extension URL {
  fileprivate func appendingPathComponents(_ path: String) -> URL { appendingPathComponent(path).standardizedFileURL }
}
