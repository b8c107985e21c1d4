import Foundation
import TestSupport
import Testing

/// Runs the command as several ranks under `mpirun`. Open MPI is one of the packages that `make test` installs, so its
/// absence is a failure.
enum Launcher {
  /// The MPI bridge, built for this test run beside the command.
  private static let bridge = Task {
    let library = Command.executable.deletingLastPathComponent().appendingPathComponent("libswiftlet_mpi.so").path
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let outcome = try await Program.run(
      root.appendingPathComponent("Scripts/build-mpi").path, [library], in: FileManager.default.temporaryDirectory)
    guard outcome.status == 0 else { throw BuildFailed(outcome: outcome) }
    return library
  }

  private struct BuildFailed: Error { let outcome: Program.Outcome }

  /// Runs `words` on `ranks` ranks.
  /// - Parameters:
  ///   - wrapper: a shell script that each rank runs before it becomes the command; it knows its number as
  ///     `OMPI_COMM_WORLD_RANK`.
  ///   - whileRunning: called with the number of the process `mpirun`.
  static func run(
    _ ranks: Int, _ words: [String], in workspace: Workspace, environment: [String: String] = [:],
    wrapper: String? = nil, whileRunning: (@Sendable (Int32) async throws -> Void)? = nil
  ) async throws -> Program.Outcome {
    var variables = environment
    variables["SWIFTLET_MPI"] = try await bridge.value
    // Containers run tests as root, and with fewer processors than ranks.
    variables["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    variables["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    variables["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
    variables["OMPI_MCA_hwloc_base_binding_policy"] = "none"
    let program = wrapper.map { ["sh", "-c", "\($0); exec \"$0\" \"$@\"", Command.executable.path] }
    return try await Command.run(
      ["-n", "\(ranks)"] + (program ?? [Command.executable.path]) + words, in: workspace, environment: variables,
      launcher: "/usr/bin/mpirun", whileRunning: whileRunning)
  }

  /// The sentences that the program printed as errors; `mpirun` adds lines of its own.
  static func sentences(_ outcome: Program.Outcome) -> [String] {
    outcome.errors.split(separator: "\n").map(String.init).filter { $0.hasPrefix("Error: ") || $0.hasPrefix("Rank ") }
  }
}
