import Foundation
import Testing

import Collectives

/// Runs `RankProbe` under `mpirun`. Open MPI is one of the packages that `make test` installs, so its absence is a failure.
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

  @Test(.timeLimit(.minutes(1))) func aRankThatDiesEndsTheOthers() throws {
    let (status, output) = try launch(3, ["--die"])
    #expect(status != 0, "\(output)")
  }
}

extension URL {
  fileprivate func appendingPathComponents(_ path: String) -> URL { appendingPathComponent(path).standardizedFileURL }
}
